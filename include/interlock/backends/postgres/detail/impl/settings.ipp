// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_SETTINGS_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_SETTINGS_IPP

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/pqxx.hpp>
#include <interlock/backends/postgres/detail/settings.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/kit/net/url.hpp>
#include <interlock/core/outcome.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

[[gnu::cold]] INTERLOCK_DECL std::optional<Settings> parse_settings(std::string const& url)
{
    std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> const parsed{
        PQconninfoParse(url.c_str(), nullptr), &PQconninfoFree};
    if (!parsed)
        return std::nullopt;
    Settings settings;
    for (auto const* option = parsed.get(); option->keyword != nullptr; ++option)
        if (option->val != nullptr)
            settings.emplace_back(option->keyword, option->val);
    return settings;
}

[[gnu::cold]] INTERLOCK_DECL std::string default_setting(std::string_view keyword)
{
    std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> const defaults{
        PQconndefaults(), &PQconninfoFree};
    for (auto const* option = defaults.get(); option != nullptr && option->keyword != nullptr; ++option)
        if (keyword == option->keyword && option->val != nullptr)
            return option->val;
    return {};
}

[[gnu::cold]] INTERLOCK_DECL bool valid_identifier(std::string_view name, std::size_t longest) noexcept
{
    if (name.empty() || name.size() > longest || (name[0] >= '0' && name[0] <= '9'))
        return false;
    for (char c : name)
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'))
            return false;
    return true;
}

[[gnu::cold]] INTERLOCK_DECL void check_retention(std::chrono::nanoseconds retention)
{
    if (retention < std::chrono::seconds{1} || retention > std::chrono::hours{24 * 365 * 100})
        throw Error(Errc::invalid_argument, "postgres: retention must be from 1 second to 100 years");
}

[[gnu::cold]] INTERLOCK_DECL std::string setting(Settings const& settings, std::string_view keyword)
{
    for (auto const& [key, value] : settings)
        if (key == keyword)
            return value;
    return {};
}

[[gnu::cold]] INTERLOCK_DECL bool local_host(std::string_view hosts) noexcept
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

[[gnu::cold]] INTERLOCK_DECL Failure bad_url(char const* what)
{
    return failed(Errc::invalid_argument, {"postgres URL: ", what});
}

[[gnu::cold]] INTERLOCK_DECL char const* wrong_place(Settings const& settings)
{
    auto const host = setting(settings, "host");
    // A host that begins with '@' is a socket without a file.
    if (host.find('@', 1) != std::string::npos && host.find_first_of("/") != 0)
        return "the host has an '@'; in a user's name and in a password it is written %40";
    if (host.find(' ') != std::string::npos && host.front() != '/')
        return "the host has a blank";
    auto const ports = setting(settings, "port");
    for (std::size_t i = 0; i < ports.size(); ++i)
        if (ports[i] != ',' && (ports[i] < '0' || ports[i] > '9'))
            return "the port must be a number; in a password '/' is written %2F, and ':' in a user's name "
                   "%3A";
    return nullptr;
}

[[gnu::cold]] INTERLOCK_DECL std::size_t begin_of_parameters(std::string_view url) noexcept
{
    auto const authority = url.substr(0, url.find('/', url.find("://") + 3));
    auto const at = authority.find('@');
    return url.find('?', at == std::string_view::npos ? 0 : at);
}

/// The names of the parameters of `url`, in their order.
[[gnu::cold]] INTERLOCK_DECL std::vector<std::string> parameters_of(std::string_view url)
{
    std::vector<std::string> out;
    auto const question = begin_of_parameters(url);
    if (question == std::string_view::npos)
        return out;
    for (auto rest = url.substr(question + 1); !rest.empty();) {
        auto const entry = rest.substr(0, rest.find('&'));
        rest.remove_prefix(std::min(entry.size() + 1, rest.size()));
        interlock::detail::percent_decode(entry.substr(0, entry.find('=')), out.emplace_back());
        if (out.back() == "ssl")  // libpq takes ssl=true, as other drivers write it, for sslmode=require
            out.back() = "sslmode";
    }
    return out;
}

[[gnu::cold]] INTERLOCK_DECL std::string said_twice(std::string_view url)
{
    std::vector<std::string> said;
    if (auto const in_front = parse_settings(std::string(url.substr(0, begin_of_parameters(url)))))
        for (auto const& [keyword, value] : *in_front)
            said.push_back(keyword);
    for (auto& name : parameters_of(url)) {
        if (std::find(said.begin(), said.end(), name) != said.end())
            return name;
        said.push_back(std::move(name));
    }
    return {};
}

[[gnu::cold]] INTERLOCK_DECL std::string unknown_setting(std::string_view url)
{
    std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> const defaults{
        PQconndefaults(), &PQconninfoFree};
    for (auto const& name : parameters_of(url)) {
        bool known = false;
        for (auto const* option = defaults.get(); option != nullptr && option->keyword != nullptr; ++option)
            known = known || name == option->keyword;
        if (!known)
            return interlock::detail::quoted_parameter(url, name);
    }
    return {};
}

[[gnu::cold]] INTERLOCK_DECL std::string host_of(Settings const& settings)
{
    auto host = setting(settings, "host");
    return host.empty() ? default_setting("host") : host;
}

/// The setting, or what libpq takes in its place.
[[gnu::cold]] INTERLOCK_DECL std::string setting_or_default(Settings const& settings, char const* keyword)
{
    auto value = setting(settings, keyword);
    return value.empty() ? default_setting(keyword) : value;
}

[[gnu::cold]] INTERLOCK_DECL std::string names_of_session(Settings const& settings)
{
    return setting_or_default(settings, "user") + "/" + setting_or_default(settings, "options");
}

[[gnu::cold]] INTERLOCK_DECL std::string endpoint_of(Settings const& settings)
{
    auto const or_default = [&](char const* keyword) { return setting_or_default(settings, keyword); };
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

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_SETTINGS_IPP
