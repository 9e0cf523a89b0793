// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_IDEMPOTENCY_STORE_HPP
#define INTERLOCK_BACKENDS_POSTGRES_IDEMPOTENCY_STORE_HPP

/// @file
/// Idempotency records in a PostgreSQL server: claimed before the operation runs, or written by its own
/// transaction.

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/pool.hpp>
#include <interlock/backends/postgres/transaction.hpp>
#include <interlock/core/contracts/idempotency_store.hpp>
#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/runtime/runtime.hpp>

#include <charconv>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace postgres {

namespace detail {

/// Version and value; empty: none.
inline std::string text_of(Fingerprint print)
{
    return print.version() == 0 ? std::string{}
                                : std::to_string(print.version()) + ":" + std::to_string(print.value());
}
inline Fingerprint fingerprint_of(std::string_view text) noexcept
{
    unsigned version = 0;
    std::uint64_t value = 0;
    auto const colon = text.find(':');
    if (colon == std::string_view::npos)
        return {};
    std::from_chars(text.data(), text.data() + colon, version);
    std::from_chars(text.data() + colon + 1, text.data() + text.size(), value);
    return {value, static_cast<std::uint8_t>(version)};
}

/// The statements of the `IdempotencyStore` of one name space.
struct ClaimStatements {
    explicit ClaimStatements(std::string const& ns)
    {
        auto const table = ns + "_idempotency";
        auto const wake = "SELECT pg_notify('" + ns + "_wake', ";
        // Times are read anew under the lock of the record: what stands in VALUES was read before the wait.
        // The fingerprint is looked at first, whatever the state; "" is none, and one of another version is
        // not compared.
        std::string const same =
            "(r.fingerprint = '' OR excluded.fingerprint = '' OR r.fingerprint = excluded.fingerprint OR "
            "split_part(r.fingerprint, ':', 1) <> split_part(excluded.fingerprint, ':', 1))";
        std::string const over = "r.kept_until <= clock_timestamp()";
        auto const unless_over = [&](std::string const& column) {
            return column + " = CASE WHEN " + over + " THEN excluded." + column + " ELSE r." + column +
                   " END, ";
        };
        // What is named stays until its owner names something else, or the record is over.
        auto const named = [&](std::string const& column) {
            // A request that arrives late does not bring back an attempt that its owner has gone beyond.
            return column + " = CASE WHEN " + over +
                   " OR (r.owner = excluded.owner AND $9::boolean AND (r.inherited OR "
                   "r.home IS DISTINCT FROM excluded.home OR r.attempt <= excluded.attempt)) THEN excluded." +
                   column + " ELSE r." + column + " END, ";
        };
        claim = Statement{
            "INSERT INTO " + table +
            " AS r (name, owner, fingerprint, lease_end, completed, rejected, answer, kept_until, "
            "inherited, home, attempt) VALUES ($1::bytea, $2::bytea, $3::text, clock_timestamp() + "
            "$4::bigint * interval "
            "'1 microsecond', false, false, '', clock_timestamp() + greatest($4::bigint, $5::bigint) * "
            "interval '1 microsecond', "
            "false, $7::bytea, $8::bigint) "
            "ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, " +
            unless_over("fingerprint") + named("home") + named("attempt") + "inherited = " + "NOT " + over +
            " AND CASE WHEN r.owner = excluded.owner THEN r.inherited AND NOT "
            "$9::boolean ELSE true END, "
            "rejected = false, completed = false, answer = '', wanted = false, "
            "lease_end = clock_timestamp() + $4::bigint * interval '1 microsecond', "
            "kept_until = clock_timestamp() + greatest($4::bigint, $5::bigint) * interval '1 microsecond' "
            "WHERE " +
            over + " OR (" + same +
            " AND NOT r.completed AND (r.owner IS NULL OR "
            "r.owner = excluded.owner OR ($6::boolean AND r.lease_end <= clock_timestamp()))) "
            "RETURNING r.inherited, r.home, r.attempt"};
        // Messages are sent only where somebody waits: a commit that sends one keeps all others that do from
        // committing beside it. Who asks in vain leaves a mark; asking again after having subscribed cannot
        // miss the answer.
        find = Statement{
            "WITH b AS (UPDATE " + table +
            " SET wanted = true WHERE name = $1::bytea AND owner <> $2::bytea AND NOT completed "
            "AND NOT wanted RETURNING 1) SELECT fingerprint, completed, rejected, answer, "
            "(extract(epoch FROM lease_end - clock_timestamp()) * 1000000)::bigint, (SELECT count(*) FROM b) "
            "FROM " +
            table + " WHERE name = $1::bytea AND kept_until > clock_timestamp()"};
        complete = Statement{
            "WITH u AS (UPDATE " + table +
            " SET completed = true, answer = $3::bytea, rejected = $4::boolean, "
            "kept_until = clock_timestamp() + $5::bigint * interval '1 microsecond' "
            "WHERE name = $1::bytea AND owner = $2::bytea AND (NOT completed OR (answer = $3::bytea AND "
            "rejected = $4::boolean)) "
            "RETURNING wanted), "
            "n AS MATERIALIZED (" +
            wake + "$6::text) FROM u WHERE wanted) SELECT EXISTS (SELECT FROM u), (SELECT count(*) FROM n)"};
        std::string const own = " WHERE name = $1::bytea AND owner = $2::bytea AND NOT completed AND ";
        give_back = Statement{
            "WITH d AS (DELETE FROM " + table + own +
            "(NOT inherited OR $4::boolean) RETURNING wanted), "
            "k AS (UPDATE " +
            table + " SET owner = NULL, lease_end = clock_timestamp()" + own +
            "inherited AND NOT $4::boolean "
            "RETURNING wanted), u AS (SELECT wanted FROM d UNION ALL SELECT wanted FROM k), "
            "n AS MATERIALIZED (" +
            wake + "$3::text) FROM u WHERE wanted) SELECT EXISTS (SELECT FROM u), (SELECT count(*) FROM n)"};
    }

