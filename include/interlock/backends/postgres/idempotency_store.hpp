// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_IDEMPOTENCY_STORE_HPP
#define INTERLOCK_BACKENDS_POSTGRES_IDEMPOTENCY_STORE_HPP

/// @file
/// Idempotency records in a PostgreSQL server: claimed before the operation runs, or written by its own
/// transaction.

#include <interlock/backends/postgres/detail/batch.hpp>
#include <interlock/backends/postgres/detail/pool_state.hpp>
#include <interlock/backends/postgres/detail/record_statements.hpp>
#include <interlock/backends/postgres/pool.hpp>
#include <interlock/backends/postgres/transaction.hpp>
#include <interlock/core/contracts/idempotency_store.hpp>
#include <interlock/core/idempotent_request.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace postgres {

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
    explicit BasicTransactionalIdempotencyStore(
        BasicPool<Runtime> pool, IdempotencyStoreOptions options = {});

    /// Outside of any transaction: the record; or else `in_progress` while a transaction that executes the
    /// request has not ended, a lost one too; or else `claimed`: there is neither, and none will come but
    /// from new calls. One round trip.
    Outcome<Claim> find(IdempotentRequest const& request, Deadline deadline = {}) const;

    /// Inside of `tx`: waits until no other transaction executes the request, then `claimed`, `completed` or
    /// `mismatch`. One round trip. Ends by the transaction's deadline: `deadline_exceeded`.
    Outcome<Claim> claim(BasicTransaction<Runtime>& tx, IdempotentRequest const& request) const;

    /// With the commit of `tx`. Sends nothing by itself.
    void complete(
        BasicTransaction<Runtime>& tx, IdempotentRequest const& request, std::string_view answer) const;

    /// Without an effect: the operation threw `FinalRejection`. In one transaction, which waits for whoever
    /// executes the request, and gives back what is stored in the end.
    Outcome<Claim> reject(
        IdempotentRequest const& request, std::string_view text, Deadline deadline = {}) const;

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
