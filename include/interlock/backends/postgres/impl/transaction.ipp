// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_IMPL_TRANSACTION_IPP
#define INTERLOCK_BACKENDS_POSTGRES_IMPL_TRANSACTION_IPP

#include <interlock/backends/postgres/detail/connection.hpp>
#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/statement_text.hpp>
#include <interlock/backends/postgres/detail/transaction_settings.hpp>
#include <interlock/backends/postgres/transaction.hpp>
#include <interlock/core/backoff.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/runtime/immortal.hpp>
#include <interlock/core/runtime/stream.hpp>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace postgres {

namespace detail {

/// Asks the server what became of the transaction with the id `xid`. Two columns: the state, and whether
/// commits wait for a synchronous standby.
INTERLOCK_DECL Batch status_of(std::string const& xid)
{
    static auto const& status = interlock::detail::immortal<Statement>(
        "SELECT pg_xact_status($1::text::xid8), current_setting('synchronous_standby_names') <> ''");
    Batch batch;
    Params params;
    params.text(xid);
    batch.add(status, std::move(params));
    return batch;
}

/// Whether a synchronous standby has what was committed before: it has, once it confirms a commit that comes
/// after. `until` is a time of sockets.
INTERLOCK_DECL bool confirmed(Connection& connection, TimePoint until)
{
    Batch later;
    // The least that a commit waits for.
    later.add("SELECT pg_logical_emit_message(true, 'interlock', '')");
    auto const exchange = connection.run(later, until, Bounded::by_session, Access::commit);
    return exchange.progress == Progress::answered && !exchange.error && !exchange.unconfirmed;
}

/// How long a rollback may take, within the transaction's deadline.
inline constexpr std::chrono::seconds rollback_time{1};

/// How long to wait between two questions about a lost COMMIT.
inline constexpr Backoff pause_between_questions{
    .initial = std::chrono::milliseconds{2}, .cap = std::chrono::milliseconds{100}, .immediate = 0};

/// After these failures the server has refused the transaction, so the whole operation is to run again.
INTERLOCK_DECL bool must_run_again(Errc code) noexcept
{
    return code == Errc::serialization_failure || code == Errc::deadlock;
}

}  // namespace detail

template <class R>
BasicTransaction<R>::BasicTransaction(
    std::shared_ptr<PoolState> pool, typename PoolState::Session session, TimePoint until)
    : pool_(std::move(pool)), session_(std::move(session)), until_(until)
{}

template <class R>
BasicTransaction<R>& BasicTransaction<R>::operator=(BasicTransaction&& other) noexcept
{
    if (this != &other) {
        end();
        session_ = std::move(other.session_);
        pool_ = std::move(other.pool_);
        until_ = other.until_;
        before_commit_ = std::move(other.before_commit_);
        xid_ = std::move(other.xid_);
        life_ = std::move(other.life_);
        failure_ = std::move(other.failure_);
        used_ = other.used_;
    }
    return *this;
}

template <class R>
void BasicTransaction<R>::end() noexcept
{
    if (!session_)
        return;
    try {
        if (session_->is_open() && !session_->idle() && !pool_->forked()) {
            detail::Batch batch;
            batch.add("ROLLBACK");
            auto const soon = interlock::detail::add(pool_->runtime().now(), detail::rollback_time);
            auto const by = std::min(soon, until_);
            static_cast<void>(session_->run(batch, socket_time(by), detail::Bounded::by_caller));
        }
        if (!pool_->forked())
            session_->restore();
    } catch (...) {
        session_->close();
    }
    session_.release();
}

template <class R>
Outcome<detail::Exchange> BasicTransaction<R>::step(
    detail::Batch const& batch, TimePoint until, detail::Bounded bounded)
{
    auto exchange = session_->run(batch, socket_time(until), bounded);
    if (exchange.progress == detail::Progress::answered)
        return exchange;
    return failure_of(exchange, detail::Access::write);
}

template <class R>
Outcome<detail::Exchange> BasicTransaction<R>::commit(detail::Batch const& batch, TimePoint until)
{
    auto exchange =
        session_->run(batch, socket_time(until), detail::Bounded::by_caller, detail::Access::commit);
    if (exchange.progress == detail::Progress::answered && !exchange.error) {
        if (exchange.replies.back().tag() != "COMMIT")
            return detail::failed(
                Errc::misconfigured, "postgres: the transaction had failed before its COMMIT");
        if (!exchange.unconfirmed)
            return exchange;
    } else if (exchange.progress == detail::Progress::answered) {
        return exchange;  // the session lives, so nothing was committed
    }
    auto failure = failure_of(exchange, detail::Access::commit);
    if (failure.errc() != Errc::outcome_unknown)
        return failure;
    return resolve(std::move(failure), until);
}

