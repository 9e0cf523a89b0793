// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_ROW_TRANSACTION_CORE_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_ROW_TRANSACTION_CORE_IPP

#include <interlock/backends/postgres/detail/connection.hpp>
#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/event_sink.hpp>
#include <interlock/backends/postgres/detail/row_transaction_core.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/kit/commit_refusal.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

template <class R>
RowTransactionCore<R>::RowTransactionCore(
    std::shared_ptr<TableCore<R>> store, typename TableCore<R>::Known known,
    typename PoolState<R>::Session session, TimePoint until)
    : Base(store->pool, std::move(session), until), store_(std::move(store)), known_(std::move(known))
{}

// ---- locking ------------------------------------------------------------------------------------

/// Where its statements stand in `batch`; nothing without a claim.
INTERLOCK_DECL std::optional<std::size_t> add_claim(ClaimFirst* claim, Batch& batch)
{
    if (claim == nullptr)
        return std::nullopt;
    auto const at = batch.size();
    claim->add_to(batch);
    return at;
}

template <class R>
std::vector<typename RowTransactionCore<R>::Locked> RowTransactionCore<R>::not_locked(
    TableCore<R> const& store, std::size_t rows)
{
    std::vector<Locked> out(rows);
    for (auto& row : out)
        row.hashed = store.options.row_lock == RowLock::advisory;
    return out;
}

template <class R>
Outcome<void> RowTransactionCore<R>::lock_rows(
    std::span<Key const* const> keys, Wait wait, verb::BeforeLocks* before)
{
    rows_ = not_locked(*store_, keys.size());
    for (;;) {
        auto const locked = lock_table(keys, wait, before, true);
        if (!locked)
            return locked.failure();
        if (*locked)
            return success();
    }
}

template <class R>
Outcome<bool> RowTransactionCore<R>::lock_table(
    std::span<Key const* const> keys, Wait wait, verb::BeforeLocks* before, bool begins)
{
    bool first = true;
    for (std::size_t from = 0;; first = begins = false) {
        Batch batch;
        if (begins && begun_)
            batch.add("ROLLBACK");
        if (begins)
            batch.add(begin_ != nullptr ? *begin_ : store_->begin);
        if (first)
            store_->add_settings(*known_, batch);
        auto* const claim = begins ? static_cast<ClaimFirst*>(before) : nullptr;
        auto const claims_at = add_claim(claim, batch);
        auto const at = batch.size();
        for (auto i = from; i < keys.size(); ++i) {
            if (rows_[i].hashed && !add_hash_lock(batch, *keys[i], wait))
                return store_->bad_key();
            if (looks_first(i))
                static_cast<void>(store_->add_load(*known_, batch, *keys[i]));
            if (!add_row_lock(batch, *keys[i], wait))
                return store_->bad_key();
        }
        auto exchange = send_locks(batch, wait, keys, claims_at);
        if (!exchange)
            return std::move(exchange).failure();
        if (claim != nullptr)
            claim->found = std::move(exchange->replies[*claims_at + 1]);
        auto const round = take_rows(*exchange, at, from, keys, wait);
        if (!round)
            return round.failure();
        if (round->unlocked == keys.size())
            return true;
        if (round->behind)
            return false;
        from = round->unlocked;
    }
}

template <class R>
Outcome<void> RowTransactionCore<R>::lock_free_row(
    std::string const& condition, Params params, verb::BeforeLocks* before)
{
    Statement const statement{rows_text(known_->table) + condition};
    Batch batch;
    batch.add(store_->begin);
    store_->add_settings(*known_, batch);
    auto* const claim = static_cast<ClaimFirst*>(before);
    auto const claims_at = add_claim(claim, batch);
    batch.add(statement, std::move(params));
    auto exchange = send_locks(batch, Wait::no, {}, claims_at);
    if (!exchange)
        return std::move(exchange).failure();
    auto& row = exchange->replies.back();
    if (claim != nullptr)
        claim->found = std::move(exchange->replies[*claims_at + 1]);
    if (row.rows() == 0)
        return failed(Errc::not_found, {"postgres: no row of ", store_->table.name, " is free"});
    learn_identity(row);
    rows_.resize(1);
    rows_[0].row = std::move(row);
    return success();
}