    Statement claim;
    Statement find;
    Statement complete;
    Statement give_back;
};

/// The statements of the `TransactionalIdempotencyStore` of one name space.
struct RecordStatements {
    explicit RecordStatements(std::string const& ns)
    {
        auto const table = ns + "_idempotency";
        lock = Statement{"SELECT pg_advisory_xact_lock($1::bigint)"};
        look = Statement{"SELECT pg_try_advisory_xact_lock_shared($1::bigint)"};
        std::string const over =
            "(kept_until <= clock_timestamp() OR (NOT completed AND lease_end <= clock_timestamp()))";
        claim = Statement{
            "SELECT fingerprint, completed, rejected, answer, " + over + " FROM " + table +
            " WHERE name = $1::bytea"};
        forget = Statement{"DELETE FROM " + table + " WHERE name = $1::bytea AND " + over};
        auto const values = "INSERT INTO " + table +
                            " (name, owner, fingerprint, lease_end, completed, rejected, answer, kept_until) "
                            "VALUES ($1::bytea, "
                            "NULL, $2::text, clock_timestamp(), true, $4::boolean, $3::bytea, "
                            "clock_timestamp() + $5::bigint * "
                            "interval '1 microsecond')";
        insert = Statement{values};
        insert_if_none = Statement{values + " ON CONFLICT (name) DO NOTHING"};
    }

    Statement lock;
    Statement look;
    Statement claim;
    Statement forget;
    Statement insert;
    Statement insert_if_none;
};

}  // namespace detail

/// How idempotency records are kept in a PostgreSQL server.
struct IdempotencyStoreOptions {
    /// How long an answer is kept, by the server's clock. Longer than anybody retries. A claim without an
    /// answer is kept as long as well, counted from the claim, and at least as long as its lease.
    std::chrono::nanoseconds retention{std::chrono::hours{24}};
};

