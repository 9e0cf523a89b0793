// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_IMPL_COMMIT_REFUSAL_IPP
#define INTERLOCK_CORE_KIT_IMPL_COMMIT_REFUSAL_IPP

#include <interlock/core/key.hpp>
#include <interlock/core/kit/commit_refusal.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {

INTERLOCK_DECL std::string printable_key(std::string_view bytes)
{
    // What `KeyTraits` makes of an integer, if that is between -2^48 and 2^48: no text begins like that.
    auto const begin = bytes.substr(0, 2);
    if (bytes.size() == 8 && begin == std::string_view("\0\0", 2))
        return std::to_string(KeyTraits<std::uint64_t>::decode(bytes));
    if (bytes.size() == 8 && (begin == std::string_view("\x80\0", 2) || begin == "\x7f\xff"))
        return std::to_string(KeyTraits<std::int64_t>::decode(bytes));
    std::string out;
    for (char c : bytes.substr(0, 64))
        out += c >= ' ' && c <= '~' ? c : '?';
    return out;
}

INTERLOCK_DECL void CommitRefusal::add(std::string_view key, Errc code)
{
    add({}, key, code);
}

INTERLOCK_DECL void CommitRefusal::add(std::string_view place, std::string_view key, Errc code)
{
    if (code == Errc::ok)
        return;
    if (first_ == Errc::ok)
        first_ = code;
    if (!several_)
        return;
    refused_ += refused_.empty() ? "" : ", ";
    if (place != place_)
        (refused_ += place_ = place) += ": ";
    refused_ += printable_key(key);
    refused_ += ": ";
    refused_ += name_of(code);
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_IMPL_COMMIT_REFUSAL_IPP
