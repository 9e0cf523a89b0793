// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_CODEC_DESCRIBED_SHAPE_HPP
#define INTERLOCK_CORE_CODEC_DESCRIBED_SHAPE_HPP

/// @file
/// The shape of a type as bytes that the compiler makes, and how a value that another shape stands before is
/// read: member by member, by name. `stored_shape.hpp` says what the bytes of a shape are.

#include <interlock/core/codec/described_value.hpp>
#include <interlock/core/codec/member_history.hpp>
#include <interlock/core/codec/stored_shape.hpp>
#include <interlock/fwd.hpp>

#include <boost/mp11/algorithm.hpp>
#include <boost/mp11/list.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

// ---- the shape of a type ------------------------------------------------------------------------

template <class T>
struct is_struct : std::bool_constant<Described<T> && !std::is_same_v<T, std::string>> {};
template <class T>
struct is_float : std::is_same<T, float> {};

/// Whether `Is` is true of `T`, or of a type within it: of elements, of parts, of members of a struct.
template <template <class> class Is, class T>
constexpr bool has() noexcept;

template <template <class> class Is, class Tuple, std::size_t... I>
constexpr bool tuple_has(std::index_sequence<I...>) noexcept
{
    return (has<Is, std::tuple_element_t<I, Tuple>>() || ...);
}
template <template <class> class Is, class T, template <class...> class L, class... D>
constexpr bool members_have(L<D...>) noexcept
{
    return (has<Is, member_type<T, D>>() || ...);
}

template <template <class> class Is, class T>
constexpr bool has() noexcept
{
    if constexpr (Is<T>::value)
        return true;
    else if constexpr (is_optional<T>::value || is_vector<T>::value)
        return has<Is, typename T::value_type>();
    else if constexpr (is_tuple<T>::value)
        return tuple_has<Is, T>(std::make_index_sequence<std::tuple_size_v<T>>{});
    else if constexpr (is_struct<T>::value)
        return members_have<Is, T>(described_members<T>{});
    else
        return false;
}

/// Whether there is a described struct in a `T`.
template <class T>
constexpr bool has_struct() noexcept
{
    return has<is_struct, T>();
}
/// Whether there is a number in a `T` that has fewer digits than a `double`.
template <class T>
constexpr bool has_float() noexcept
{
    return has<is_float, T>();
}

/// The byte that stands for the kind of `T`.
template <class T>
constexpr char kind_of() noexcept
{
    if constexpr (std::is_same_v<T, std::string>)
        return 's';
    else if constexpr (std::is_same_v<T, bool>)
        return 'b';
    else if constexpr (std::is_integral_v<T> || std::is_enum_v<T>)
        return 'i';
    else if constexpr (std::is_floating_point_v<T>)
        return 'f';
    else if constexpr (is_optional<T>::value)
        return 'o';
    else if constexpr (is_vector<T>::value)
        return 'v';
    else if constexpr (is_tuple<T>::value)
        return '(';
    else if constexpr (Described<T>)
        return '{';
    else
        return '-';
}

/// Counts the bytes of a shape while the compiler makes it, or writes them.
struct ShapeSink {
    char* out{nullptr};
    std::size_t size{0};
    constexpr void add(char c) noexcept
    {
        if (out != nullptr)
            out[size] = c;
        ++size;
    }
    constexpr void add_number(std::uint64_t v) noexcept
    {
        for (; v > 0x7f; v >>= 7)
            add(static_cast<char>((v & 0x7fU) | 0x80U));
        add(static_cast<char>(v));
    }
    constexpr void add_name(std::string_view name) noexcept
    {
        for (unsigned i = 0; i < 4; ++i)
            add(static_cast<char>(name_hash(name) >> (8 * i)));
    }
};

template <class T>
constexpr void add_shape(ShapeSink& sink) noexcept;

template <class Tuple, std::size_t... I>
constexpr void add_tuple_shape(ShapeSink& sink, std::index_sequence<I...>) noexcept
{
    (add_shape<std::tuple_element_t<I, Tuple>>(sink), ...);
}

/// What the members of a described struct are stored as.
template <class T, class L>
struct StoredMembers;
template <class T, template <class...> class L, class... D>
struct StoredMembers<T, L<D...>> {
    static constexpr std::size_t count = sizeof...(D);
    static constexpr std::array<std::uint32_t, count> hashes{name_hash(name_in_store<T>(D{}))...};
    static constexpr std::array<std::uint32_t, count> own_hashes{name_hash(D::name)...};

    static constexpr void add_shapes(ShapeSink& sink) noexcept
    {
        ((sink.add_name(name_in_store<T>(D{})), add_shape<member_type<T, D>>(sink)), ...);
    }
    static constexpr bool differ() noexcept
    {
        for (std::size_t i = 0; i < count; ++i)
            for (std::size_t j = 0; j < i; ++j)
                if (hashes[i] == hashes[j])
                    return false;
        return true;
    }
    static constexpr bool has(std::string_view member) noexcept { return ((member == D::name) || ...); }
};
template <class T>
using stored_members = StoredMembers<T, described_members<T>>;

