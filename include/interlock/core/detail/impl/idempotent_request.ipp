// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_IMPL_IDEMPOTENT_REQUEST_IPP
#define INTERLOCK_CORE_DETAIL_IMPL_IDEMPOTENT_REQUEST_IPP

#include <interlock/core/idempotent_request.hpp>

#include <boost/uuid/name_generator_sha1.hpp>
#include <boost/uuid/uuid.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {

namespace detail {

INTERLOCK_DECL std::string request_digest(std::string_view name)
{
    std::string out;
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
        std::uint64_t hash = 14695981039346656037ULL ^ (seed * 0x9e3779b97f4a7c15ULL);
        for (char c : name) {
            hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
            hash ^= hash >> 29;
        }
        for (int i = 0; i < 8; ++i)
            out += static_cast<char>(hash >> (8 * i));
    }
    return out;
}

}  // namespace detail

INTERLOCK_DECL IdempotentRequest IdempotentRequest::phase(std::string_view name) const
{
    auto part = *this;
    // A name that contains a NUL would count as two names. It becomes an empty name, which every call
    // refuses.
    (part.phases_ += '\0') += name.find('\0') == std::string_view::npos ? name : std::string_view{};
    return part;
}

INTERLOCK_DECL std::string IdempotentRequest::derived_key(DerivedKey form) const
{
    constexpr std::string_view digits = "0123456789abcdef";
    std::string out;
    auto const add = [&](unsigned char byte) { (out += digits[byte >> 4]) += digits[byte & 15U]; };
    if (form == DerivedKey::digits) {
        for (char c : detail::request_digest(name()))
            add(static_cast<unsigned char>(c));
        return out;
    }
    constexpr boost::uuids::uuid name_space{
        {0x29, 0xa9, 0x85, 0x59, 0x39, 0x8c, 0x50, 0x52, 0xac, 0x10, 0x05, 0x33, 0x1c, 0x42, 0xb3, 0x51}};
    auto const named = "interlock derived key 2:" + name();
    auto const uuid = boost::uuids::name_generator_sha1{name_space}(named.data(), named.size());
    for (unsigned char const byte : uuid) {
        if (out.size() == 8 || out.size() == 13 || out.size() == 18 || out.size() == 23)
            out += '-';
        add(byte);
    }
    return out;
}

INTERLOCK_DECL std::string IdempotentRequest::name() const
{
    auto const n = scope_.value().size();
    std::string out;
    for (int i = 3; i >= 0; --i)
        out += static_cast<char>(n >> (8 * i));
    return out + scope_.value() + key_ + phases_;
}

INTERLOCK_DECL Outcome<void> IdempotentRequest::validate() const
{
    if (key_.empty())
        return Failure{Errc::invalid_argument, "idempotency key is missing"};
    if (key_.size() > max_key_size)
        return Failure{
            Errc::invalid_argument, "idempotency key has " + std::to_string(key_.size()) +
                                        " bytes, the limit is " + std::to_string(max_key_size)};
    if (has_control_character(key_))
        return Failure{Errc::invalid_argument, "idempotency key has a control character"};
    for (std::string_view rest = phases_; !rest.empty();) {
        rest.remove_prefix(1);
        auto const name = rest.substr(0, rest.find('\0'));
        if (name.empty() || name.size() > 64 || has_control_character(name))
            return Failure{
                Errc::invalid_argument,
                "the name of a phase must have 1 to 64 bytes and no control characters"};
        rest.remove_prefix(name.size());
    }
    return success();
}

INTERLOCK_DECL bool IdempotentRequest::has_control_character(std::string_view text) noexcept
{
    for (char c : text)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
            return true;
    return false;
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_IMPL_IDEMPOTENT_REQUEST_IPP
