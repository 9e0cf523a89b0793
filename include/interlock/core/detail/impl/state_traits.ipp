// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_IMPL_STATE_TRAITS_IPP
#define INTERLOCK_CORE_DETAIL_IMPL_STATE_TRAITS_IPP

/// @file
/// What the library does with the `StateTraits` of a type: values are compared, and stored forms are made and
/// read, in whatever way a user's `encode` and `decode` fail. All are templates, so this file is part of its
/// header in the compiled form, too.

#include <interlock/core/codec/describe_codec.hpp>
#include <interlock/core/state_traits.hpp>
#include <interlock/forced_unwinding.hpp>

#include <boost/mp11/algorithm.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstring>
#include <exception>
#include <map>
#include <new>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

namespace interlock {
inline namespace v0 {
namespace detail {

template <class T>
bool surely_equal(T const& a, T const& b);
template <class T>
constexpr bool can_compare() noexcept;

/// Calls `encodes`, a function of `StateTraits` that makes a stored form. Returns nothing, or the reason why
/// there is no stored form: the function threw.
template <class F>
std::optional<Failure> unless_it_throws(F encodes)
{
    try {
        encodes();
        return std::nullopt;
    } catch (std::bad_alloc const&) {
        throw;
    } catch (std::exception const& error) {
        return Failure{Errc::invalid_argument, std::string("the value cannot be encoded: ") + error.what()};
    }
    INTERLOCK_PASS_FORCED_UNWINDING
    catch (...)
    {
        return Failure{Errc::invalid_argument, "the value cannot be encoded"};
    }
}

/// Appends the stored form of `value`. Returns nothing, or the reason why there is no stored form.
template <class T>
std::optional<Failure> encode_state(T const& value, std::string& out)
{
    return unless_it_throws([&] { StateTraits<T>::encode(value, out); });
}

/// How many bytes that would be, or the reason.
template <class T>
Outcome<std::size_t> encoded_size_of(T const& value)
{
    std::size_t size = 0;
    if (auto failure = unless_it_throws([&] { size = StateTraits<T>::encoded_size(value); }))
        return *std::move(failure);
    return size;
}

/// Whether a `T` is stored in the library's own form, which tells what does not fit, and may grow.
template <class T>
constexpr bool has_own_form() noexcept
{
    if constexpr (codable<T>())  // else the default has no such functions
        if constexpr (requires {
                          &DefaultStateTraits<T>::decode == &StateTraits<T>::decode;
                          &DefaultStateTraits<T>::encode == &StateTraits<T>::encode;
                      })
            return has_struct<T>() && &DefaultStateTraits<T>::decode == &StateTraits<T>::decode &&
                   &DefaultStateTraits<T>::encode == &StateTraits<T>::encode;
    return false;
}

/// Whether every `T` has a stored form, whose size the library's own function tells.
template <class T>
constexpr bool has_own_size() noexcept
{
    if constexpr (codable<T>())
        if constexpr (requires { &DefaultStateTraits<T>::encoded_size == &StateTraits<T>::encoded_size; })
            return &DefaultStateTraits<T>::encoded_size == &StateTraits<T>::encoded_size;
    return false;
}

// ---- comparing ----------------------------------------------------------------------------------

/// Containers whose elements are all that there is of them.
template <class T>
struct is_container : is_vector<T> {};
template <class T, std::size_t N>
struct is_container<std::array<T, N>> : std::true_type {};
template <class T, class C, class A>
struct is_container<std::set<T, C, A>> : std::true_type {};
template <class K, class T, class C, class A>
struct is_container<std::map<K, T, C, A>> : std::true_type {};
template <class T>
struct is_variant : std::false_type {};
template <class... T>
struct is_variant<std::variant<T...>> : std::true_type {};
template <class T>
struct is_duration : std::false_type {};
template <class R, class P>
struct is_duration<std::chrono::duration<R, P>> : std::true_type {};

/// How a store that is not of the core writes a type: a specialisation has `text`, which makes the text, or
/// nothing where there is none.
template <class T>
struct StoredText {};

/// Whether the author of the program has written how a `T` is stored.
template <class T>
constexpr bool has_form_of_author() noexcept
{
    if constexpr (has_own_form<T>() || !requires(T const& v, std::string& out) {
                      StateTraits<T>::encode(v, out);
                  })
        return false;
    else
        return !requires(Reading& reading) { StateTraits<T>::decode(std::string_view{}, reading); };
}

/// Whether values of `T` that have the same bytes are stored alike, and others are not equal.
template <class T>
constexpr bool has_plain_bytes() noexcept
{
    return std::is_trivially_copyable_v<T> && std::has_unique_object_representations_v<T>;
}

template <class Tuple, std::size_t... I>
constexpr bool tuple_can_compare(std::index_sequence<I...>) noexcept
{
    return (can_compare<std::remove_const_t<std::tuple_element_t<I, Tuple>>>() && ...);
}
template <class T>
struct variant_can_compare;
template <class... T>
struct variant_can_compare<std::variant<T...>> {
    static constexpr bool value = (can_compare<T>() && ...);
};

/// Whether `surely_equal` can ever answer yes for a `T`.
template <class T>
constexpr bool can_compare() noexcept
{
    if constexpr (std::is_scalar_v<T> || std::is_empty_v<T> || std::is_same_v<T, std::string>)
        return true;
    else if constexpr (Described<T>)
        return all_public<T>();
    else if constexpr (is_optional<T>::value || is_container<T>::value)
        return can_compare<std::remove_const_t<typename T::value_type>>();
    else if constexpr (is_tuple<T>::value)
        return tuple_can_compare<T>(std::make_index_sequence<std::tuple_size_v<T>>{});
    else if constexpr (is_variant<T>::value)
        return variant_can_compare<T>::value;
    else if constexpr (requires { T::surely_comparable; })
        return T::surely_comparable;
    else
        return has_form_of_author<T>() || is_duration<T>::value || has_plain_bytes<T>() ||
               requires(T const& v) { StoredText<T>::text(v); };
}

/// Whether the stored forms that the author of the program has written are the same.
template <class T>
bool encoded_alike(T const& a, T const& b)
{
    if constexpr (std::equality_comparable<T>)
        if (!(a == b))
            return false;
    std::string first;
    std::string second;
    return !encode_state(a, first) && !encode_state(b, second) && first == second;
}

template <class T>
bool members_equal(T const& a, T const& b)
{
    // The numbers come first: they are cheap to compare, and most changes are in one of them.
    bool equal = true;
    boost::mp11::mp_for_each<described_members<T>>([&](auto member) {
        if constexpr (std::is_scalar_v<std::remove_cvref_t<decltype(a.*member.pointer)>>)
            equal = equal && surely_equal(a.*member.pointer, b.*member.pointer);
    });
    boost::mp11::mp_for_each<described_members<T>>([&](auto member) {
        if constexpr (!std::is_scalar_v<std::remove_cvref_t<decltype(a.*member.pointer)>>)
            equal = equal && surely_equal(a.*member.pointer, b.*member.pointer);
    });
    return equal;
}

template <class T>
bool variants_equal(T const& a, T const& b)
{
    if (a.index() != b.index() || a.valueless_by_exception())
        return false;
    return std::visit(
        [&](auto const& one) {
            using One = std::remove_cvref_t<decltype(one)>;
            bool equal = false;
            std::visit(
                [&](auto const& other) {
                    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(other)>, One>)
                        equal = surely_equal(one, other);
                },
                b);
            return equal;
        },
        a);
}

/// Whether two values are equal in all that is stored of them; false where it cannot be told. The `==` of a
/// user's class alone does not tell it: entities are often equal when their ids are.
template <class T>
bool surely_equal(T const& a, T const& b)
{
    if constexpr (std::is_floating_point_v<T>) {
        // The bytes are compared: 0.0 and -0.0 are equal and yet stored differently, and a NaN is unequal to
        // itself and yet stored alike. Of a long double the first 10 bytes count; the rest is padding.
        return std::memcmp(&a, &b, std::is_same_v<T, long double> ? 10 : sizeof a) == 0;
    } else if constexpr (std::is_scalar_v<T> || std::is_same_v<T, std::string>) {
        return a == b;
    } else if constexpr (std::is_empty_v<T>) {
        return true;
    } else if constexpr (Described<T>) {
        if constexpr (!all_public<T>())
            return false;
        else if constexpr (has_form_of_author<T>())
            return members_equal(a, b) && encoded_alike(a, b);
        else
            return members_equal(a, b);
    } else if constexpr (is_optional<T>::value) {
        return a.has_value() == b.has_value() && (!a || surely_equal(*a, *b));
    } else if constexpr (is_container<T>::value) {
        using Element = typename T::value_type;
        return a.size() == b.size() &&
               std::equal(a.begin(), a.end(), b.begin(), [](Element const& x, Element const& y) {
                   return surely_equal<Element>(x, y);
               });
    } else if constexpr (is_tuple<T>::value) {
        return [&]<std::size_t... I>(std::index_sequence<I...>) {
            return (surely_equal(std::get<I>(a), std::get<I>(b)) && ...);
        }(std::make_index_sequence<std::tuple_size_v<T>>{});
    } else if constexpr (is_variant<T>::value) {
        return variants_equal(a, b);
    } else if constexpr (requires { T::surely_comparable; }) {
        return T::surely_comparable && a.surely_equals(b);
    } else if constexpr (has_form_of_author<T>()) {
        return encoded_alike(a, b);
    } else if constexpr (requires { StoredText<T>::text(a); }) {
        std::optional<std::string> const text = StoredText<T>::text(a);
        return text && text == StoredText<T>::text(b);
    } else if constexpr (is_duration<T>::value) {
        return surely_equal(a.count(), b.count());
    } else if constexpr (has_plain_bytes<T>()) {
        return std::memcmp(&a, &b, sizeof a) == 0;
    } else {
        return false;
    }
}

/// The value, or nothing for bytes that are not a `T`, in whatever way `decode` says so; `reading` says more
/// where it can.
template <class T>
std::optional<T> decode_state(std::string_view bytes, Reading& reading)
{
    try {
        if constexpr (has_own_form<T>())
            return decode_described<T>(bytes, reading);
        else if constexpr (requires { StateTraits<T>::decode(bytes, reading); })
            return StateTraits<T>::decode(bytes, reading);
        else
            return StateTraits<T>::decode(bytes);
    } catch (std::bad_alloc const&) {
        throw;
    }
    INTERLOCK_PASS_FORCED_UNWINDING
    catch (...)
    {
        return std::nullopt;
    }
}
template <class T>
std::optional<T> decode_state(std::string_view bytes)
{
    Reading reading;
    return decode_state<T>(bytes, reading);
}

/// As `encode_state`, for a value that takes the place of one that `stored` holds: what a newer release has
/// put there, and `T` has no member for, is kept. Nothing is where the write would lose some of it.
template <class T>
std::optional<Failure> encode_state_over(std::string_view stored, T const& value, std::string& out)
{
    if constexpr (has_own_form<T>()) {
        Reading reading;
        if (stored.empty() || encode_over(stored, value, out, reading))
            return stored.empty() ? encode_state(value, out) : std::nullopt;
        return Failure{Errc::invalid_argument, reading.text("the value cannot be written")};
    } else if constexpr (requires(Reading& reading) {
                             StateTraits<T>::encode_over(stored, value, out, reading);
                         }) {
        Reading reading;
        if (stored.empty())
            return encode_state(value, out);
        bool written = false;
        auto failure =
            unless_it_throws([&] { written = StateTraits<T>::encode_over(stored, value, out, reading); });
        if (failure || written)
            return failure;
        return Failure{Errc::invalid_argument, reading.text("the value cannot be written")};
    } else {
        return encode_state(value, out);
    }
}

/// The stored form of an operation's result.
template <class R>
std::string encode_answer(R const& result)
{
    std::string out;
    if constexpr (!std::is_same_v<R, std::monostate>)
        StateTraits<R>::encode(result, out);
    return out;
}

/// The result that `encode_answer` has stored, or nothing when the bytes are not an `R`.
template <class R>
std::optional<R> decode_answer(std::string_view bytes, Reading& reading)
{
    if constexpr (std::is_same_v<R, std::monostate>)
        return bytes.empty() ? std::optional<R>{R{}} : std::nullopt;
    else
        return decode_state<R>(bytes, reading);
}
template <class R>
std::optional<R> decode_answer(std::string_view bytes)
{
    Reading reading;
    return decode_answer<R>(bytes, reading);
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_IMPL_STATE_TRAITS_IPP