/// An `IdempotencyStore` in a PostgreSQL server: the claim is committed first, so that everybody sees at once
/// that the request is being executed.
///
/// **Guarantee.** One atomic arbitration per claim, by the server's clock. A call whose reply was lost may be
/// made again with the same owner: `claim` and `complete` recognise it. **Does not guarantee.** Anything
/// after the server lost commits: a failover to an asynchronous replica, or a crash with `synchronous_commit
/// = off`. **Outcomes.** Nothing sent: `unavailable`, `deadline_exceeded` or `overloaded`. Sent, but no
/// reply: `outcome_unknown`. **Lifetimes.** A shared handle; it keeps its pool alive. **Thread safety.**
/// Everything: safe. **Cost.** One round trip per member. Waiters listen on the pool's connection for
/// wake-ups.
///
/// `IdempotencyStore` is the one of the system's runtime.
template <class Runtime>
class BasicIdempotencyStore : public IdempotencyMembers<BasicIdempotencyStore<Runtime>> {
public:
    using runtime_type = Runtime;

    /// Throws `Error` (`invalid_argument`) for options out of range. Does not connect.
    explicit BasicIdempotencyStore(BasicPool<Runtime> pool, IdempotencyStoreOptions options = {})
        : shared_(std::make_shared<Shared>(pool.state_, detail::check_retention(options)))
    {}

    Outcome<Claim> carry_out(verb::Claim const& asked, Deadline deadline) const
    {
        auto const& [request, owner, lease, after_lease, attempt] = asked;
        if (auto valid = request.validate(); !valid)
            return std::move(valid).failure();
        if (!lease.valid())
            return Failure{Errc::invalid_argument, "the claim's lease must be from 50 ms to 24 h"};
        auto const print = request.fingerprint();
        auto const secret = owner.bytes();
        detail::Params params;
        params.bytes(request.name());
        params.bytes({secret.data(), secret.size()});
        params.text(detail::text_of(print));
        params.number(microseconds(lease.value()));
        params.number(microseconds(shared_->options.retention));
        params.boolean(after_lease == AfterLease::take_over);
        params.bytes(attempt.home != nullptr ? attempt.home->bytes() : std::string_view{});
        params.number(attempt.home != nullptr ? attempt.number : 0);
        params.boolean(attempt.replaces);
        detail::Batch batch;
        batch.add(shared_->statements.claim, std::move(params));
        detail::Params named;
        named.bytes(request.name());
        named.bytes({secret.data(), secret.size()});
        // As it is now: a statement of its own sees what the first waited for.
        batch.add(shared_->statements.find, std::move(named));
        auto replies = shared_->pool->execute(batch, detail::Access::commit, deadline);
        if (!replies)
            return std::move(replies).failure();
        if (auto const& granted = (*replies)[0]; granted.rows() == 1) {
            auto home = granted.bytes(0, 1);
            if (!home)
                return Failure{Errc::corrupt_state, "postgres: an idempotency record is damaged"};
            return Claim{granted.boolean(0, 0) ? ClaimState::taken_over : ClaimState::claimed,
                         {},
                         false,
                         {},
                         *std::move(home),
                         static_cast<std::uint32_t>(granted.number(0, 2).value_or(0))};
        }
        auto const& record = (*replies)[1];
        if (record.rows() == 0)  // given back and forgotten between the two
            return Claim{ClaimState::in_progress, {}, false, std::chrono::milliseconds{1}};
        if (mismatch(detail::fingerprint_of(record.text(0, 0)), print))
            return Claim{ClaimState::mismatch};
        if (record.boolean(0, 1)) {
            auto answer = record.bytes(0, 3);
            if (!answer)
                return Failure{Errc::corrupt_state, "postgres: an idempotency record is damaged"};
            return Claim{ClaimState::completed, *std::move(answer), record.boolean(0, 2)};
        }
        auto const left = record.number(0, 4).value_or(0);
        if (left > 0)
            return Claim{ClaimState::in_progress, {}, false, std::chrono::microseconds{left}};
        return Claim{
            after_lease == AfterLease::refuse ? ClaimState::abandoned : ClaimState::in_progress,
            {},
            false,
            std::chrono::milliseconds{1}};
    }

    Outcome<void> carry_out(verb::Complete const& asked, Deadline deadline) const
    {
        auto const& [request, owner, answer, rejected] = asked;
        auto const secret = owner.bytes();
        detail::Params params;
        params.bytes(request.name());
        params.bytes({secret.data(), secret.size()});
        params.bytes(answer);
        params.boolean(rejected);
        params.number(microseconds(shared_->options.retention));
        params.text(message(request));
        return owned(shared_->statements.complete, std::move(params), deadline);
    }

