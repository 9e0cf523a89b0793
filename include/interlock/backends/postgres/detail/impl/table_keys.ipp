// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_TABLE_KEYS_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_TABLE_KEYS_IPP

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/names.hpp>
#include <interlock/backends/postgres/detail/table_keys.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

// ---- keys that their columns refuse -------------------------------------------------------------

INTERLOCK_DECL std::vector<Key const*> pointers_to(std::span<Key const> keys)
{
    std::vector<Key const*> all;
    all.reserve(keys.size());
    for (auto const& key : keys)
        all.push_back(&key);
    return all;
}

template <class R>
Failure TableCore<R>::bad_key() const
{
    std::string columns;
    for (auto const& column : table.key)
        columns += (columns.empty() ? "" : ", ") + table.name + "." + unquoted(column);
    return failed(
        Errc::invalid_argument, {"postgres: no row can have the key, the value of ", columns,
                                 ": a text has a NUL or is not UTF-8, or it is not of the column's type"});
}

template <class R>
std::string TableCore<R>::refused_part(
    KnownTable const& known, SqlError const& error, Key const& key, Deadline until) const
{
    auto parts = parts_of_key(known, key);
    Batch batch;
    std::vector<std::string> asked;
    for (std::size_t i = 0; i < parts.size(); ++i) {
        auto const* const column = known.facts.column(unquoted(known.table.key[i]));
        if (column == nullptr || parts[i].size() == 0)
            continue;
        if (!parts[i].is_utf8())
            return column->name;
        auto const fit = known.table.key_fit(i);
        batch.add(
            joined_text(
                {"SELECT ", fit.whole.empty() ? joined_text({"$1::", column->type}) : fit.value("$1")}),
            std::move(parts[i]));
        asked.push_back(column->name);
    }
    if (batch.size() == 0)
        return {};
    auto const exchange = pool->run(batch, Access::read, until, false);
    bool const is_it = exchange && exchange->error && exchange->error->step < asked.size() &&
                       exchange->error->state == error.state;
    return is_it ? asked[exchange->error->step] : std::string();
}

template <class R>
Failure TableCore<R>::refused_by_key(
    KnownTable const& known, SqlError const& error, Access access, std::span<Key const* const> keys,
    Deadline until) const
{
    auto failure = failure_of(error, access);
    if (!mapped || !of_a_value(error))
        return failure;
    // The failure is the answer, so the name of the column is not waited for long.
    auto const now = pool->runtime().now();
    Deadline const soon{std::min(until.at(now), interlock::detail::add(now, std::chrono::seconds{1}))};
    for (auto const* key : keys) {
        if (!key->valid())
            continue;
        if (auto const column = refused_part(known, error, *key, soon); !column.empty())
            return failed(
                       failure.errc(),
                       {failure.detail(), ", the value of the key's column ", table.name, ".", column})
                .with_store_code(error.state);
    }
    return failure;
}

// ---- keys that are one --------------------------------------------------------------------------

template <class R>
Outcome<verb::FindSameKeys::answer> TableCore<R>::find_same_keys(
    std::span<Key const> keys, Deadline deadline) const
{
    using Found = verb::FindSameKeys::answer;
    if (!deadline.valid())
        return failed(Errc::invalid_argument, "the deadline is not a number");
    Deadline const until{deadline.at(pool->runtime().now())};
    auto const table_known = know(until);
    if (!table_known)
        return table_known.failure();
    if (keys.empty() || (*table_known)->table.record_key.empty())
        return Found{};  // a key is its bytes
    auto const fill = [&](KnownTable const& known, Batch& batch) {
        for (auto const& key : keys) {
            Params params;
            if (!add_record_key(known, params, key))
                return Outcome<void>{bad_key()};
            batch.add(known.statements.record_key, std::move(params));
        }
        return success();
    };
    auto const replies = ask(Access::read, until, fill, pointers_to(keys));
    if (!replies)
        return replies.failure();
    std::map<std::string, std::size_t, std::less<>> places;
    for (std::size_t i = 0; i < replies->size(); ++i)
        if (auto const bytes = (*replies)[i].bytes(0, 0))
            if (auto const [at, is_new] = places.try_emplace(std::string(*bytes), i); !is_new)
                return Found{{at->second, i}};
    return Found{};
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_TABLE_KEYS_IPP