template <class R>
Outcome<Exchange> RowTransactionCore<R>::send_locks(
    Batch const& batch, Wait wait, std::span<Key const* const> keys, std::optional<std::size_t> claim)
{
    auto exchange = step(batch, until_, begun_ ? Bounded::by_caller : Bounded::by_transaction);
    if (exchange && exchange->error) {
        if (claim == exchange->error->step)
            if (auto busy = claim_refused(*exchange->error))
                return *std::move(busy);
        bool const outdated = store_->outdated(known_, *exchange->error);
        healed_ = pool_->heal(*session_, *exchange->error) || outdated;
        return refused(*exchange->error, wait, keys);
    }
    begun_ = begun_ || exchange;
    return exchange;
}

template <class R>
Outcome<typename RowTransactionCore<R>::Round> RowTransactionCore<R>::take_rows(
    Exchange& exchange, std::size_t at, std::size_t from, std::span<Key const* const> keys, Wait wait)
{
    Round round{.unlocked = keys.size()};
    for (auto i = from; i < keys.size(); ++i) {
        rows_[i].row = Reply{};
        bool const has_hash = rows_[i].hashed;
        if (has_hash) {
            auto const& lock = exchange.replies[at++];
            if (wait == Wait::no && !lock.boolean(0, 0))
                return Errc::lock_busy;
            learn_identity(lock);
        }
        bool const is_seen = looks_first(i) && exchange.replies[at++].rows() > 0;
        auto& row = exchange.replies[at++];
        if (row.rows() > 1)
            return store_->several_rows();
        bool const is_there = row.rows() > 0;
        if (is_there) {
            learn_identity(row);
            rows_[i].row = std::move(row);
        }
        bool const is_hidden = is_seen && !is_there;
        if (is_hidden && ++rows_[i].hidden > 1)
            return store_->row_not_locked();
        if (is_there || (has_hash && !is_hidden)) {
            round.behind = round.behind || round.unlocked < i;
        } else {
            round.unlocked = std::min(round.unlocked, i);
            rows_[i].hashed = true;
        }
    }
    return round;
}

template <class R>
bool RowTransactionCore<R>::looks_first(std::size_t i) const noexcept
{
    return rows_[i].hashed && known_->policies.decide_rows;
}

template <class R>
void RowTransactionCore<R>::learn_identity(Reply const& reply)
{
    xid_ = reply.text(0, reply.columns() - 1);
    if (reply.columns() > 1)
        place_ = reply.text(0, reply.columns() - 2);
    life_ = session_->life();
}

template <class R>
bool RowTransactionCore<R>::add_hash_lock(Batch& batch, Key const& key, Wait wait) const
{
    auto const& statements = known_->statements;
    Params number;
    if (!store_->add_lock_number(*known_, number, key))
        return false;
    batch.add(wait == Wait::no ? statements.lock_hash_now : statements.lock_hash, std::move(number));
    return true;
}

template <class R>
bool RowTransactionCore<R>::add_row_lock(Batch& batch, Key const& key, Wait wait) const
{
    auto const& statements = known_->statements;
    Params params;
    if (!store_->add_key(*known_, params, key))
        return false;
    batch.add(wait == Wait::no ? statements.lock_row_now : statements.lock_row, std::move(params));
    return true;
}

// ---- the end ------------------------------------------------------------------------------------

template <class R>
Outcome<CommitResult> RowTransactionCore<R>::commit_rows(
    std::span<RowChange> changes, OperationCommit const* operation, Deadline deadline, bool careful)
{
    if (async_ && !async_->idle())
        return not_awaited();
    if (own_key_)
        for (auto& change : changes)
            change.key = &*own_key_;
    auto result = do_commit(changes, operation, deadline, careful);
    end();
    if (result && !result->duplicate)
        store_->announce(changes);
    return result;
}

