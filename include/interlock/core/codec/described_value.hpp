// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_CODEC_DESCRIBED_VALUE_HPP
#define INTERLOCK_CORE_CODEC_DESCRIBED_VALUE_HPP

/// @file
/// The values of described types as bytes, with nothing around them, and the oldest form of a whole state: a
/// hash of its shape and the value. `describe_codec.hpp` says what the bytes are.

#include <interlock/core/codec/member_history.hpp>
#include <interlock/core/codec/stored_shape.hpp>
#include <interlock/fwd.hpp>

#include <boost/describe/bases.hpp>
#include <boost/describe/class.hpp>
#include <boost/describe/members.hpp>
#include <boost/describe/modifiers.hpp>
#include <boost/mp11/algorithm.hpp>
#include <boost/mp11/list.hpp>

#include <bit>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
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

/// A struct that `BOOST_DESCRIBE_STRUCT` describes.
template <class T>
concept Described = std::is_class_v<T> && boost::describe::has_describe_members<T>::value;

/// Its public members, those of its bases included, also where a member of the struct itself hides one.
template <class T>
using described_members = boost::describe::describe_members<
    T, boost::describe::mod_public | boost::describe::mod_inherited | boost::describe::mod_hidden>;

/// The bases of a described struct that are described as public ones.
template <class T>
using described_bases = boost::describe::describe_bases<T, boost::describe::mod_public>;

template <template <class...> class L, class... B>
constexpr bool bases_all_public(L<B...>) noexcept;

/// Whether nothing of `T` or of its bases is described as protected or private.
template <class T>
constexpr bool all_public() noexcept
{
    constexpr auto hidden = boost::describe::mod_protected | boost::describe::mod_private;
    return boost::mp11::mp_empty<boost::describe::describe_members<T, hidden>>::value &&
           boost::mp11::mp_empty<boost::describe::describe_bases<T, hidden>>::value &&
           bases_all_public(described_bases<T>{});
}
template <template <class...> class L, class... B>
constexpr bool bases_all_public(L<B...>) noexcept
{
    return (all_public<typename B::type>() && ...);
}

/// Whether the codec can write and read a `T`, members of members included. A described struct must be
/// default constructible, since reading fills the members of a new one. Nothing of it is described as
/// protected or private, and no member hides one of a base: one of them would be lost.
template <class T>
constexpr bool codable() noexcept;

/// Takes the bytes of an encoding.
struct StringSink {
    std::string& out;
    void append(char const* p, std::size_t n) { out.append(p, n); }
};

/// Only counts the bytes of an encoding, so that a buffer can be made large enough before it is filled.
struct SizeSink {
    std::size_t size{0};
    void append(char const*, std::size_t n) noexcept { size += n; }
};

/// The first byte of every stored form: with a hash of the shape, as version 0.1 wrote all of them, or with
/// the shape itself.
inline constexpr char hash_format = 1;
inline constexpr char shape_format = 2;
/// The bytes before the value in the first of them.
inline constexpr std::size_t hash_header = 5;

template <class T>
struct is_optional : std::false_type {};
template <class T>
struct is_optional<std::optional<T>> : std::true_type {};
template <class T>
struct is_vector : std::false_type {};
template <class T, class A>
struct is_vector<std::vector<T, A>> : std::true_type {};
template <class T>
struct is_tuple : std::false_type {};
template <class... T>
struct is_tuple<std::tuple<T...>> : std::true_type {};
template <class A, class B>
struct is_tuple<std::pair<A, B>> : std::true_type {};

/// The structs that a type is a part of. A struct within itself, as in a tree, has no shape that ends.
template <class... T>
struct Around {};
template <class T, class Outer>
constexpr bool codable_within() noexcept;

template <class Tuple, class Outer, std::size_t... I>
constexpr bool tuple_codable(std::index_sequence<I...>) noexcept
{
    return (codable_within<std::tuple_element_t<I, Tuple>, Outer>() && ...);
}

/// The type of the member of `T` that `D` describes.
template <class T, class D>
using member_type = std::remove_cvref_t<decltype(std::declval<T&>().*D::pointer)>;

template <class T, class... Outer, template <class...> class L, class... D>
constexpr bool members_codable(Around<Outer...>, L<D...>) noexcept
{
    if constexpr ((std::is_same_v<T, Outer> || ...))
        return false;
    else
        return (codable_within<member_type<T, D>, Around<T, Outer...>>() && ...);
}

/// The name under which the member `name` of `T` is stored.
template <class T>
constexpr std::string_view stored_name(std::string_view name) noexcept
{
    if constexpr (requires { MemberHistory<T>::renamed; }) {
        for (StoredName const& one : MemberHistory<T>::renamed)
            if (one.member == name)
                return one.stored;
    }
    return name;
}

