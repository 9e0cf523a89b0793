// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_ROW_TRANSACTION_TABLES_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_ROW_TRANSACTION_TABLES_IPP

#include <interlock/backends/postgres/detail/names.hpp>
#include <interlock/backends/postgres/detail/row_refusals.hpp>
#include <interlock/backends/postgres/detail/row_transaction_tables.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/kit/commit_refusal.hpp>
#include <interlock/core/outcome.hpp>

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

template <class R>
void RowTransactionCore<R>::begin_at_least_as(TableCore<R> const& table)
{
    if (begin_ != nullptr && table.options.isolation <= isolation_)
        return;
    isolation_ = table.options.isolation;
    begin_ = &table.begin;
}

template <class R>
Outcome<void> RowTransactionCore<R>::lock_tables(std::span<TableLocks> tables, Wait wait)
{
    for (auto& table : tables) {
        table.rows = not_locked(*table.store, table.keys.size());
        begin_at_least_as(*table.store);
    }
    for (bool all = false; !all;) {
        all = true;
        for (std::size_t i = 0; all && i < tables.size(); ++i) {
            auto& table = tables[i];
            store_ = table.store;
            known_ = table.known;
            rows_.swap(table.rows);
            auto const locked = lock_table(table.keys, wait, nullptr, i == 0);
            rows_.swap(table.rows);
            if (!locked)
                return locked.failure();
            table.place = place_;
            all = *locked;
        }
    }
    return success();
}

/// `failure` of a commit of several tables, in one of them: its text names the table, and the key, if the
/// commit changes only one row of it.
template <class R>
[[gnu::cold]] Failure in_table(Failure failure, JointRows<R> const& part)
{
    auto const place = place_of_table(part.store->table.name);
    bool const of_key = failure.errc() == Errc::version_conflict || failure.errc() == Errc::not_found ||
                        failure.errc() == Errc::already_exists;
    if (failure.has_detail() || !of_key || part.changes.size() != 1)
        return std::move(failure).placed(place);
    CommitRefusal refusal{2};
    refusal.add(place, part.changes[0].key->bytes(), failure.errc());
    return std::move(refusal).failure();
}

template <class R>
Outcome<CommitResult> RowTransactionCore<R>::commit_tables(
    std::span<JointRows<R> const> parts, OperationCommit const* operation, TimePoint until)
{
    if (async_ && !async_->idle())
        return not_awaited();
    auto result = do_commit_tables(parts, operation, std::min(until, until_));
    end();
    if (result && !result->duplicate)
        for (auto const& part : parts)
            part.store->announce(part.changes);
    return result;
}

template <class R>
Outcome<CommitResult> RowTransactionCore<R>::do_commit_tables(
    std::span<JointRows<R> const> parts, OperationCommit const* operation, TimePoint until)
{
    if (auto const unfit = unfit_to_commit(until))
        return *unfit;
    for (auto const& part : parts)
        begin_at_least_as(*part.store);
    std::vector<Steps> steps(parts.size());
    std::vector<std::vector<Reply>> replies(parts.size());
    for (std::size_t i = 0; i < parts.size(); ++i) {
        auto const* const recorded = i == 0 ? operation : nullptr;
        store_ = parts[i].store;
        known_ = parts[i].known;
        place_ = parts[i].place;
        auto const prepared = store_->prepare_events(
            *known_, parts[i].changes, [&](Batch const& batch) { return ask_before(batch, until); });
        if (!prepared)
            return prepared.failure();
        steps[i].events_later = true;
        if (begun_)  // what the first one's settings are to the first table, these are to this one
            store_->add_settings(*known_, before_commit_);
        if (auto added = add_steps(steps[i], parts[i].changes, recorded, false); !added)
            return not_sent(std::move(added).failure(), until);
        auto before = run_steps(steps[i], replies[i], parts[i].changes, recorded, until);
        if (!before) {
            end();
            auto const code = before.errc();
            bool const refused =
                code == Errc::version_conflict || code == Errc::not_found || code == Errc::already_exists;
            if (!refused || i == 0)
                return in_table(std::move(before).failure(), parts[i]);
            return parts[0].store->or_duplicate(
                in_table(std::move(before).failure(), parts[i]), operation, Deadline{until});
        }
        if (*before)
            return **std::move(before);
        begun_ = true;
    }
    auto ended = end_tables(parts, operation, until);
    if (!ended)
        return ended;
    for (std::size_t i = 0; i < parts.size(); ++i)
        for (auto const& asked : steps[i].asked)
            parts[i].store->set_stored(
                *parts[i].known, replies[i][asked.at.change],
                asked.again ? &replies[i][*asked.again] : nullptr, parts[i].changes[asked.change]);
    return ended;
}

template <class R>
Outcome<CommitResult> RowTransactionCore<R>::end_tables(
    std::span<JointRows<R> const> parts, OperationCommit const* operation, TimePoint until)
{
    // One stream may have states of several tables.
    StreamLocks streams;
    for (auto const& part : parts)
        part.store->add_streams(streams, part.changes);
    Batch last;
    streams.add_to(last);
    std::vector<std::size_t> behind(parts.size(), 0);  // where the events of each end; 0: it has none
    for (std::size_t i = 0; i < parts.size(); ++i) {
        auto const before = last.size();
        for (auto const& change : parts[i].changes)
            parts[i].store->add_events(last, change);
        behind[i] = last.size() > before ? last.size() : 0;
    }
    last.add(store_->commit);
    auto done = Base::commit(last, until);
    if (!done)
        return std::move(done).failure();
    if (!done->error)
        return Outcome<CommitResult>{std::in_place};
    end_by(*done->error);
    for (std::size_t i = 0; i < parts.size(); ++i)
        if (done->error->step < behind[i])
            return parts[0].store->or_duplicate(
                in_table(
                    parts[i].store->options.events.get()->append_failed(*done->error, Access::write),
                    parts[i]),
                operation, Deadline{until});
    return error_refused(*done->error, parts.back().changes, operation, until);
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_ROW_TRANSACTION_TABLES_IPP