template <class R>
void RowTransactionCore<R>::roll_back() noexcept
{
    async_.reset();
    end();
}

template <class R>
BasicAsyncTransaction<R>& RowTransactionCore<R>::asynchronous()
{
    async_.reset(new BasicAsyncTransaction<R>(*this));
    return *async_;
}

template <class R>
std::optional<Failure> RowTransactionCore<R>::unfit_to_commit(TimePoint until) const
{
    if (failure_)
        return failure_;
    if (pool_->runtime().now() >= until)
        return failed(Errc::deadline_exceeded, "the deadline came before the commit was sent to postgres");
    if (!session_ || !session_->is_open())
        return failed(Errc::unavailable, "postgres: the connection is lost; nothing was committed");
    if (used_ && !session_->is_utf8())
        return failed(
            Errc::invalid_argument,
            "postgres: the operation has set client_encoding, and keys and states are sent as UTF-8; it must "
            "set it back");
    return std::nullopt;
}

template <class R>
Outcome<CommitResult> RowTransactionCore<R>::do_commit(
    std::span<RowChange> changes, OperationCommit const* operation, Deadline deadline, bool careful)
{
    auto const until = std::min(deadline.at(pool_->runtime().now()), until_);
    if (auto const unfit = unfit_to_commit(until))
        return *unfit;
    auto const prepared = store_->prepare_events(
        *known_, changes, [&](Batch const& batch) { return ask_before(batch, until); });
    if (!prepared)
        return prepared.failure();
    // With something else before it, a change that left no trace could not be made once more.
    bool const alone = before_commit_.size() == 0;
    if (begun_ && changes.size() == 1 && !used_ && changes[0].fence == nullptr &&
        (changes[0].kind != ChangeKind::guard || operation != nullptr) &&
        (alone || !store_->needs_care(*known_, changes[0])) && !store_->may_stay(*known_, changes[0]))
        return commit_one(changes[0], operation, until);
    return commit_all(changes, operation, until, careful);
}

template <class R>
Outcome<std::vector<Reply>> RowTransactionCore<R>::ask_before(Batch const& batch, TimePoint until)
{
    auto exchange = step(batch, until, begun_ ? Bounded::by_caller : Bounded::by_session);
    if (!exchange)
        return std::move(exchange).failure();
    if (exchange->error) {
        end_by(*exchange->error);
        return failure_of(*exchange->error, Access::read);
    }
    return std::move(exchange->replies);
}

template <class R>
Outcome<CommitResult> RowTransactionCore<R>::commit_one(
    RowChange& change, OperationCommit const* operation, TimePoint until)
{
    auto batch = std::move(before_commit_);
    auto const at = batch.size();
    bool const plain = at == 0 && operation == nullptr && change.version != no_version &&
                       !store_->needs_care(*known_, change);
    auto const* const log = change.events.empty() ? nullptr : store_->options.events.get();
    bool const within = log != nullptr && log->fit_the_change(change.stream, change.events);
    if (auto added = store_->add_change(
            *known_, batch, change, operation, plain ? Refusal::reply : Refusal::error,
            within ? WithEvents::within : WithEvents::behind);
        !added)
        return not_sent(std::move(added).failure(), until);
    auto const behind_events = batch.size();
    batch.add(store_->commit);
    auto done = Base::commit(batch, until);
    if (!done)
        return std::move(done).failure();
    if (done->error) {
        end_by(*done->error);
        auto const first = at + (store_->reads_again(*known_, change) ? 2 : 1);
        bool const of_events = done->error->step >= first && done->error->step < behind_events;
        if (auto answered = answered_meanwhile(*done->error, at))
            return *std::move(answered);
        if (of_events || (within && log->lost_race(*done->error, change.stream)))
            return events_refused(*done->error, operation, until);
        if (!is_race(*done->error))
            return error_refused(*done->error, {&change, 1}, operation, until);
        bool const of_their_table = store_->mapped && change.kind != ChangeKind::guard;
        if (at == 0 && of_their_table)
            return made_nothing(change, operation, until);
        // What has been done before in this transaction is gone: another run makes it by what is known then.
        if (of_their_table)
            if (auto const why = store_->why_refused(change, Deadline{until}); !why)
                return why.failure();
        return store_->or_duplicate(Failure{Errc::version_conflict}, operation, Deadline{until});
    }
    auto& replies = done->replies;
    if (replies.empty())  // its reply was lost, but it was committed
        return Outcome<CommitResult>{std::in_place};
    if (plain && store_->judge(replies[at], change) != Errc::ok) {
        end();
        return made_nothing(change, operation, until);
    }
    store_->set_stored(
        *known_, replies[at], store_->reads_again(*known_, change) ? &replies[at + 1] : nullptr, change);
    return Outcome<CommitResult>{std::in_place};
}

