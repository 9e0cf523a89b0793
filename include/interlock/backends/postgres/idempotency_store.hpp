// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_IDEMPOTENCY_STORE_HPP
#define INTERLOCK_BACKENDS_POSTGRES_IDEMPOTENCY_STORE_HPP

/// @file
/// Idempotency records in a PostgreSQL server: claimed before the operation runs, or written by its own
/// transaction.
///
///     postgres::IdempotencyStore const keys{pool};
///     TransactionService service{IdempotencyKeys{OptimisticVersioning{}, keys}, accounts};
///     IdempotentRequest const request{header, Scope{"ann"}, fingerprint(body)};
///     service.do_in_transaction(request, "alice", [](Account& a) { return a.balance -= 10; });

#include <interlock/backends/postgres/detail/batch.hpp>
#include <interlock/backends/postgres/detail/names.hpp>
#include <interlock/backends/postgres/detail/pool_state.hpp>
#include <interlock/backends/postgres/detail/record_statements.hpp>
#include <interlock/backends/postgres/pool.hpp>
#include <interlock/backends/postgres/transaction.hpp>
#include <interlock/core/contracts/idempotency_store.hpp>
#include <interlock/core/idempotent_request.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace postgres {

/// How idempotency records are kept in a PostgreSQL server.
struct IdempotencyStoreOptions {
    /// How long an answer is kept, by the server's clock. It must be longer than anybody retries. A claim
    /// without an answer is kept as long as well, counted from the claim, and at least as long as its lease.
    std::chrono::nanoseconds retention{std::chrono::hours{24}};
};

/// An `IdempotencyStore` in a PostgreSQL server. The claim is committed before the operation runs, so that
/// everybody sees at once that the request is being executed.
///
/// **Guarantee.** The server decides each claim in one statement, by its own clock: of several callers with
/// one request at most one gets it. A call whose reply was lost may be made again with the same owner:
/// `claim` and `complete` recognise what that owner did.
/// **Does not guarantee.** Anything after the server has lost commits: in a failover to an asynchronous
/// replica, or in a crash with `synchronous_commit = off`.
/// **Outcomes.** If nothing was sent: `unavailable`, `deadline_exceeded` or `overloaded`. If the request was
/// sent and the reply was lost: `outcome_unknown`. A record that cannot be read is `corrupt_state`.
/// **Lifetimes.** A shared handle; it keeps its pool alive.
/// **Thread safety.** Every member may be called from several threads at once.
/// **Cost.** One round trip per member. Waiters listen for wake-ups on the pool's connection for them.
///
/// `IdempotencyStore` is the one of the system's runtime.
template <class Runtime>
class BasicIdempotencyStore : public IdempotencyMembers<BasicIdempotencyStore<Runtime>> {
public:
    using runtime_type = Runtime;

    /// Throws `Error` (`invalid_argument`) for options out of range. Does not connect.
    explicit BasicIdempotencyStore(BasicPool<Runtime> pool, IdempotencyStoreOptions options = {});

    /// Two statements in one trip: the claim, and, should somebody have the request, what became of it.
    /// Waits for a claim, a completion or a giving back of the same request that is being committed.
    Outcome<Claim> carry_out(verb::Claim const& asked, Deadline deadline) const;
    /// `fenced_out`: the claim is not the caller's any more, or has another answer.
    Outcome<void> carry_out(verb::Complete const& asked, Deadline deadline) const;
    /// `fenced_out`: the claim is not the caller's any more, or has an answer.
    Outcome<void> carry_out(verb::GiveBack const& asked, Deadline deadline) const;

    /// How long an answer is kept.
    std::chrono::nanoseconds retention() const noexcept { return shared_->options.retention; }

    /// Where records are kept, for texts: `postgres table "interlock_idempotency"`.
    std::string place() const
    {
        return detail::place_of_table(shared_->pool->options().name_space + "_idempotency");
    }

    /// `waiter` is woken when the request is completed or given back, after some claim of it was in vain; not
    /// when its lease ends. So: subscribe, then claim again, then wait.
    void subscribe(IdempotentRequest const& request, Waiter& waiter) const;
    void unsubscribe(IdempotentRequest const& request, Waiter& waiter) const noexcept;

private:
    // What all copies of the handle share.
    struct Shared {
        Shared(std::shared_ptr<detail::PoolState<Runtime>> p, IdempotencyStoreOptions o);
        std::shared_ptr<detail::PoolState<Runtime>> pool;
        IdempotencyStoreOptions options;
        detail::ClaimStatements statements;
    };

