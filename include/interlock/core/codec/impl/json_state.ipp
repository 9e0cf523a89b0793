// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_CODEC_IMPL_JSON_STATE_IPP
#define INTERLOCK_CORE_CODEC_IMPL_JSON_STATE_IPP

/// @file
/// All are templates, so this file is part of its header in the compiled form, too.

#include <interlock/core/codec/json_state.hpp>

#include <boost/mp11/algorithm.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Why a value is no `M`: words that follow the name of its member.
template <class M>
constexpr char const* json_misfit() noexcept
{
    if constexpr (std::is_same_v<M, std::string>)
        return "is not a text in JSON";
    else if constexpr (std::is_same_v<M, bool>)
        return "is neither true nor false in JSON";
    else if constexpr (std::is_arithmetic_v<M> || std::is_enum_v<M>)
        return "is not a number in JSON, or one that does not fit";
    else if constexpr (is_vector<M>::value)
        return "is not an array in JSON";
    else if constexpr (is_tuple<M>::value)
        return "is not an array of so many parts in JSON";
    else if constexpr (Described<M>)
        return "is not an object in JSON";
    else
        return "is not null in JSON";
}

/// Whether the member is stored under `name`, or was before what is said of a base was asked for.
template <class M, class D>
bool is_stored_as(D member, std::string_view name)
{
    auto const as = name_in_store<M>(member);
    return as == name || (name == member.name && stored_name<M>(name) == name);
}

/// The member of an object that is stored for `member`, or null.
template <class M, class D>
Json const* find_member(Json const& json, D member)
{
    auto const* const part = json.find(name_in_store<M>(member));
    if (part == nullptr && stored_name<M>(member.name) == member.name)
        return json.find(member.name);
    return part;
}

/// Whether `name` is stored under a name that `M` has a member for.
template <class M>
bool has_json_member(std::string_view name)
{
    bool found = false;
    boost::mp11::mp_for_each<described_members<M>>(
        [&](auto member) { found = found || is_stored_as<M>(member, name); });
    return found;
}

template <class M>
bool read_json_object(Json const& json, M& value, Reading& reading)
{
    if (json.kind != Json::Kind::object)
        return reading.fails(json_misfit<M>());
    bool newer = false;
    for (auto const& part : json.parts)
        newer = newer || !(has_json_member<M>(part.member) || was_removed<M>(name_hash(part.member)));
    bool good = true;
    boost::mp11::mp_for_each<described_members<M>>([&](auto member) {
        if (!good)
            return;
        using Member = std::remove_cvref_t<decltype(value.*member.pointer)>;
        if (auto const* const part = find_member<M>(json, member)) {
            good = read_json_state(*part, value.*member.pointer, reading) || reading.within(member.name);
        } else if (newer && !is_optional<Member>::value) {
            // A member that is gone, and one that is new: it was renamed, or this is another type's state.
            reading.fails(
                "is not stored, and another one is: MemberHistory::renamed says what it was called");
            good = reading.within(member.name);
        }
    });
    reading.newer = reading.newer || newer;
    reading.unknown = reading.unknown || newer;
    return good;
}

/// Whether `value`, which was read from `json`, has fewer digits.
template <class M>
bool is_rounded_json([[maybe_unused]] Json const& json, [[maybe_unused]] M const& value)
{
    if constexpr (std::is_same_v<M, float>) {
        Json own;
        own.kind = Json::Kind::number;
        double mine = 0;
        double stored = 0;
        return append_json(own.text, value) && read_json(own, mine) && read_json(json, stored) &&
               mine != stored;
    } else {
        return false;
    }
}