template <class R>
TimePoint BasicTransaction<R>::socket_time(TimePoint time) const
{
    return interlock::detail::socket_deadline(pool_->runtime(), time);
}

template <class R>
Outcome<Result> BasicTransaction<R>::run(
    std::string_view sql, Outcome<detail::Params> params, detail::Savepoint savepoint)
{
    if (failure_)
        return *failure_;
    if (!params)
        return std::move(params).failure();
    auto const word = detail::first_word(sql);
    if (auto refused = detail::refusal_of(sql, word))
        return *std::move(refused);
    if (pool_->runtime().now() >= until_)
        return fail(detail::failed(Errc::deadline_exceeded, "postgres: the transaction's deadline has come"));
    auto const leaves = detail::leaves_in_session(sql, word);
    if (leaves == detail::Leaves::unknown)
        session_->mark_unusable();
    if (leaves == detail::Leaves::undoable)
        session_->mark_changed();
    detail::Batch batch;
    // The operation's own statements are the user's business, so policies apply to them as anywhere else.
    if (!std::exchange(used_, true))
        batch.add_settings(detail::policies_apply());
    if (savepoint == detail::Savepoint::yes)
        batch.add("SAVEPOINT interlock");
    batch.add(std::string(sql), *std::move(params));
    if (savepoint == detail::Savepoint::yes)
        batch.add("RELEASE SAVEPOINT interlock");
    auto exchange = step(batch, until_);
    if (!exchange)
        return fail(std::move(exchange).failure());
    if (!exchange->error)
        return Result{std::move(exchange->replies[savepoint == detail::Savepoint::yes ? 1 : 0])};
    auto failure = failure_of(*exchange->error, detail::Access::write);
    if (savepoint == detail::Savepoint::no || detail::must_run_again(failure.errc()))
        return fail(std::move(failure));
    detail::Batch undo;
    undo.add("ROLLBACK TO SAVEPOINT interlock");
    undo.add("RELEASE SAVEPOINT interlock");
    auto undone = step(undo, until_);
    if (!undone || undone->error)
        return fail(std::move(failure));
    return failure;
}

template <class R>
Failure BasicTransaction<R>::fail(Failure failure)
{
    failure_ = failure;
    return failure;
}

template <class R>
std::optional<Outcome<detail::Exchange>> BasicTransaction<R>::ask_what_became(
    Failure const& unknown, TimePoint until)
{
    using Answer = Outcome<detail::Exchange>;
    auto session = pool_->take(until);
    if (!session)
        return std::nullopt;
    if ((*session)->life() != life_)  // the id may be another transaction's by now
        return Answer{unknown};
    auto const exchange =
        (*session)->run(detail::status_of(xid_), socket_time(until), detail::Bounded::by_session);
    if (exchange.progress != detail::Progress::answered)
        return std::nullopt;
    if (exchange.error || exchange.replies[0].null(0, 0))
        return Answer{unknown};
    auto const what = exchange.replies[0].text(0, 0);
    if (what == "committed" && exchange.replies[0].boolean(0, 1) &&
        !detail::confirmed(**session, socket_time(until)))
        return Answer{unknown};
    if (what == "committed")
        return Answer{detail::Exchange{detail::Progress::lost, {}, std::nullopt}};
    if (what == "aborted")
        return Answer{detail::failed(
            Errc::unavailable, "postgres: the connection was lost; the transaction was rolled back")};
    return std::nullopt;
}

template <class R>
Outcome<detail::Exchange> BasicTransaction<R>::resolve(Failure unknown, TimePoint until)
{
    session_.release();  // it is closed, and another connection may need its place
    // Without a name of the server's life, the id may be another transaction's by now.
    if (xid_.empty() || life_.empty())
        return unknown;
    for (int attempt = 1;; ++attempt) {
        // The connection of a question goes back before the sleep.
        if (auto answer = ask_what_became(unknown, until))
            return *std::move(answer);
        auto const& runtime = pool_->runtime();
        auto const pause = detail::pause_between_questions.delay(attempt, runtime.random_bits());
        auto const at = interlock::detail::add(runtime.now(), pause);
        if (at >= until)
            return unknown;
        runtime.sleep_until(at);
    }
}

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_IMPL_TRANSACTION_IPP
