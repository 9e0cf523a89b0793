// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_TABLE_EVENTS_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_TABLE_EVENTS_IPP

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/event_sink.hpp>
#include <interlock/backends/postgres/detail/table_events.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/kit/recorded_events.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

template <class R>
template <class Ask>
Outcome<void> TableCore<R>::prepare_events(
    KnownTable const& known, std::span<RowChange> changes, Ask ask) const
{
    std::size_t count = 0;
    for (auto const& change : changes)
        count += change.events.size();
    if (count == 0)
        return success();
    auto const* const log = options.events.get();
    if (log == nullptr)
        return interlock::detail::no_event_repository();
    if (log->pool() != pool.get())
        return failed(
            Errc::misconfigured, {"postgres: the event repository ", log->name(),
                                  " was made from another pool than the repository of ", table.name,
                                  ", so that they share no transaction"});
    if (count > max_events_of_commit)
        return failed(
            Errc::invalid_argument, {"one commit stores at most ", std::to_string(max_events_of_commit),
                                     " events, and these are ", std::to_string(count)});
    for (auto const& change : changes) {
        if (auto valid = validate(change.events); !valid)
            return valid;
        if (auto valid = log->validate_texts(change.events); !valid)
            return valid;
    }
    Batch batch;
    bool const checks = !log->is_known();
    if (checks)
        log->add_check(batch);
    bool const spells = !known.table.record_key.empty();
    for (auto& change : changes) {
        if (change.events.empty())
            continue;
        change.stream = change.key->bytes();
        Params params;
        if (spells && !add_key_columns(known, params, *change.key))
            return bad_key();
        if (spells)
            batch.add(known.statements.record_key, std::move(params));
    }
    if (batch.size() == 0)
        return success();
    Outcome<std::vector<Reply>> replies = ask(batch);
    if (!replies)
        return std::move(replies).failure();
    std::size_t at = 0;
    if (checks)
        if (auto fits = log->judge_check((*replies)[at++]); !fits)
            return fits;
    for (auto& change : changes) {
        if (change.events.empty() || !spells)
            continue;
        auto const bytes = (*replies)[at++].bytes(0, 0);
        if (!bytes)
            return damaged("a key has no bytes");
        change.stream = spelled_key(known.table, key_kinds_, *bytes);
    }
    return success();
}

template <class R>
Outcome<void> TableCore<R>::prepare_one(RowChange& change, Deadline until) const
{
    auto const known = know(until);
    if (!known)
        return known.failure();
    return prepare_events(
        **known, {&change, 1}, [&](Batch const& batch) { return pool->execute(batch, Access::read, until); });
}

template <class R>
void TableCore<R>::add_events(Batch& batch, RowChange const& change) const
{
    if (!change.events.empty())
        options.events.get()->add_events(batch, change.stream, change.events);
}

template <class R>
void TableCore<R>::add_streams(StreamLocks& locks, std::span<RowChange const> changes) const
{
    for (auto const& change : changes)
        if (!change.events.empty())
            locks.add(*options.events.get(), change.stream);
}

template <class R>
void TableCore<R>::announce(std::span<RowChange const> changes) const noexcept
{
    for (auto const& change : changes)
        if (!change.events.empty())
            pool->subscriber().announce(options.events.get()->wake_hash_of(change.stream));
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_TABLE_EVENTS_IPP