    Outcome<void> carry_out(verb::GiveBack const& asked, Deadline deadline) const
    {
        auto const& [request, owner, settled] = asked;
        auto const secret = owner.bytes();
        detail::Params params;
        params.bytes(request.name());
        params.bytes({secret.data(), secret.size()});
        params.text(message(request));
        params.boolean(settled);
        return owned(shared_->statements.give_back, std::move(params), deadline);
    }

    /// How long an answer is kept.
    std::chrono::nanoseconds retention() const noexcept { return shared_->options.retention; }

    void subscribe(IdempotentRequest const& request, Waiter& waiter) const
    {
        shared_->pool->subscriber().subscribe(hash(request), waiter);
    }
    void unsubscribe(IdempotentRequest const& request, Waiter& waiter) const noexcept
    {
        shared_->pool->subscriber().unsubscribe(hash(request), waiter);
    }

private:
    struct Shared {
        Shared(std::shared_ptr<detail::PoolState<Runtime>> p, IdempotencyStoreOptions o)
            : pool(std::move(p)), options(o), statements(pool->options().name_space)
        {}
        std::shared_ptr<detail::PoolState<Runtime>> pool;
        IdempotencyStoreOptions options;
        detail::ClaimStatements statements;
    };

    static std::int64_t microseconds(std::chrono::nanoseconds time) noexcept
    {
        return std::chrono::ceil<std::chrono::microseconds>(time).count();
    }

    static std::uint64_t hash(IdempotentRequest const& request)
    {
        return detail::stable_hash("idempotency", request.name());
    }
    static std::string message(IdempotentRequest const& request)
    {
        return "f" + detail::hex(hash(request), 16);
    }

    Outcome<void> owned(detail::Statement const& statement, detail::Params params, Deadline deadline) const
    {
        auto reply = shared_->pool->execute(statement, std::move(params), detail::Access::commit, deadline);
        if (!reply)
            return std::move(reply).failure();
        return reply->boolean(0, 0) ? success() : Outcome<void>{Errc::fenced_out};
    }

    std::shared_ptr<Shared> shared_;
};

/// Idempotency records that are written by the transaction that makes the effect: for
/// `IdempotencyInTransaction` around `PessimisticRowLock`.
///
/// **Guarantee.** Claim, effect and answer are committed together, or none of them: there is no time at which
/// one of them is there without the others, and nothing to take over after a crash. Of concurrent duplicates
/// one executes; the others wait for the end of its transaction. **Does not guarantee.** Exclusion against a
/// leased `IdempotencyStore` of the same name space: one of the two is then not applied,
/// `constraint_violated`. Use one kind for one set of requests. **Outcomes.** As `RowTransaction`.
/// **Lifetimes.** A shared handle. **Thread safety.** Everything: safe. **Cost.** One round trip in the
/// transaction; the answer leaves with the commit. Duplicates are told apart from each other by a 64-bit hash
/// while they run: two requests may wait for each other without need.
///
/// `TransactionalIdempotencyStore` is the one of the system's runtime.
template <class Runtime>
class BasicTransactionalIdempotencyStore {
public:
    /// Throws `Error` (`invalid_argument`) for options out of range. Does not connect.
    explicit BasicTransactionalIdempotencyStore(BasicPool<Runtime> pool, IdempotencyStoreOptions options = {})
        : shared_(std::make_shared<Shared>(PoolAccess::state(pool), detail::check_retention(options)))
    {}

    /// Outside of any transaction: the record; or else `in_progress` while a transaction that executes the
    /// request has not ended, a lost one too; or else `claimed`: there is neither, and none will come but
    /// from new calls. One round trip.
    Outcome<Claim> find(IdempotentRequest const& request, Deadline deadline = {}) const
    {
        detail::Batch batch;
        detail::Params number;
        number.number(hash(request));
        // First: who had it has committed before we can have it.
        batch.add(shared_->statements.look, std::move(number));
        batch.add(shared_->statements.claim, named(request));
        auto replies = shared_->pool->execute(batch, detail::Access::read, deadline);
        if (!replies)
            return std::move(replies).failure();
        auto claim = read((*replies)[1], request);
        if (claim && claim->state == ClaimState::claimed && !(*replies)[0].boolean(0, 0))
            claim->state = ClaimState::in_progress;
        return claim;
    }

