// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_IMPL_OPTIONS_IPP
#define INTERLOCK_BACKENDS_POSTGRES_IMPL_OPTIONS_IPP

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/names.hpp>
#include <interlock/backends/postgres/detail/settings.hpp>
#include <interlock/backends/postgres/options.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/kit/net/url.hpp>

#include <algorithm>
#include <chrono>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace postgres {

INTERLOCK_DECL Outcome<Options> Options::parse(std::string_view url)
{
    Options options;
    if (!url.starts_with("postgresql://") && !url.starts_with("postgres://"))
        return detail::bad_url("the scheme must be postgresql or postgres");
    if (auto const fault = interlock::detail::fault_in_url(url); !fault.empty())
        return detail::bad_url(fault.c_str());
    auto const question = detail::begin_of_parameters(url);
    options.url = std::string(url.substr(0, question));
    if (question != std::string_view::npos) {
        // Every setting of libpq goes back behind the question mark.
        char separator = '?';
        for (auto rest = url.substr(question + 1); !rest.empty();) {
            auto const entry = rest.substr(0, rest.find('&'));
            rest.remove_prefix(std::min(entry.size() + 1, rest.size()));
            if (entry.starts_with("name_space=")) {
                options.name_space = std::string(entry.substr(entry.find('=') + 1));
                continue;
            }
            if (entry.starts_with("schema=")) {
                // A '%' without its digits was refused above.
                interlock::detail::percent_decode(entry.substr(entry.find('=') + 1), options.schema);
                continue;
            }
            (options.url += std::exchange(separator, '&')) += entry;
        }
    }
    if (auto valid = options.validate(); !valid)
        return std::move(valid).failure();
    if (auto const twice = detail::said_twice(url); !twice.empty())  // name_space and schema among them
        return detail::bad_url((twice + " is said twice").c_str());
    return options;
}

INTERLOCK_DECL Outcome<void> Options::validate() const
{
    if (!url.starts_with("postgresql://") && !url.starts_with("postgres://"))
        return detail::bad_url("the scheme must be postgresql or postgres");
    if (auto const fault = interlock::detail::fault_in_url(url); !fault.empty())
        return detail::bad_url(fault.c_str());
    auto const settings = detail::parse_settings(url);
    if (!settings) {
        auto const unknown = detail::unknown_setting(url);
        if (!unknown.empty())
            return detail::bad_url(("libpq has no setting" + unknown).c_str());
        return detail::bad_url("libpq cannot read it: a '[' without its ']', or an unknown setting, perhaps");
    }
    if (auto const* const wrong = detail::wrong_place(*settings))
        return detail::bad_url(wrong);
    if (auto const twice = detail::said_twice(url); !twice.empty())
        return detail::bad_url((twice + " is said twice").c_str());
    auto const replication = detail::setting(*settings, "replication");
    if (!replication.empty() && replication != "false" && replication != "off" && replication != "no" &&
        replication != "0")
        return detail::bad_url("a session for replication takes no statements of this library");
    auto const wrong = [](char const* what) {
        return detail::failed(Errc::invalid_argument, {"postgres: ", what});
    };
    if (!detail::valid_identifier(name_space, 31))
        return wrong("name_space must be a letter or '_' and up to 30 lower-case letters, digits and '_'");
    if (auto const* const fault = detail::wrong_schema(schema))
        return wrong(fault);
    if (application_name.find('\0') != std::string::npos || application_name.size() > 63)
        return wrong("application_name must have at most 63 bytes and no NUL");
    if (connect_timeout <= std::chrono::nanoseconds{0})
        return wrong("connect_timeout must be positive");
    if (tcp_user_timeout < std::chrono::milliseconds{1} || tcp_user_timeout > std::chrono::hours{1})
        return wrong("tcp_user_timeout must be from 1 ms to 1 hour");
    if (max_connections == 0)
        return wrong("max_connections must be at least 1");
    return success();
}

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_IMPL_OPTIONS_IPP