template <class M>
bool read_json_state(Json const& json, M& value, Reading& reading)
{
    if constexpr (is_optional<M>::value) {
        using Value = typename M::value_type;
        static_assert(
            !is_optional<Value>::value && !std::is_same_v<Value, std::monostate>,
            "an optional of an optional, or of monostate, has no JSON: null would be both");
        if (json.kind != Json::Kind::null)
            return read_json_state(json, value.emplace(), reading);
        value.reset();
        return true;
    } else if constexpr (is_vector<M>::value) {
        if (json.kind != Json::Kind::array)
            return reading.fails(json_misfit<M>());
        value.clear();
        for (std::size_t i = 0; i < json.parts.size(); ++i) {
            typename M::value_type element{};
            if (!read_json_state(json.parts[i], element, reading))
                return reading.within(std::to_string(i));
            value.push_back(std::move(element));
        }
        return true;
    } else if constexpr (is_tuple<M>::value) {
        if (json.kind != Json::Kind::array || json.parts.size() != std::tuple_size_v<M>)
            return reading.fails(json_misfit<M>());
        std::size_t i = 0;
        auto const read = [&](auto& part) {
            bool const good =
                read_json_state(json.parts[i], part, reading) || reading.within(std::to_string(i));
            ++i;
            return good;
        };
        return std::apply([&](auto&... part) { return (read(part) && ...); }, value);
    } else if constexpr (Described<M>) {
        return read_json_object(json, value, reading);
    } else {
        if (!read_json(json, value))
            return reading.fails(json_misfit<M>());
        reading.newer = reading.newer || is_rounded_json(json, value);
        return true;
    }
}

/// Appends `value`; `reading` says which member has no JSON. False: one has none.
template <class M>
bool write_json_state(std::string& out, M const& value, Reading& reading)
{
    if (append_json(out, value))
        return true;
    reading.fails("has no JSON: a text is not UTF-8, or a number is not finite");
    if constexpr (Described<M>)
        boost::mp11::mp_for_each<described_members<M>>([&](auto member) {
            std::string part;
            if (reading.member.empty() && !append_json(part, value.*member.pointer)) {
                write_json_state(part, value.*member.pointer, reading);
                reading.within(member.name);
            }
        });
    return false;
}

/// Appends `value`, over the value that `stored` holds: what `M` has no member for is kept as it is. False:
/// there is no JSON for it, or something would be lost.
template <class M>
bool write_json_over(std::string& out, Json const& stored, M const& value, Reading& reading)
{
    if constexpr (is_optional<M>::value) {
        if (value)
            return write_json_over(out, stored, *value, reading);
        return write_json_state(out, value, reading);
    } else if constexpr (Described<M>) {
        if (stored.kind != Json::Kind::object)
            return write_json_state(out, value, reading);
        out += '{';
        bool good = true;
        bool first = true;
        auto const name = [&](std::string_view text) {
            out += first ? "" : ",";
            first = false;
            append_json_text(out, text);
            out += ':';
        };
        boost::mp11::mp_for_each<described_members<M>>([&](auto member) {
            if (!good)
                return;
            name(name_in_store<M>(member));
            auto const* const part = find_member<M>(stored, member);
            good = (part != nullptr ? write_json_over(out, *part, value.*member.pointer, reading)
                                    : write_json_state(out, value.*member.pointer, reading)) ||
                   reading.within(member.name);
        });
        for (auto const& part : stored.parts)
            if (!has_json_member<M>(part.member) && !was_removed<M>(name_hash(part.member))) {
                name(part.member);
                out += json_text(part, true);
            }
        out += '}';
        return good;
    } else if constexpr (is_vector<M>::value || is_tuple<M>::value) {
        // Nobody can tell which element of a changed array was which.
        M before{};
        Reading inner;
        bool const read = read_json_state(stored, before, inner);
        if (!read || !inner.newer)
            return write_json_state(out, value, reading);
        std::string was;
        std::string is;
        bool const same = append_json(was, before) && append_json(is, value) && was == is;
        if (!same && !inner.unknown)
            return write_json_state(out, value, reading);
        if (!same)
            return reading.fails(
                "has elements with members that this release does not know, and has changed");
        out += json_text(stored, true);
        return true;
    } else {
        if constexpr (std::is_same_v<M, float>) {  // alone has digits that it cannot hold
            M before{};
            if (read_json(stored, before) && is_rounded_json(stored, before) && before == value) {
                out += stored.text;
                return true;
            }
        }
        return write_json_state(out, value, reading);
    }
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_CODEC_IMPL_JSON_STATE_IPP
