// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_BATCH_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_BATCH_IPP

#include <interlock/backends/postgres/detail/batch.hpp>
#include <interlock/backends/postgres/detail/utf8.hpp>
#include <interlock/core/runtime/immortal.hpp>
#include <interlock/core/runtime/random.hpp>

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

/// The statements that this process has named. Threads of the library still use them while the process ends.
struct NamedStatements {
    std::mutex mutex;
    std::unordered_map<std::string, std::string> names;  // by the text
};

[[gnu::noinline]] INTERLOCK_DECL Statement::Statement(std::string_view text)
{
    auto& named = interlock::detail::immortal_of_process<NamedStatements>();
    std::lock_guard lock(named.mutex);
    auto at = named.names.find(std::string(text));
    if (at == named.names.end()) {
        auto name = "interlock_" + std::to_string(named.names.size());
        // A forked child uses its parent's statements, too, so that it must not give their names again.
        if (auto const process = interlock::detail::process_generation(); process != 0)
            name += "_" + std::to_string(process);
        at = named.names.emplace(text, std::move(name)).first;
    }
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
