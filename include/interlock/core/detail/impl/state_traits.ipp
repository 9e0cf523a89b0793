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

#include <concepts>
#include <cstddef>
#include <cstring>
#include <exception>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Whether two values are equal, as far as this can be told; false where it cannot be told.
template <class T>
bool surely_equal(T const& a, T const& b)
{
    if constexpr (std::is_floating_point_v<T>) {
        // The bytes are compared: 0.0 and -0.0 are equal and yet stored differently, and a NaN is unequal to
        // itself and yet stored alike. Of a long double the first 10 bytes count; the rest is padding.
        return std::memcmp(&a, &b, std::is_same_v<T, long double> ? 10 : sizeof a) == 0;
    } else if constexpr (Described<T>) {
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
    } else if constexpr (is_vector<T>::value) {
        if (a.size() != b.size())
            return false;
        for (std::size_t i = 0; i < a.size(); ++i)
            if (!surely_equal<typename T::value_type>(a[i], b[i]))
                return false;
        return true;
    } else if constexpr (std::equality_comparable<T>) {
        return a == b;
    } else {
        return false;
    }
}

/// Whether `surely_equal` can ever answer yes for a `T`.
template <class T>
constexpr bool can_compare() noexcept
{
    return std::equality_comparable<T> || Described<T>;
}

/// Appends the stored form of `value`. Returns nothing, or the reason why there is no stored form: `encode`
/// threw.
template <class T>
std::optional<Failure> encode_state(T const& value, std::string& out)
{
    try {
        StateTraits<T>::encode(value, out);
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
        if (StateTraits<T>::encode_over(stored, value, out, reading))
            return std::nullopt;
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