/// Whether each member that `MemberHistory<T>` renames is there, and none is stored under a removed name.
template <class T>
consteval bool has_sound_history() noexcept
{
    bool sound = true;
    if constexpr (requires { MemberHistory<T>::renamed; })
        for (StoredName const& one : MemberHistory<T>::renamed)
            sound = sound && stored_members<T>::has(one.member);
    if constexpr (requires { MemberHistory<T>::removed; })
        for (std::string_view const gone : MemberHistory<T>::removed)
            for (auto const hash : stored_members<T>::hashes)
                sound = sound && hash != name_hash(gone);
    return sound;
}

template <class T>
constexpr void add_shape(ShapeSink& sink) noexcept
{
    sink.add(kind_of<T>());
    if constexpr (is_optional<T>::value || is_vector<T>::value) {
        add_shape<typename T::value_type>(sink);
    } else if constexpr (is_tuple<T>::value) {
        sink.add_number(std::tuple_size_v<T>);
        add_tuple_shape<T>(sink, std::make_index_sequence<std::tuple_size_v<T>>{});
    } else if constexpr (kind_of<T>() == '{') {
        static_assert(
            stored_members<T>::differ(),
            "two members of this struct are stored under one name, or under two with the same hash: give one "
            "of them another stored name in MemberHistory");
        static_assert(
            has_sound_history<T>(),
            "MemberHistory renames a member that this struct does not have, or calls one removed that it "
            "has");
        sink.add_number(stored_members<T>::count);
        stored_members<T>::add_shapes(sink);
    }
}

template <class T>
consteval std::size_t shape_size() noexcept
{
    ShapeSink sink;
    add_shape<T>(sink);
    return sink.size;
}

/// What stands before each value of a `T`: the format, the length of the shape, and the shape.
template <class T>
consteval auto make_header() noexcept
{
    constexpr std::size_t size = shape_size<T>();
    constexpr std::size_t digits = size < (1U << 7) ? 1 : size < (1U << 14) ? 2 : 3;
    static_assert(size < (1U << 21), "this type has too many members");
    std::array<char, 1 + digits + size> header{};
    ShapeSink sink{header.data()};
    sink.add(shape_format);
    sink.add_number(size);
    add_shape<T>(sink);
    return header;
}
template <class T>
inline constexpr auto header_bytes = make_header<T>();
template <class T>
std::string_view header_of() noexcept
{
    return {header_bytes<T>.data(), header_bytes<T>.size()};
}
template <class T>
std::string_view shape_of() noexcept
{
    return header_of<T>().substr(header_bytes<T>.size() - shape_size<T>());
}

// ---- reading a value of another shape -----------------------------------------------------------

/// Takes a value of the shape at the front of `shape` off the front of `in`. When it fails, `reading` says
/// why; `v`, `shape` and `in` are then of no use.
template <class T>
bool read_as(std::string_view& shape, std::string_view& in, T& v, Reading& reading);

/// Calls `use` with the description of the member number `index` of `T`.
template <class T, class Use>
void with_member(std::size_t index, Use use)
{
    std::size_t at = 0;
    boost::mp11::mp_for_each<described_members<T>>([&](auto member) {
        if (at++ == index)
            use(member);
    });
}

/// Whether the history of a base, and not that of `T`, says how the member number `index` is stored.
template <class T>
bool renamed_by_base(std::size_t index) noexcept
{
    bool renamed = false;
    with_member<T>(index, [&](auto member) {
        renamed = stored_name<T>(member.name) == member.name && name_in_store<T>(member) != member.name;
    });
    return renamed;
}

/// The number of the member that is stored under this name; the number of members where there is none.
template <class T>
std::size_t index_of(std::uint32_t name) noexcept
{
    auto const& hashes = stored_members<T>::hashes;
    std::size_t i = 0;
    while (i < hashes.size() && hashes[i] != name)
        ++i;
    // What is said of a base was once not asked for the structs that have it.
    auto const& own = stored_members<T>::own_hashes;
    for (std::size_t at = 0; i == hashes.size() && at < own.size(); ++at)
        if (own[at] == name && renamed_by_base<T>(at))
            return at;
    return i;
}

/// Whether no release uses this name any more.
template <class T>
bool was_removed([[maybe_unused]] std::uint32_t name) noexcept
{
    if constexpr (requires { MemberHistory<T>::removed; }) {
        for (std::string_view const gone : MemberHistory<T>::removed)
            if (name_hash(gone) == name)
                return true;
    }
    bool removed = false;
    boost::mp11::mp_for_each<described_bases<T>>(
        [&](auto base) { removed = removed || was_removed<typename decltype(base)::type>(name); });
    return removed;
}