template <class R>
Outcome<CommitResult> RowTransactionCore<R>::made_nothing(
    RowChange& change, OperationCommit const* operation, TimePoint until)
{
    auto const code = store_->why_refused(change, Deadline{until});
    if (!code)
        return code.failure();
    if (*code)
        return store_->or_duplicate(Failure{Errc::version_conflict}, operation, Deadline{until});
    auto known = store_->know(Deadline{until});
    if (!known)
        return std::move(known).failure();
    auto session = pool_->take(until);
    if (!session)
        return std::move(session).failure();
    RowTransactionCore again{store_, *std::move(known), *std::move(session), until};
    auto result = again.commit_all({&change, 1}, operation, until, true);
    again.end();
    return result;
}

template <class R>
Outcome<CommitResult> RowTransactionCore<R>::commit_all(
    std::span<RowChange> changes, OperationCommit const* operation, TimePoint until, bool careful)
{
    Steps steps;
    if (auto added = add_steps(steps, changes, operation, careful); !added)
        return not_sent(std::move(added).failure(), until);
    std::vector<Reply> replies;
    if (steps.batch.size() > 0) {
        auto before = run_steps(steps, replies, changes, operation, until);
        if (!before)
            return std::move(before).failure();
        if (*before)
            return **std::move(before);
    }
    Batch last;
    last.add(store_->commit);
    auto done = Base::commit(last, until);
    if (!done)
        return std::move(done).failure();
    if (done->error) {
        end_by(*done->error);
        return error_refused(*done->error, changes, operation, until);
    }
    for (auto const& asked : steps.asked)
        store_->set_stored(
            *known_, replies[asked.at.change], asked.again ? &replies[*asked.again] : nullptr,
            changes[asked.change]);
    return Outcome<CommitResult>{std::in_place};
}

template <class R>
Outcome<void> RowTransactionCore<R>::add_steps(
    Steps& steps, std::span<RowChange const> changes, OperationCommit const* operation, bool careful)
{
    std::vector<std::size_t> order(changes.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(), [&](auto a, auto b) { return *changes[a].key < *changes[b].key; });
    auto& batch = steps.batch;
    batch = std::move(before_commit_);
    steps.records = batch.size();
    if (!begun_) {
        batch.add(begin_ != nullptr ? *begin_ : store_->begin);
        store_->add_settings(*known_, batch);
        batch.add(store_->transaction_id);
    }
    if (used_ && known_->facts.has_lists())  // else an empty element would be stored as the text NULL
        batch.add("SET LOCAL array_nulls = on");
    if (used_ && !place_.empty()) {
        steps.place = batch.size();
        batch.add(known_->statements.place);
    }
    steps.found = batch.size();
    if (operation != nullptr)
        if (auto added = store_->add_find(*known_, batch, *operation->home, *operation->id); !added)
            return added;
    for (auto const i : order)
        if (auto added = add_step(steps, changes[i], i, careful); !added)
            return added;
    steps.events = batch.size();
    if (!steps.events_later) {
        StreamLocks streams;
        store_->add_streams(streams, changes);
        streams.add_to(batch);
        for (auto const i : order)
            store_->add_events(batch, changes[i]);
    }
    steps.behind_events = batch.size();
    if (operation != nullptr) {  // last, so that its number is drawn while the rows are locked
        Params params;
        if (!store_->add_operation(*known_, params, *operation))
            return store_->bad_key();
        params.text(race_word());
        batch.add(known_->statements.change(RowAction::nothing, Fencing::none, true), std::move(params));
    }
    return success();
}