/// The class that a pointer to a member names.
template <class P>
struct class_of_member;
template <class M, class C>
struct class_of_member<M C::*> {
    using type = C;
};
/// The struct that has the described member `D` as its own: `T`, or a base of it.
template <class D>
using owner_of = typename class_of_member<std::remove_const_t<decltype(D::pointer)>>::type;

/// The name under which the described member `D` of `T` is stored: what is said of `T` comes first, then what
/// is said of the base that has the member.
template <class T, class D>
constexpr std::string_view name_in_store(D) noexcept
{
    auto const name = stored_name<T>(D::name);
    if constexpr (!std::is_same_v<owner_of<D>, T>)
        return name == D::name ? stored_name<owner_of<D>>(name) : name;
    else
        return name;
}

template <template <class...> class L, class... D>
constexpr bool names_differ(L<D...>) noexcept
{
    std::string_view const names[] = {D::name..., std::string_view{}};
    for (std::size_t i = 0; i < sizeof...(D); ++i)
        for (std::size_t j = 0; j < i; ++j)
            if (names[i] == names[j])
                return false;
    return true;
}

/// Whether the value of a `T` has no bytes: a vector of such elements is no longer than their number.
template <class T>
constexpr bool has_no_bytes() noexcept;

template <class Tuple, std::size_t... I>
constexpr bool tuple_has_no_bytes(std::index_sequence<I...>) noexcept
{
    return (has_no_bytes<std::tuple_element_t<I, Tuple>>() && ...);
}
template <class T, template <class...> class L, class... D>
constexpr bool members_have_no_bytes(L<D...>) noexcept
{
    return (has_no_bytes<member_type<T, D>>() && ...);
}

template <class T>
constexpr bool has_no_bytes() noexcept
{
    if constexpr (std::is_same_v<T, std::monostate>)
        return true;
    else if constexpr (is_tuple<T>::value)
        return tuple_has_no_bytes<T>(std::make_index_sequence<std::tuple_size_v<T>>{});
    else if constexpr (Described<T>)
        return members_have_no_bytes<T>(described_members<T>{});
    else
        return false;
}

template <class T, class Outer>
constexpr bool codable_within() noexcept
{
    if constexpr (
        std::is_same_v<T, std::string> || std::is_integral_v<T> || std::is_floating_point_v<T> ||
        std::is_enum_v<T> || std::is_same_v<T, std::monostate>)
        return !std::is_same_v<T, long double>;
    else if constexpr (is_optional<T>::value || is_vector<T>::value)
        return codable_within<typename T::value_type, Outer>();
    else if constexpr (is_tuple<T>::value)
        return tuple_codable<T, Outer>(std::make_index_sequence<std::tuple_size_v<T>>{});
    else if constexpr (Described<T>)
        return all_public<T>() && names_differ(described_members<T>{}) &&
               members_codable<T>(Outer{}, described_members<T>{}) && std::is_default_constructible_v<T>;
    else
        return false;
}

template <class T>
constexpr bool codable() noexcept
{
    return codable_within<T, Around<>>();
}

// ---- schema ---------------------------------------------------------------------------------------------

/// FNV-1a over a text, closed by a byte that no text contains, so that "ab" + "c" and "a" + "bc" differ.
constexpr std::uint32_t fnv(std::uint32_t hash, std::string_view text) noexcept
{
    for (char c : text)
        hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
    return (hash ^ 0xffU) * 16777619U;
}

/// Mixes the shape of `T` into `hash`. All integer types and enumerations are one kind, so that an `int`
/// member may become a `long` one.
template <class T>
constexpr std::uint32_t schema(std::uint32_t hash) noexcept;

template <class Tuple, std::size_t... I>
constexpr std::uint32_t tuple_schema(std::uint32_t hash, std::index_sequence<I...>) noexcept
{
    ((hash = schema<std::tuple_element_t<I, Tuple>>(hash)), ...);
    return hash;
}

template <class T, template <class...> class L, class... D>
constexpr std::uint32_t members_schema(std::uint32_t hash, L<D...>) noexcept
{
    ((hash = schema<member_type<T, D>>(fnv(hash, name_in_store<T>(D{})))), ...);
    return hash;
}

template <class T>
constexpr std::uint32_t schema(std::uint32_t hash) noexcept
{
    if constexpr (std::is_same_v<T, std::string>)
        return fnv(hash, "s");
    else if constexpr (std::is_same_v<T, bool>)
        return fnv(hash, "b");
    else if constexpr (std::is_integral_v<T> || std::is_enum_v<T>)
        return fnv(hash, "i");
    else if constexpr (std::is_floating_point_v<T>)
        return fnv(hash, "f");
    else if constexpr (is_optional<T>::value)
        return schema<typename T::value_type>(fnv(hash, "o"));
    else if constexpr (is_vector<T>::value)
        return schema<typename T::value_type>(fnv(hash, "v"));
    else if constexpr (is_tuple<T>::value)
        return fnv(tuple_schema<T>(fnv(hash, "("), std::make_index_sequence<std::tuple_size_v<T>>{}), ")");
    else if constexpr (Described<T>)
        return fnv(members_schema<T>(fnv(hash, "{"), described_members<T>{}), "}");
    else
        return fnv(hash, "-");
}