/// Whether what was found makes sense as a `T` that has grown, or has not yet.
template <class T>
bool has_grown(
    std::array<bool, stored_members<T>::count> const& found, std::uint64_t stored, bool unknown,
    Reading& reading)
{
    std::size_t known = 0;
    std::size_t missing = found.size();
    for (std::size_t i = found.size(); i-- > 0;) {
        known += found[i] ? 1 : 0;
        missing = found[i] ? missing : i;
    }
    if (known == 0 && stored != 0 && !found.empty())
        return reading.fails("has no member in common with what is stored");
    if (!unknown || missing == found.size())
        return true;
    reading.fails(
        "is not stored, while a member is that this release does not know: perhaps it was renamed; see "
        "MemberHistory");
    with_member<T>(missing, [&](auto member) { reading.within(member.name); });
    return false;
}

template <class T>
bool read_struct(std::string_view& shape, std::string_view& in, T& v, Reading& reading)
{
    std::uint64_t count = 0;
    if (!take_count(shape, count, reading))
        return false;
    std::array<bool, stored_members<T>::count> found{};
    bool unknown = false;
    for (std::uint64_t i = 0; i < count; ++i) {
        std::uint32_t name = 0;
        if (!take_name(shape, name, reading))
            return false;
        auto const index = index_of<T>(name);
        if (index == found.size()) {
            if (!skip_value(shape, in, reading))
                return false;
            unknown = unknown || !was_removed<T>(name);
            reading.newer = reading.newer || unknown;
            reading.unknown = reading.unknown || unknown;
            continue;
        }
        if (std::exchange(found[index], true))
            return reading.fails("has two members of one name");
        bool good = true;
        with_member<T>(index, [&](auto member) {
            good = read_as(shape, in, v.*member.pointer, reading) || reading.within(member.name);
        });
        if (!good)
            return false;
    }
    return has_grown<T>(found, count, unknown, reading);
}

template <class T>
bool read_vector(std::string_view& shape, std::string_view& in, T& v, Reading& reading)
{
    auto const of = shape;
    std::uint64_t size = 0;
    if (!skip_shape(shape, reading) || !take_size(in, of, size, reading))
        return false;
    v.clear();
    v.reserve(static_cast<std::size_t>(std::min<std::uint64_t>(size, in.size() + 1)));
    for (std::uint64_t i = 0; i < size; ++i) {
        auto one = of;
        typename T::value_type element{};
        if (!read_as(one, in, element, reading))
            return false;
        v.push_back(std::move(element));
    }
    return true;
}

template <class T>
bool read_tuple(std::string_view& shape, std::string_view& in, T& v, Reading& reading)
{
    std::uint64_t count = 0;
    if (!take_count(shape, count, reading))
        return false;
    if (count != std::tuple_size_v<T>)
        return reading.fails("is stored with another number of parts");
    return std::apply([&](auto&... part) { return (read_as(shape, in, part, reading) && ...); }, v);
}

/// A `double` that a `float` cannot hold is rounded, and the reader has less than what is stored.
template <class T>
bool read_floating(std::string_view& in, T& v, Reading& reading)
{
    double wide = 0;
    if (!get_double(in, wide) || !narrow(wide, v))
        return reading.fails("holds what does not fit, or is damaged");
    reading.newer = reading.newer || (static_cast<double>(v) != wide && !std::isnan(wide));
    return true;
}

template <class T>
bool read_optional(std::string_view& shape, std::string_view& in, T& v, Reading& reading)
{
    if (!shape.starts_with('o'))  // it was not optional in the release that wrote it
        return read_as(shape, in, v.emplace(), reading);
    shape.remove_prefix(1);
    bool engaged = false;
    if (!take_flag(in, engaged, reading))
        return false;
    if (engaged)
        return read_as(shape, in, v.emplace(), reading);
    v.reset();
    return skip_shape(shape, reading);
}

template <class T>
bool read_as(std::string_view& shape, std::string_view& in, T& v, Reading& reading)
{
    if constexpr (is_optional<T>::value) {
        return read_optional(shape, in, v, reading);
    } else {
        char kind = 0;
        if (!take_kind(shape, kind, reading))
            return false;
        if (kind == 'o') {  // it is not optional any more
            ShapeDepth const depth{reading};
            if (depth.too_deep())
                return reading.fails(damaged_shape);
            bool engaged = false;
            if (!take_flag(in, engaged, reading))
                return false;
            if (!engaged)
                return reading.fails("is stored as empty, and must have a value in this release");
            return read_as(shape, in, v, reading);
        }
        if (kind != kind_of<T>())
            return reading.fails(stored_as(kind));
        if constexpr (kind_of<T>() == '{')
            return read_struct(shape, in, v, reading);
        else if constexpr (kind_of<T>() == 'v')
            return read_vector(shape, in, v, reading);
        else if constexpr (kind_of<T>() == '(')
            return read_tuple(shape, in, v, reading);
        else if constexpr (kind_of<T>() == 'f')
            return read_floating(in, v, reading);
        else
            return get(in, v) || reading.fails("holds what does not fit, or is damaged");
    }
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_CODEC_DESCRIBED_SHAPE_HPP
