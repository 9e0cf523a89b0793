// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_SETTINGS_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_SETTINGS_HPP

/// @file
/// What the members of a connection URL say, and which names and retentions options may have.

#include <interlock/backends/postgres/detail/batch.hpp>
#include <interlock/backends/postgres/detail/pqxx.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/outcome.hpp>

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// Whether `name` may stand in a statement as it is: only names are taken that mean the same with and without
/// quotes.
inline bool valid_identifier(std::string_view name, std::size_t longest = 63) noexcept
{
    if (name.empty() || name.size() > longest || (name[0] >= '0' && name[0] <= '9'))
        return false;
    for (char c : name)
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'))
            return false;
    return true;
}

/// Throws `Error` (`invalid_argument`) unless records can be kept for as long as these options say.
template <class RecordOptions>
RecordOptions check_retention(RecordOptions options)
{
    if (options.retention < std::chrono::seconds{1} || options.retention > std::chrono::hours{24 * 365 * 100})
        throw Error(Errc::invalid_argument, "postgres: retention must be from 1 second to 100 years");
    return options;
}

/// The value of a setting, or an empty text.
inline std::string setting(Settings const& settings, std::string_view keyword)
{
    for (auto const& [key, value] : settings)
        if (key == keyword)
            return value;
    return {};
}

/// Whether the host is a unix socket, or this machine by one of its usual names. In a comma-separated list
/// all hosts must be.
inline bool local_host(std::string_view hosts) noexcept
{
    for (;;) {
        auto const comma = hosts.find(',');
        auto const host = hosts.substr(0, comma);
        if (!(host.empty() || host[0] == '/' || host[0] == '@' || host == "localhost" ||
              host == "127.0.0.1" || host == "::1"))
            return false;
        if (comma == std::string_view::npos)
            return true;
        hosts.remove_prefix(comma + 1);
    }
}

inline Failure bad_url(char const* what)
{
    return Failure{Errc::invalid_argument, std::string("postgres URL: ") + what};
}

/// The host that libpq will go to.
inline std::string host_of(Settings const& settings)
{
    auto host = setting(settings, "host");
    return host.empty() ? default_setting("host") : host;
}

/// Host, port and database, without user and password: for messages, and to tell servers apart.
inline std::string endpoint_of(Settings const& settings)
{
    auto const or_default = [&](char const* keyword) {
        auto value = setting(settings, keyword);
        return value.empty() ? default_setting(keyword) : value;
    };
    auto host = host_of(settings);
    auto database = or_default("dbname");
    if (database.empty())
        database = or_default("user");
    return (host.empty() ? std::string("local") : host) + ":" + or_default("port") + "/" + database;
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_SETTINGS_HPP
