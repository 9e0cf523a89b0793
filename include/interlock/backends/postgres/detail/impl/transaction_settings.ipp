// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_TRANSACTION_SETTINGS_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_TRANSACTION_SETTINGS_IPP

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/transaction_settings.hpp>
#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/runtime/immortal.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// Whether `name` is that of a setting which only users' own policies, triggers and functions read: names
/// with a dot between them. All settings of the server itself have names without one, among them those that
/// this library relies on: `search_path`, `role`, `statement_timeout`, `transaction_isolation`.
INTERLOCK_DECL bool is_custom_setting(std::string_view name) noexcept
{
    if (name.size() > 127 || name.find('.') == std::string_view::npos)
        return false;
    bool begins = true;
    for (char c : name) {
        bool const letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        bool const other = (c >= '0' && c <= '9') || c == '$';
        if (c == '.' ? begins : !(letter || (other && !begins)))
            return false;
        begins = c == '.';
    }
    return !begins;
}

[[gnu::cold]] INTERLOCK_DECL void check_setting(Setting const& setting)
{
    // A name that is wrong may hold anything, so that only what is readable of it is shown.
    std::string shown;
    for (char c : std::string_view{setting.name}.substr(0, 64))
        shown += c > ' ' && c < '\x7f' ? c : '?';
    if (!is_custom_setting(setting.name))
        throw_invalid(
            {"postgres: the setting \"", shown,
             "\" cannot be made per transaction; its name must be names with a dot between them, as "
             "app.tenant"});
    if (setting.value.find('\0') != std::string::npos)
        throw_invalid({"postgres: the value of the setting \"", shown, "\" has a NUL"});
    if (setting.value.size() > std::size_t{1} << 16)
        throw_invalid({"postgres: the value of the setting \"", shown, "\" is longer than 64 KiB"});
}

/// The settings as they are sent.
[[gnu::cold]] INTERLOCK_DECL Settings names_and_values(std::vector<Setting> const& settings, bool policies)
{
    Settings out;
    if (policies)
        out.emplace_back("row_security", "on");
    for (auto const& setting : settings)
        out.emplace_back(setting.name, setting.value);
    return out;
}