    // Runs a statement that tells in its first column whether the claim is the caller's.
    Outcome<void> owned(detail::Statement const& statement, detail::Params params, Deadline deadline) const;

    std::shared_ptr<Shared> shared_;
};

/// Idempotency records that are written by the transaction that makes the effect: for
/// `IdempotencyInTransaction` around `PessimisticRowLock`.
///
/// **Guarantee.** Claim, effect and answer are committed together, or none of them: there is no time at which
/// one of them is there without the others, and nothing to take over after a crash. Of concurrent duplicates
/// one executes; the others wait for the end of its transaction.
/// **Does not guarantee.** Exclusion against a leased `IdempotencyStore` of the same name space. If both get
/// one request, one of the two is not applied: `constraint_violated`. Use one kind for one set of requests.
/// **Outcomes.** As `RowTransaction`.
/// **Lifetimes.** A shared handle; it keeps its pool alive. A transaction that is passed is used during the
/// call only.
/// **Thread safety.** Every member may be called from several threads at once, each with a transaction of its
/// own.
/// **Cost.** Nothing under `IdempotencyInTransaction`: the claim goes with BEGIN and the locking reads, the
/// answer with the commit. While requests run, they
/// are told apart by a 64-bit hash: two different ones may wait for each other without need.
///
/// `TransactionalIdempotencyStore` is the one of the system's runtime.
template <class Runtime>
class BasicTransactionalIdempotencyStore {
public:
    /// Throws `Error` (`invalid_argument`) for options out of range. Does not connect.
    explicit BasicTransactionalIdempotencyStore(
        BasicPool<Runtime> pool, IdempotencyStoreOptions options = {});

    /// Outside of any transaction: the record; or else `in_progress` while a transaction that executes the
    /// request has not ended, a lost one too; or else `claimed`: there is neither, and none will come but
    /// from new calls. One round trip.
    Outcome<Claim> find(IdempotentRequest const& request, Deadline deadline = {}) const;

    /// Inside of `tx`: waits until no other transaction executes the request, then `claimed`, `completed` or
    /// `mismatch`. One round trip. Ends by the transaction's deadline: `deadline_exceeded`.
    Outcome<Claim> claim(BasicTransaction<Runtime>& tx, IdempotentRequest const& request) const;

    /// What claims a request in the trip that opens a transaction (`LoadForUpdate::before`), before its rows
    /// are waited for. Somebody executes the request: `wait` for them, or `idempotency_in_progress`.
    using before_locks_type = detail::ClaimFirst;
    before_locks_type before_locks(IdempotentRequest const& request, Wait wait) const;
    /// What came of it in `tx`, which it was given to. No round trip; one if it is not done yet.
    Outcome<Claim> claim(
        BasicTransaction<Runtime>& tx, IdempotentRequest const& request, before_locks_type& first) const;

    /// With the commit of `tx`. Sends nothing by itself.
    void complete(
        BasicTransaction<Runtime>& tx, IdempotentRequest const& request, std::string_view answer) const;

    /// Without an effect: the operation threw `FinalRejection`. In one transaction, which waits for whoever
    /// executes the request, and gives back what is stored in the end.
    Outcome<Claim> reject(
        IdempotentRequest const& request, std::string_view text, Deadline deadline = {}) const;

    /// Where records are kept, for texts: `postgres table "interlock_idempotency"`.
    std::string place() const
    {
        return detail::place_of_table(shared_->pool->options().name_space + "_idempotency");
    }

private:
    // What all copies of the handle share.
    struct Shared {
        Shared(std::shared_ptr<detail::PoolState<Runtime>> p, IdempotencyStoreOptions o);
        std::shared_ptr<detail::PoolState<Runtime>> pool;
        IdempotencyStoreOptions options;
        detail::RecordStatements statements;
    };

    // The number of the advisory lock that whoever executes the request has.
    std::int64_t hash(IdempotentRequest const& request) const;
    detail::Params record(IdempotentRequest const& request, std::string_view answer, bool rejected) const;

    std::shared_ptr<Shared> shared_;
};

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/impl/idempotency_store.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_IDEMPOTENCY_STORE_HPP
