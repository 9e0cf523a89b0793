// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_SETTINGS_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_SETTINGS_HPP

/// @file
/// What the members of a connection URL say, and which names and retentions options may have.

#include <interlock/backends/postgres/detail/batch.hpp>
#include <interlock/core/outcome.hpp>

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// The settings in a connection URL. Nothing when libpq cannot read `url`: libpq's own words may quote a
/// password, so they are not passed on.
std::optional<Settings> parse_settings(std::string const& url);

/// What libpq takes for `keyword` when the URL says nothing: the environment's value, a service file's, or
/// its own default.
std::string default_setting(std::string_view keyword);

/// Whether `name` may stand in a statement as it is: only names are taken that mean the same with and without
/// quotes.
bool valid_identifier(std::string_view name, std::size_t longest = 63) noexcept;

/// Throws `Error` (`invalid_argument`) unless records can be kept for that long.
void check_retention(std::chrono::nanoseconds retention);
/// `options`, unless records cannot be kept for as long as they say: then throws.
template <class RecordOptions>
RecordOptions check_retention(RecordOptions options)
{
    check_retention(options.retention);
    return options;
}

/// What is wrong with the hosts and ports, as a character of the password makes it that is not written as an
/// escape; null: nothing. Quotes nothing: with an '@' forgotten the port is the password.
char const* wrong_place(Settings const& settings);

/// The parameter that a URL says twice, behind its '?' or there and in front of it, as its path says dbname;
/// empty: none. Libpq would take the last one, and data would be looked for in another place than the one
/// that was meant. `url` is one that libpq reads when name_space and schema are left out.
std::string said_twice(std::string_view url);

/// ` "name"` of the first parameter of `url` that libpq does not know; empty: there is none, or it may be a
/// part of a password.
std::string unknown_setting(std::string_view url);

/// Where the parameters of `url` begin with their '?', or npos. In front of an '@' a '?' belongs to the
/// password, as libpq sees it.
std::size_t begin_of_parameters(std::string_view url) noexcept;

/// The value of a setting, or an empty text.
std::string setting(Settings const& settings, std::string_view keyword);

/// Whether the host is a unix socket, or this machine by one of its usual names. In a comma-separated list
/// all hosts must be.
bool local_host(std::string_view hosts) noexcept;

Failure bad_url(char const* what);

/// The host that libpq will go to.
std::string host_of(Settings const& settings);

/// Host, port and database, without user and password: for messages, and to tell servers apart.
std::string endpoint_of(Settings const& settings);

/// What decides besides the database which table a name means: the user, whose search_path it is, and the
/// settings of the session. For identities only.
std::string names_of_session(Settings const& settings);

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/settings.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_SETTINGS_HPP
