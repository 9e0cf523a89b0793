// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_ROW_REFUSALS_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_ROW_REFUSALS_IPP

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/event_sink.hpp>
#include <interlock/backends/postgres/detail/row_refusals.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/kit/commit_refusal.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

template <class R>
[[gnu::cold]] Failure RowTransactionCore<R>::refused(
    SqlError const& error, Wait wait, std::span<Key const* const> keys) const
{
    auto failure = store_->refused_by_key(*known_, error, Access::write, keys, Deadline{until_});
    if (failure.errc() == Errc::lock_busy && wait == Wait::until_deadline)
        return Failure::because(
            Errc::deadline_exceeded, failed(Errc::lock_busy, "postgres: a row is locked by somebody else"));
    return failure;
}

template <class R>
[[gnu::cold]] void RowTransactionCore<R>::end_by(SqlError const& error) noexcept
{
    pool_->heal(*session_, error);
    end();
}

template <class R>
[[gnu::cold]] Failure RowTransactionCore<R>::changes_refused(
    SqlError const& error, std::span<RowChange const> changes, TimePoint until)
{
    if (by_former_facts(error) && store_->has_changed(*known_, Deadline{until}))
        return for_another_run(failure_of(error, Access::write), "; the table has changed");
    auto const* const log = store_->options.events.get();
    auto failure = error.state == "42P01" && log != nullptr
                       ? log->append_failed(error, Access::write)
                       : store_->refused(*known_, error, changes, Access::write, Deadline{until});
    if (error.state == "23505" && !error.raised && known_->policies.decide_rows)
        return failed(
                   failure.errc(),
                   {failure.detail(), "; the row in the way may be one that row-level policies hide"})
            .with_store_code(error.state);
    bool const outdated = store_->outdated(known_, error);
    if (outdated && is_of_old_plan(error))
        return for_another_run(
            failure, error.within ? "; a function has an old plan" : "; the table has changed");
    if (error.policy != RowPolicy::would_hide || known_->policies.apply || !outdated)
        return failure;
    // A trigger, say, has met a policy.
    return for_another_run(failure, "; from now on policies apply to the transactions");
}

template <class R>
Failure RowTransactionCore<R>::for_another_run(Failure const& failure, std::string_view why)
{
    healed_ = true;
    return failed(Errc::serialization_failure, {failure.detail(), why}).with_store_code(failure.store_code());
}

template <class R>
std::optional<Failure> RowTransactionCore<R>::answered_meanwhile(SqlError const& error, std::size_t records)
{
    if (error.step >= records || error.state != "23505" || error.raised)
        return std::nullopt;
    return failed(Errc::serialization_failure, "postgres: the same request has been answered meanwhile")
        .with_store_code(error.state);
}

template <class R>
[[gnu::cold]] Failure RowTransactionCore<R>::not_sent(Failure failure, TimePoint until)
{
    if (!by_former_facts(failure.errc()))
        return failure;
    end();  // the question needs a connection, and this one may be the last
    if (!store_->has_changed(*known_, Deadline{until}))
        return failure;
    return for_another_run(failure, "; the table has changed");
}

template <class R>
[[gnu::cold]] Outcome<CommitResult> RowTransactionCore<R>::statement_failed(
    SqlError const& error, std::span<RowChange const> changes, OperationCommit const* operation,
    TimePoint until)
{
    if (is_race(error)) {
        CommitRefusal refusal{changes.size()};
        for (auto const& change : changes) {
            bool const writes = change.kind == ChangeKind::write || change.kind == ChangeKind::erase;
            auto const why =
                writes ? store_->why_refused(change, Deadline{until}) : Outcome<std::optional<Errc>>{{}};
            if (!why && (why.errc() == Errc::misconfigured || why.errc() == Errc::invalid_argument))
                return why.failure();
            if (why && *why)
                refusal.add(change.key->bytes(), **why);
        }
        return store_->or_duplicate(
            refusal ? std::move(refusal).failure() : Failure{Errc::version_conflict}, operation,
            Deadline{until});
    }
    return error_refused(error, changes, operation, until);
}

template <class R>
[[gnu::cold]] Outcome<CommitResult> RowTransactionCore<R>::events_refused(
    SqlError const& error, OperationCommit const* operation, TimePoint until)
{
    return store_->or_duplicate(
        store_->options.events.get()->append_failed(error, Access::write), operation, Deadline{until});
}

template <class R>
[[gnu::cold]] Outcome<CommitResult> RowTransactionCore<R>::error_refused(
    SqlError const& error, std::span<RowChange const> changes, OperationCommit const* operation,
    TimePoint until)
{
    // A key that somebody else has taken between the look at the row and the insert.
    CommitRefusal refusal{changes.size()};
    if (error.state == "23505" && !error.raised)
        for (auto const& change : changes) {
            if (action_of(change) != RowAction::insert)
                continue;
            auto const why = store_->why_refused(change, Deadline{until});
            if (why && *why == Errc::already_exists)
                refusal.add(change.key->bytes(), Errc::already_exists);
        }
    if (refusal)
        return store_->or_duplicate(std::move(refusal).failure(), operation, Deadline{until});
    return changes_refused(error, changes, until);
}

template <class R>
std::optional<Failure> RowTransactionCore<R>::refusal_of(
    Steps const& steps, std::vector<Reply> const& replies, std::span<RowChange const> changes,
    TimePoint until)
{
    std::vector<Errc> codes(changes.size(), Errc::ok);
    std::vector<std::size_t> unclear;
    bool any = false;
    for (auto const& asked : steps.asked) {
        auto const i = asked.change;
        if (asked.careful) {
            auto const judged = store_->judge_carefully(*known_, replies, asked.at, changes[i]);
            if (judged)
                continue;
            if (judged.errc() == Errc::constraint_violated || judged.errc() == Errc::misconfigured ||
                judged.errc() == Errc::invalid_argument) {
                end();
                return judged.failure();
            }
            codes[i] = judged.errc();
            any = true;
            continue;
        }
        auto const code = store_->judge(replies[asked.at.change], changes[i]);
        codes[i] = code.value_or(Errc::version_conflict);
        if (!code || store_->must_look(*known_, changes[i], codes[i]))
            unclear.push_back(i);
        any = any || codes[i] != Errc::ok;
    }
    if (!any)
        return std::nullopt;
    end();
    for (auto const i : unclear) {
        auto const why = store_->why_refused(changes[i], Deadline{until});
        if (why && *why)
            codes[i] = **why;
        if (!why && (why.errc() == Errc::misconfigured || why.errc() == Errc::invalid_argument ||
                     why.errc() == Errc::constraint_violated))
            return why.failure();
    }
    CommitRefusal refusal{changes.size()};
    for (std::size_t i = 0; i < changes.size(); ++i)
        refusal.add(changes[i].key->bytes(), codes[i]);
    return std::move(refusal).failure();
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_ROW_REFUSALS_IPP
