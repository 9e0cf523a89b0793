// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_DETAIL_SCHEMA_HPP
#define INTERLOCK_PATTERNS_DETAIL_SCHEMA_HPP

/// @file
/// The schema of a fact as text: made from its type, read again from a file, and compared.
///
///     kind   := name | name '<' kinds '>' | '{' member (' ' member)* '}'
///     kinds  := kind (',' kind)*
///     member := name ':' kind

#include <interlock/core/codec/described_value.hpp>
#include <interlock/core/state_traits.hpp>

#include <boost/mp11/algorithm.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

// ---- from a type --------------------------------------------------------------------------------

template <class M>
std::string schema_of();

/// The members of a described struct, each with a space before it, under the names that they are stored by.
template <class T>
std::string schema_of_members()
{
    std::string text;
    boost::mp11::mp_for_each<described_members<T>>([&](auto member) {
        text +=
            " " + std::string(name_in_store<T>(member)) + ":" + schema_of<member_type<T, decltype(member)>>();
    });
    return text;
}

inline std::string without_first_space(std::string text)
{
    return text.empty() ? text : text.substr(1);
}

template <class Tuple, std::size_t... I>
std::string schema_of_parts(std::index_sequence<I...>)
{
    std::string text;
    ((text += (I == 0 ? "" : ",") + schema_of<std::tuple_element_t<I, Tuple>>()), ...);
    return text;
}

template <class M>
std::string schema_of()
{
    if constexpr (std::is_same_v<M, std::string>)
        return "text";
    else if constexpr (std::is_same_v<M, bool>)
        return "bool";
    else if constexpr (std::is_enum_v<M>)
        return "enum<" + schema_of<std::underlying_type_t<M>>() + ">";
    else if constexpr (std::is_integral_v<M>)
        return (std::is_signed_v<M> ? "int" : "uint") + std::to_string(8 * sizeof(M));
    else if constexpr (std::is_floating_point_v<M>)
        return "float" + std::to_string(8 * sizeof(M));
    else if constexpr (is_optional<M>::value)
        return "optional<" + schema_of<typename M::value_type>() + ">";
    else if constexpr (is_vector<M>::value)
        return "vector<" + schema_of<typename M::value_type>() + ">";
    else if constexpr (is_tuple<M>::value)
        return "tuple<" + schema_of_parts<M>(std::make_index_sequence<std::tuple_size_v<M>>{}) + ">";
    else if constexpr (Described<M>)
        return "{" + without_first_space(schema_of_members<M>()) + "}";
    else
        return "nothing";
}

// ---- from a text --------------------------------------------------------------------------------

/// A kind as it was read: its name, and the kinds within. Of a struct the name is empty, and the parts are
/// members.
struct Schema {
    std::string member;  // what the struct around it calls it
    std::string name;
    std::vector<Schema> parts;

    /// The kind as it is written.
    std::string text() const
    {
        std::string out = name;
        if (!parts.empty() || name.empty())
            out += name.empty() ? '{' : '<';
        for (std::size_t i = 0; i < parts.size(); ++i) {
            if (i > 0)
                out += name.empty() ? ' ' : ',';
            if (name.empty())
                out += parts[i].member + ":";
            out += parts[i].text();
        }
        if (!parts.empty() || name.empty())
            out += name.empty() ? '}' : '>';
        return out;
    }
};

/// Reads kinds off the front of a text. Nothing: the text is none.
class SchemaReader {
public:
    explicit SchemaReader(std::string_view text) noexcept : text_(text) {}

