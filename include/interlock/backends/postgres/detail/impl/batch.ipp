// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_BATCH_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_BATCH_IPP

#include <interlock/backends/postgres/detail/batch.hpp>
#include <interlock/backends/postgres/detail/utf8.hpp>
#include <interlock/core/runtime/immortal.hpp>

#include <algorithm>
#include <cstddef>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

[[gnu::noinline]] INTERLOCK_DECL Statement::Statement(std::string_view text)
{
    // The two statics are never destroyed, since threads of the library still use statements while the
    // process ends.
    static auto& mutex = interlock::detail::immortal<std::mutex>();
    static auto& known = interlock::detail::immortal<std::unordered_map<std::string, std::string>>();
    std::lock_guard lock(mutex);
    auto const number = known.size();
    auto const [at, is_new] = known.try_emplace(std::string(text));
    if (is_new)
        at->second = "interlock_" + std::to_string(number);
    known_ = &*at;
}

INTERLOCK_DECL void Params::add(std::string bytes, Kind kind)
{
    if (values_.empty())
        values_.reserve(8);  // most statements have fewer
    auto& value = values_.emplace_back();
    value.bytes = std::move(bytes);
    value.kind = kind;
}

[[gnu::noinline]] INTERLOCK_DECL void Params::text(std::string value)
{
    add(std::move(value), Kind::text);
}

[[gnu::noinline]] INTERLOCK_DECL void Params::bytes(std::string_view value)
{
    add(std::string(value), Kind::binary);
}

[[gnu::noinline]] INTERLOCK_DECL bool Params::is_utf8() const noexcept
{
    return std::all_of(values_.begin(), values_.end(), [](Value const& value) {
        return value.kind != Kind::text || detail::is_utf8(value.bytes);
    });
}

INTERLOCK_DECL void Params::null()
{
    add({}, Kind::null);
}

[[gnu::noinline]] INTERLOCK_DECL void Params::number(std::int64_t value)
{
    add(std::to_string(value), Kind::text);
}

[[gnu::noinline]] INTERLOCK_DECL void Params::boolean(bool value)
{
    add(value ? "t" : "f", Kind::text);
}

INTERLOCK_DECL SettingsStep::SettingsStep(Settings const& values)
{
    std::string text;
    for (std::size_t i = 0; i < values.size(); ++i) {
        text += i == 0 ? "SELECT " : ", ";
        text += "set_config($" + std::to_string(2 * i + 1) + ", $" + std::to_string(2 * i + 2) + ", true)";
        names += (i == 0 ? "" : ", ") + values[i].first;
        params.text(values[i].first);
        params.text(values[i].second);
    }
    statement = Statement{text};
}

INTERLOCK_DECL void Batch::add_settings(SettingsStep const& settings) noexcept
{
    settings_ = &settings;
    settings_at_ = steps_.size();
}

[[gnu::noinline]] INTERLOCK_DECL void Batch::add(Statement const& statement, Params params)
{
    if (steps_.empty())
        steps_.reserve(4);  // most batches have fewer
    auto& step = steps_.emplace_back();
    step.statement = &statement;
    step.params = std::move(params);
}

[[gnu::noinline]] INTERLOCK_DECL void Batch::add(std::string text, Params params)
{
    if (steps_.empty())
        steps_.reserve(4);
    auto& step = steps_.emplace_back();
    step.text = std::move(text);
    step.params = std::move(params);
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_BATCH_IPP