// ---- writing ------------------------------------------------------------------------------------

/// Writes a number in groups of seven bits, the lowest group first.
template <class Sink>
void put_varint(Sink& sink, std::uint64_t v)
{
    char buffer[10];
    std::size_t n = 0;
    do {
        buffer[n++] = static_cast<char>((v & 0x7fU) | (v > 0x7fU ? 0x80U : 0U));
        v >>= 7;
    } while (v != 0);
    sink.append(buffer, n);
}

/// Writes `v` without a schema.
template <class T, class Sink>
void put(Sink& sink, T const& v)
{
    if constexpr (std::is_same_v<T, std::monostate>) {
    } else if constexpr (std::is_same_v<T, std::string>) {
        put_varint(sink, v.size());
        sink.append(v.data(), v.size());
    } else if constexpr (std::is_enum_v<T>) {
        put(sink, static_cast<std::underlying_type_t<T>>(v));
    } else if constexpr (std::is_integral_v<T> && std::is_signed_v<T>) {
        auto const wide = static_cast<std::int64_t>(v);
        put_varint(sink, (static_cast<std::uint64_t>(wide) << 1) ^ static_cast<std::uint64_t>(wide >> 63));
    } else if constexpr (std::is_integral_v<T>) {
        // Signed and unsigned integers share one form. An unsigned number above 2^63-1 would need a 65th bit;
        // ten bytes that no varint of 64 bits has stand in front of it instead.
        auto const wide = static_cast<std::uint64_t>(v);
        if (wide >> 63 != 0) {
            sink.append("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10);  // no zigzag of 64 bits looks so
            put_varint(sink, wide);
        } else {
            put_varint(sink, wide << 1);
        }
    } else if constexpr (std::is_floating_point_v<T>) {
        auto const bits = std::bit_cast<std::uint64_t>(static_cast<double>(v));
        char buffer[8];
        for (std::size_t i = 0; i < 8; ++i)
            buffer[i] = static_cast<char>(bits >> (8 * i));
        sink.append(buffer, 8);
    } else if constexpr (is_optional<T>::value) {
        sink.append(v ? "\1" : "\0", 1);
        if (v)
            put(sink, *v);
    } else if constexpr (is_vector<T>::value) {
        put_varint(sink, v.size());
        for (auto const& element : v)
            put<typename T::value_type>(sink, element);
    } else if constexpr (is_tuple<T>::value) {
        std::apply([&](auto const&... part) { (put(sink, part), ...); }, v);
    } else {
        boost::mp11::mp_for_each<described_members<T>>([&](auto member) { put(sink, v.*member.pointer); });
    }
}

// ---- reading ------------------------------------------------------------------------------------

/// Reads a `T` off the front of `in`. False when the bytes are not a `T`; `v` and `in` are then of no use. No
/// bytes, however made, lead outside `in` or allocate more than in proportion to its size.
template <class T>
bool get(std::string_view& in, T& v);

inline bool get_text(std::string_view& in, std::string& v)
{
    std::uint64_t n = 0;
    if (!get_varint(in, n) || n > in.size())
        return false;
    v.assign(in.data(), n);
    in.remove_prefix(n);
    return true;
}

/// The bits of a number: its zigzag, or, if that would not have room in 64 bits, itself. `large`: which of
/// the two. The form of a large one, an unsigned one above 2^63-1, is longer than any zigzag.
inline bool get_integer_bits(std::string_view& in, std::uint64_t& bits, bool& large) noexcept
{
    if (!in.empty() && static_cast<unsigned char>(in.front()) < 0x80U) {  // as most are
        bits = static_cast<unsigned char>(in.front());
        in.remove_prefix(1);
        return true;
    }
    constexpr std::string_view mark{"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10};
    large = in.substr(0, mark.size()) == mark;
    if (large)
        in.remove_prefix(mark.size());
    return get_varint(in, bits) && (!large || bits >> 63 != 0);
}

template <class T>
bool get_integer(std::string_view& in, T& v)
{
    std::uint64_t bits = 0;
    if (bool large = false; !get_integer_bits(in, bits, large)) {
        return false;
    } else if (large) {
        if constexpr (std::is_signed_v<T> || sizeof(T) < 8) {
            return false;
        } else {
            v = static_cast<T>(bits);
            return true;
        }
    }
    auto const wide = static_cast<std::int64_t>((bits >> 1) ^ (~(bits & 1) + 1));
    if constexpr (std::is_same_v<T, bool>) {
        v = wide == 1;
        return wide == 0 || wide == 1;
    } else {
        if (!std::in_range<std::conditional_t<
                std::is_same_v<T, char> || sizeof(T) == 1,
                std::conditional_t<std::is_signed_v<T>, std::int8_t, std::uint8_t>,
                std::conditional_t<std::is_signed_v<T>, std::make_signed_t<T>, std::make_unsigned_t<T>>>>(
                wide))
            return false;
        v = static_cast<T>(wide);
        return true;
    }
}

inline bool get_double(std::string_view& in, double& v) noexcept
{
    if (in.size() < 8)
        return false;
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < 8; ++i)
        bits |= static_cast<std::uint64_t>(static_cast<unsigned char>(in[i])) << (8 * i);
    in.remove_prefix(8);
    v = std::bit_cast<double>(bits);
    return true;
}

/// False: the number is too large for a `T`.
template <class T>
bool narrow(double wide, T& v) noexcept
{
    if (std::isfinite(wide) && std::abs(wide) > static_cast<double>(std::numeric_limits<T>::max()))
        return false;
    v = static_cast<T>(wide);
    return true;
}

template <class T>
bool get_optional(std::string_view& in, std::optional<T>& v)
{
    if (in.empty() || static_cast<unsigned char>(in.front()) > 1)
        return false;
    bool const engaged = in.front() == 1;
    in.remove_prefix(1);
    if (!engaged) {
        v.reset();
        return true;
    }
    return get(in, v.emplace());
}

template <class T, class A>
bool get_vector(std::string_view& in, std::vector<T, A>& v)
{
    std::uint64_t n = 0;
    // Most elements have at least one byte, so that a false number cannot make the reader allocate much. A
    // struct without members has none, nor has monostate, and their number is bounded here.
    constexpr std::uint64_t most_empty = std::is_same_v<T, std::monostate> ? 1 << 20 : 1 << 16;
    if (!get_varint(in, n) || n > (has_no_bytes<T>() ? most_empty : in.size()))
        return false;
    v.clear();
    v.reserve(n);
    for (std::uint64_t i = 0; i < n; ++i) {
        T element{};
        if (!get(in, element))
            return false;
        v.push_back(std::move(element));
    }
    return true;
}

template <class T>
bool get(std::string_view& in, T& v)
{
    if constexpr (std::is_same_v<T, std::monostate>) {
        return true;
    } else if constexpr (std::is_same_v<T, std::string>) {
        return get_text(in, v);
    } else if constexpr (std::is_enum_v<T>) {
        std::underlying_type_t<T> u{};
        if (!get(in, u))
            return false;
        v = static_cast<T>(u);
        return true;
    } else if constexpr (std::is_integral_v<T>) {
        return get_integer(in, v);
    } else if constexpr (std::is_floating_point_v<T>) {
        double wide = 0;
        return get_double(in, wide) && narrow(wide, v);
    } else if constexpr (is_optional<T>::value) {
        return get_optional(in, v);
    } else if constexpr (is_vector<T>::value) {
        return get_vector(in, v);
    } else if constexpr (is_tuple<T>::value) {
        return std::apply([&](auto&... part) { return (get(in, part) && ...); }, v);
    } else {
        bool good = true;
        boost::mp11::mp_for_each<described_members<T>>(
            [&](auto member) { good = good && get(in, v.*member.pointer); });
        return good;
    }
}

// ---- the whole form, where nothing can grow -----------------------------------------------------

/// Format 1: a hash of the shape, and the value.
template <class T, class Sink>
void encode_with_hash(Sink& sink, T const& value)
{
    constexpr std::uint32_t hash = schema<T>(2166136261U);
    char const header[5] = {
        hash_format, static_cast<char>(hash), static_cast<char>(hash >> 8), static_cast<char>(hash >> 16),
        static_cast<char>(hash >> 24)};
    sink.append(header, sizeof header);
    put(sink, value);
}

/// `v`, if `in` is of format 1 and has the hash and the bytes of a `T`.
template <class T>
bool decode_with_hash(std::string_view in, T& v, Reading& reading)
{
    constexpr std::uint32_t hash = schema<T>(2166136261U);
    for (unsigned i = 0; i < 4; ++i)
        if (in[1 + i] != static_cast<char>(hash >> (8 * i)))
            return reading.fails("was written by another shape of the type, which named no members");
    in.remove_prefix(hash_header);
    return (get(in, v) && in.empty()) || reading.fails("is damaged");
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_CODEC_DESCRIBED_VALUE_HPP
