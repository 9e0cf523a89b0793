// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_PQXX_VALUES_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_PQXX_VALUES_HPP

/// @file
/// The door to libpqxx's conversions of values (`pqxx::string_traits`), by which the values of users' own
/// statements become parameters and are read from results.

#include <pqxx/strconv>
#include <pqxx/version>

#include <string>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// A value as a text parameter, by the user's `pqxx::string_traits`.
template <class T>
std::string pqxx_text(T const& value)
{
    return std::string(pqxx::to_string(value));
}
/// The value of a text. Throws what the traits throw for a text that is no `T`.
template <class T>
T pqxx_value(std::string const& text)
{
#if PQXX_VERSION_MAJOR < 7
    T value{};
    pqxx::from_string(text, value);
    return value;
#else
    return pqxx::from_string<T>(text);
#endif
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_PQXX_VALUES_HPP