    /// All members that the text consists of, as a struct.
    std::optional<Schema> members()
    {
        Schema all;
        while (!text_.empty()) {
            if (!member(all))
                return std::nullopt;
            if (!text_.empty() && !take(' '))
                return std::nullopt;
        }
        return all;
    }
    /// One kind, which the text consists of.
    std::optional<Schema> whole()
    {
        auto read = kind();
        return text_.empty() ? read : std::nullopt;
    }

private:
    bool take(char c) noexcept
    {
        if (!text_.starts_with(c))
            return false;
        text_.remove_prefix(1);
        return true;
    }
    std::string word()
    {
        auto const end = std::min(text_.find_first_of(":<>{}, "), text_.size());
        std::string const taken{text_.substr(0, end)};
        text_.remove_prefix(end);
        return taken;
    }
    bool member(Schema& of)
    {
        auto name = word();
        bool const twice = std::any_of(
            of.parts.begin(), of.parts.end(), [&](Schema const& part) { return part.member == name; });
        if (name.empty() || twice || !take(':'))
            return false;
        auto read = kind();
        if (!read)
            return false;
        read->member = std::move(name);
        of.parts.push_back(*std::move(read));
        return true;
    }
    std::optional<Schema> kind()
    {
        if (++depth_ > 100)
            return std::nullopt;
        Schema read;
        if (take('{')) {
            for (bool first = true; !take('}'); first = false)
                if ((!first && !take(' ')) || !member(read))
                    return std::nullopt;
        } else {
            read.name = word();
            if (read.name.empty())
                return std::nullopt;
            if (take('<'))
                do {
                    auto part = kind();
                    if (!part)
                        return std::nullopt;
                    read.parts.push_back(*std::move(part));
                } while (take(','));
            if (!read.parts.empty() && !take('>'))
                return std::nullopt;
        }
        --depth_;
        return read;
    }

    std::string_view text_;
    int depth_{0};
};

// ---- compared -----------------------------------------------------------------------------------

/// The bits of an integer, whose sign is `sign`; 0: it is none.
inline int bits_of(std::string_view name, std::string_view sign) noexcept
{
    if (!name.starts_with(sign))
        return 0;
    auto const bits = name.substr(sign.size());
    return bits == "8" ? 8 : bits == "16" ? 16 : bits == "32" ? 32 : bits == "64" ? 64 : 0;
}

/// What a member that was `before` has become, in words; `path` names it.
inline std::string what_became(std::string const& path, Schema const& before, Schema const& after)
{
    for (auto const* sign : {"int", "uint"}) {
        auto const was = bits_of(before.name, sign);
        auto const is = bits_of(after.name, sign);
        if (was != 0 && is > was)
            return path + " was " + before.text() + " and is wider, " + after.text() +
                   ": who reads the former may meet a number that does not fit";
        if (is != 0 && is < was)
            return path + " was " + before.text() + " and is narrower, " + after.text() +
                   ": a number that is stored may not fit";
    }
    if (after.name == "optional" && after.parts.size() == 1 && after.parts[0].text() == before.text())
        return path + " may be missing now: who reads the former must have it";
    if (before.name == "optional" && before.parts.size() == 1 && before.parts[0].text() == after.text())
        return path + " must be there now: where it is stored as missing it cannot be read";
    return path + " was " + before.text() + " and is " + after.text();
}

/// Calls `tell(words)` for each difference that somebody would trip over who reads what the other has
/// written. Members that are added are none: who does not know them passes them over, and where they are not
/// stored they have the value of a default-constructed struct.
template <class Tell>
void compare_schemas(std::string const& path, Schema const& before, Schema const& after, Tell const& tell)
{
    auto const within = [&](std::string const& name) {
        return name.empty() ? path : path.empty() ? "member " + name : path + "." + name;
    };
    if (before.name != after.name || (!before.name.empty() && before.parts.size() != after.parts.size())) {
        tell(what_became(path, before, after));
        return;
    }
    auto const find = [](Schema const& in, std::string const& member) {
        return std::find_if(
            in.parts.begin(), in.parts.end(), [&](Schema const& part) { return part.member == member; });
    };
    std::vector<std::string> gone;
    std::vector<std::string> added;
    for (std::size_t i = 0; i < before.parts.size(); ++i) {
        auto const& part = before.parts[i];
        auto const now = part.member.empty() ? after.parts.begin() + static_cast<std::ptrdiff_t>(i)
                                             : find(after, part.member);
        if (now != after.parts.end())
            compare_schemas(within(part.member), part, *now, tell);
        else
            gone.push_back(part.member);
    }
    for (auto const& part : after.parts)
        if (!part.member.empty() && find(before, part.member) == before.parts.end())
            added.push_back(part.member);
    for (auto const& name : gone)
        tell(
            within(name) + " is gone" +
            (gone.size() == 1 && added.size() == 1
                 ? ", and " + added[0] + " is new: if it was renamed, MemberHistory says so"
                 : ""));
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_PATTERNS_DETAIL_SCHEMA_HPP
