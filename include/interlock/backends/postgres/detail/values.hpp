// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_VALUES_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_VALUES_HPP

/// @file
/// How the values of users' own statements become parameters, and how they are read from what the server
/// answered.

#include <interlock/backends/postgres/detail/batch.hpp>
#include <interlock/backends/postgres/detail/pqxx_values.hpp>
#include <interlock/backends/postgres/detail/reply.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/state_traits.hpp>

#include <charconv>
#include <cstddef>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace postgres {

struct Bytes;

namespace detail {

/// Throws `Error` (`invalid_argument`) unless the place exists.
void check_place(Reply const& reply, std::size_t row, std::size_t column);
/// Throws `Error` (`invalid_argument`) for a row that does not exist.
void check_row(Reply const& reply, std::size_t row);
/// The place of a column that is named; likewise.
std::size_t place_of(Reply const& reply, std::string const& column);
/// Throws `Error` (`invalid_argument`) unless the reply is one value.
void check_single(Reply const& reply);
/// The text of a value; throws `Error` (`invalid_argument`) for a null.
std::string_view text_at(Reply const& reply, std::size_t row, std::size_t column);
/// Throws the `Error` of a text that is not of the wanted type.
[[noreturn]] void throw_not_of_the_type();
/// The failure of a text parameter with a NUL.
Failure parameter_has_nul();

/// The value of a text. Throws `Error` (`invalid_argument`) for a text that is no `T`.
template <class T>
T value_of(std::string_view text)
{
    if constexpr (std::is_same_v<T, std::string>) {
        return std::string(text);
    } else if constexpr (std::is_same_v<T, bool>) {
        return text == "t";
    } else if constexpr (std::is_arithmetic_v<T>) {
        T value{};
        auto const end = std::from_chars(text.data(), text.data() + text.size(), value);
        if (end.ec != std::errc{} || end.ptr != text.data() + text.size())
            throw_not_of_the_type();
        return value;
    } else {
        try {
            return pqxx_value<T>(std::string(text));
        } catch (std::exception const&) {
            throw_not_of_the_type();
        }
    }
}

/// Adds `value` to `params`. Returns false for a text with a NUL, which no parameter of type text can hold.
template <class A>
bool add_parameter(Params& params, A const& value)
{
    using Value = std::remove_cvref_t<A>;
    if constexpr (std::is_same_v<Value, std::nullptr_t> || std::is_same_v<Value, std::nullopt_t>) {
        params.null();
    } else if constexpr (interlock::detail::is_optional<Value>::value) {
        if (value)
            return add_parameter(params, *value);
        params.null();
    } else if constexpr (std::is_same_v<Value, Bytes>) {
        params.bytes(value.value);
    } else if constexpr (std::is_same_v<Value, bool>) {
        params.boolean(value);
    } else if constexpr (std::is_arithmetic_v<Value>) {
        char buffer[64];
        auto const end = std::to_chars(buffer, buffer + sizeof buffer, value);
        params.text(std::string(buffer, end.ptr));
    } else if constexpr (std::is_enum_v<Value>) {
        return add_parameter(params, static_cast<std::underlying_type_t<Value>>(value));
    } else if constexpr (std::is_convertible_v<A const&, std::string_view>) {
        std::string_view const text{value};
        if (text.find('\0') != std::string_view::npos)
            return false;
        params.text(std::string(text));
    } else {
        auto text = pqxx_text(value);
        if (text.find('\0') != std::string::npos)
            return false;
        params.text(std::move(text));
    }
    return true;
}

/// The parameters of a user's statement.
template <class... A>
Outcome<Params> parameters_of(A const&... parameters)
{
    Params params;
    bool good = true;
    ((good = good && add_parameter(params, parameters)), ...);
    if (!good)
        return parameter_has_nul();
    return params;
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/values.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_VALUES_HPP