/// Checks the settings, and puts them in the order of their names in small letters, as the server takes them.
[[gnu::cold]] INTERLOCK_DECL std::vector<Setting> checked(std::vector<Setting> settings)
{
    if (settings.size() > 32)
        throw_invalid({"postgres: a transaction gets at most 32 settings"});
    for (auto& setting : settings) {
        check_setting(setting);
        for (char& c : setting.name)
            c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    std::sort(settings.begin(), settings.end(), [](auto const& a, auto const& b) { return a.name < b.name; });
    for (std::size_t i = 1; i < settings.size(); ++i)
        if (settings[i].name == settings[i - 1].name)
            throw_invalid({"postgres: the setting \"", settings[i].name, "\" is given twice"});
    return settings;
}

[[gnu::cold]] INTERLOCK_DECL TransactionSettings::TransactionSettings(
    std::vector<Setting> settings, std::string url)
    : settings_(checked(std::move(settings))), url_(std::move(url)),
      with_policies_(names_and_values(settings_, true))
{
    if (!settings_.empty())
        plain_.emplace(names_and_values(settings_, false));
}

INTERLOCK_DECL TransactionSettings TransactionSettings::with(std::vector<Setting> more) const
{
    auto all = checked(std::move(more));
    for (auto const& setting : settings_)
        if (std::none_of(all.begin(), all.end(), [&](auto const& s) { return s.name == setting.name; }))
            all.push_back(setting);
    return TransactionSettings{std::move(all), url_};
}

INTERLOCK_DECL SettingsStep const* TransactionSettings::step(bool policies) const noexcept
{
    return policies ? &with_policies_ : plain_ ? &*plain_ : nullptr;
}

INTERLOCK_DECL std::string TransactionSettings::scope(std::string_view role) const
{
    // Each part with its length in front, so that no value can pass for another one with more parts.
    std::string out;
    auto const add = [&](std::string_view part) {
        out += std::to_string(part.size()) + ":";
        out += part;
    };
    add(role);
    add(url_);
    for (auto const& setting : settings_)
        if (setting.use == SettingUse::scope) {
            add(setting.name);
            add(setting.value);
        }
    return out;
}

INTERLOCK_DECL SettingsStep const& policies_apply()
{
    static auto const& step = interlock::detail::immortal<SettingsStep>(Settings{{"row_security", "on"}});
    return step;
}

INTERLOCK_DECL SettingsStep const& only_reads()
{
    static auto const& step = interlock::detail::immortal<SettingsStep>(
        Settings{{"row_security", "on"}, {"transaction_read_only", "on"}});
    return step;
}

[[gnu::cold]] INTERLOCK_DECL std::string custom_settings(std::string_view options)
{
    // As the server splits them: white space separates, a backslash takes the next character as it is.
    std::vector<std::string> words{""};
    for (std::size_t i = 0; i < options.size(); ++i) {
        bool const space = options[i] == ' ' || (options[i] >= '\t' && options[i] <= '\r');
        if (space)
            words.emplace_back();
        else if (options[i] != '\\')
            words.back() += options[i];
        else if (++i < options.size())
            words.back() += options[i];
    }
    std::erase(words, std::string());
    std::vector<std::string> found;
    for (std::size_t i = 0; i < words.size(); ++i) {
        std::string_view word = words[i];
        if (word == "-c" && i + 1 < words.size())
            word = words[++i];
        else if (word.starts_with("-c") || word.starts_with("--"))
            word.remove_prefix(2);
        else
            continue;
        if (word.substr(0, word.find('=')).find('.') != std::string_view::npos)
            found.emplace_back(word);
    }
    // The last one of a name counts, at the server; here only equal texts need to be equal.
    std::string out;
    for (auto const& setting : found)
        out += setting + "\n";
    return out;
}

/// What the mark of a scope begins with.
inline constexpr std::string_view scope_word{"\0scope", 6};

/// What stands behind the key of a record of `scope`. Its last byte is its length, so it can be told from the
/// key. A long scope stands there as a digest.
INTERLOCK_DECL std::string scope_mark(std::string const& scope)
{
    auto mark = std::string(scope_word) +
                (scope.size() <= 200 ? "=" + scope : "#" + interlock::detail::request_digest(scope));
    mark += static_cast<char>(mark.size());
    return mark;
}

INTERLOCK_DECL std::string any_key(std::string_view stored)
{
    auto const size = stored.empty() ? 0U : static_cast<unsigned char>(stored.back()) + 1U;
    bool const marked = size <= stored.size() && stored.substr(stored.size() - size).starts_with(scope_word);
    return std::string(marked ? stored.substr(0, stored.size() - size) : stored);
}

INTERLOCK_DECL void add_policies_query(Batch& batch, std::string const& ns)
{
    static auto const& query = interlock::detail::immortal<Statement>(
        "SELECT current_user, (SELECT string_agg($1::text || t, ', ') FROM "
        "unnest(ARRAY['_lock', '_operation', '_idempotency']) t "
        "WHERE row_security_active(to_regclass($1::text || t)::oid))");
    Params params;
    params.text(ns);
    batch.add(query, std::move(params));
}

INTERLOCK_DECL std::string scoped_key(std::string_view key, std::string const& scope)
{
    return std::string(key) + scope_mark(scope);
}

INTERLOCK_DECL std::optional<std::string> unscoped_key(std::string_view stored, std::string const& scope)
{
    auto const mark = scope_mark(scope);
    if (!stored.ends_with(mark))
        return std::nullopt;
    return std::string(stored.substr(0, stored.size() - mark.size()));
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_TRANSACTION_SETTINGS_IPP