template <class R>
Outcome<void> RowTransactionCore<R>::add_step(
    Steps& steps, RowChange const& change, std::size_t i, bool careful)
{
    if (!store_->has_effect(change))
        return store_->check(change);
    bool const writes = change.kind == ChangeKind::write || change.kind == ChangeKind::erase;
    Asked asked{i, {}, writes && (careful || store_->needs_care(*known_, change))};
    if (asked.careful) {
        if (auto added = store_->add_careful_change(*known_, steps.batch, change, asked.at); !added)
            return added;
        if (change.kind == ChangeKind::write)
            asked.again = asked.at.after;
    } else {
        asked.at.change = steps.batch.size();
        if (auto added = store_->add_change(*known_, steps.batch, change, nullptr); !added)
            return added;
        if (store_->reads_again(*known_, change))
            asked.again = asked.at.change + 1;
    }
    steps.asked.push_back(asked);
    return success();
}

template <class R>
Outcome<std::optional<CommitResult>> RowTransactionCore<R>::run_steps(
    Steps const& steps, std::vector<Reply>& replies, std::span<RowChange const> changes,
    OperationCommit const* operation, TimePoint until)
{
    using Answer = std::optional<CommitResult>;
    auto const or_twin = [&](Failure failure) -> Outcome<Answer> {
        auto outcome = store_->or_duplicate(std::move(failure), operation, Deadline{until});
        if (!outcome)
            return std::move(outcome).failure();
        return Answer{*std::move(outcome)};
    };
    auto stepped = step(steps.batch, until, begun_ ? Bounded::by_caller : Bounded::by_transaction);
    if (!stepped)
        return std::move(stepped).failure();
    if (stepped->error) {
        bool const of_events =
            stepped->error->step >= steps.events && stepped->error->step < steps.behind_events;
        if (of_events)  // a change that was refused is the reason, whatever became of its events
            if (auto refusal = refusal_of(steps, stepped->replies, changes, until))
                return or_twin(*std::move(refusal));
        end_by(*stepped->error);
        if (auto answered = answered_meanwhile(*stepped->error, steps.records))
            return *std::move(answered);
        auto failed = of_events ? events_refused(*stepped->error, operation, until)
                                : statement_failed(*stepped->error, changes, operation, until);
        if (!failed)
            return std::move(failed).failure();
        return Answer{*std::move(failed)};
    }
    replies = std::move(stepped->replies);
    if (steps.place && replies[*steps.place].text(0, 0) != place_) {
        end();
        return failed(
            Errc::invalid_argument, {"postgres: the operation has made the name ", store_->table.name,
                                     " mean another table, perhaps by search_path"});
    }
    if (!begun_)
        learn_identity(replies[1]);
    if (operation != nullptr) {
        auto record = store_->record_of(replies[steps.found]);
        if (!record)
            return std::move(record).failure();
        if (*record && (*record)->answered)
            return Answer{CommitResult{true, std::move((*record)->answer)}};
        if (*record && (*record)->attempt >= operation->attempt)
            return Errc::superseded;
    }
    if (auto refusal = refusal_of(steps, replies, changes, until))
        return or_twin(*std::move(refusal));
    if (operation != nullptr && !replies.back().number(0, new_version)) {
        end();
        return or_twin(Failure{Errc::superseded});
    }
    return Answer{};
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_ROW_TRANSACTION_CORE_IPP