    /// Inside of `tx`: waits until no other transaction executes the request, then `claimed`, `completed` or
    /// `mismatch`.
    Outcome<Claim> claim(BasicTransaction<Runtime>& tx, IdempotentRequest const& request) const
    {
        if (auto valid = request.validate(); !valid)
            return std::move(valid).failure();
        detail::Batch batch;
        detail::Params number;
        number.number(hash(request));
        batch.add(shared_->statements.lock, std::move(number));
        batch.add(shared_->statements.claim, named(request));
        auto exchange = tx.step(batch, tx.until_);
        if (!exchange)
            return std::move(exchange).failure();
        if (exchange->error) {
            auto failure = failure_of(*exchange->error, detail::Access::write);
            if (failure.errc() == Errc::lock_busy)
                return Failure{Errc::deadline_exceeded, "postgres: the same request is being executed"};
            return failure;
        }
        auto const& reply = exchange->replies[1];
        if (reply.rows() > 0 && reply.boolean(0, is_over))
            tx.before_commit_.add(shared_->statements.forget, named(request));
        return read(reply, request);
    }

    /// With the commit of `tx`.
    void complete(
        BasicTransaction<Runtime>& tx, IdempotentRequest const& request, std::string_view answer) const
    {
        tx.before_commit_.add(shared_->statements.insert, record(request, answer, false));
    }

    /// Without an effect: the operation threw `FinalRejection`. In one transaction, which waits for whoever
    /// executes the request, and gives back what is stored in the end.
    Outcome<Claim> reject(
        IdempotentRequest const& request, std::string_view text, Deadline deadline = {}) const
    {
        detail::Batch batch;
        detail::Params number;
        number.number(hash(request));
        batch.add(shared_->statements.lock, std::move(number));
        batch.add(shared_->statements.forget, named(request));
        batch.add(shared_->statements.insert_if_none, record(request, text, true));
        batch.add(shared_->statements.claim, named(request));
        auto replies = shared_->pool->execute(batch, detail::Access::commit, deadline);
        if (!replies)
            return std::move(replies).failure();
        return read((*replies)[3], request);
    }

private:
    struct Shared {
        Shared(std::shared_ptr<detail::PoolState<Runtime>> p, IdempotencyStoreOptions o)
            : pool(std::move(p)), options(o), statements(pool->options().name_space)
        {}
        std::shared_ptr<detail::PoolState<Runtime>> pool;
        IdempotencyStoreOptions options;
        detail::RecordStatements statements;
    };

    std::int64_t hash(IdempotentRequest const& request) const
    {
        return static_cast<std::int64_t>(
            detail::stable_hash(shared_->pool->options().name_space + " request", request.name()));
    }
    static detail::Params named(IdempotentRequest const& request)
    {
        detail::Params params;
        params.bytes(request.name());
        return params;
    }
    detail::Params record(IdempotentRequest const& request, std::string_view answer, bool rejected) const
    {
        auto params = named(request);
        params.text(detail::text_of(request.fingerprint()));
        params.bytes(answer);
        params.boolean(rejected);
        params.number(std::chrono::ceil<std::chrono::microseconds>(shared_->options.retention).count());
        return params;
    }

    /// Of the reply to `claim`: whether the record counts no longer.
    static constexpr std::size_t is_over = 4;

    static Outcome<Claim> read(detail::Reply const& reply, IdempotentRequest const& request)
    {
        if (reply.rows() == 0 || reply.boolean(0, is_over))
            return Claim{ClaimState::claimed};
        if (mismatch(detail::fingerprint_of(reply.text(0, 0)), request.fingerprint()))
            return Claim{ClaimState::mismatch};
        if (!reply.boolean(0, 1))
            return Claim{ClaimState::in_progress};
        auto answer = reply.bytes(0, 3);
        if (!answer)
            return Failure{Errc::corrupt_state, "postgres: an idempotency record is damaged"};
        return Claim{ClaimState::completed, *std::move(answer), reply.boolean(0, 2)};
    }

    std::shared_ptr<Shared> shared_;
};

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_IDEMPOTENCY_STORE_HPP
