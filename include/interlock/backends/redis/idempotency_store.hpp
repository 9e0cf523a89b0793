// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_IDEMPOTENCY_STORE_HPP
#define INTERLOCK_BACKENDS_REDIS_IDEMPOTENCY_STORE_HPP

/// @file
/// Idempotency records in a Redis server: what a request with an idempotency key was answered, so that a
/// request that comes again gets the same answer and has no second effect. `IdempotencyKeys` uses it:
///
///     interlock::redis::IdempotencyStore const answers{client, {.retention = std::chrono::hours{72}}};
///     interlock::TransactionService service{
///         interlock::IdempotencyKeys{interlock::SetNxLock{}, answers}, stock};
///     interlock::IdempotentRequest const request{request_key, interlock::Scope{"orders"}};
///     service.do_in_transaction(request, "sku-1", [](Stock& s) { return --s.quantity; });

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/fwd.hpp>
#include <interlock/core/contracts/idempotency_store.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/outcome.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

namespace interlock {
inline namespace v0 {
namespace redis {

/// How idempotency records are kept in a Redis server.
struct IdempotencyStoreOptions {
    /// Instead of the client's name space; empty: that one. Records and states have different names, so they
    /// may share one.
    std::string name_space{};
    /// Parts that records are spread over, as `RepositoryOptions::shards`.
    std::size_t shards{1};
    /// How long an answer is kept, by the server's clock, from 1 second to 100 years. Choose it longer than
    /// anybody retries. A claim without an answer is kept as long as well, counted from the claim.
    std::chrono::nanoseconds retention{std::chrono::hours{24}};
};

/// An `IdempotencyStore` in a Redis server. Every step is one Lua script.
///
/// **Guarantee.** One atomic arbitration per claim, by the server's clock. A call whose reply was lost may be
/// made again with the same owner: `claim` and `complete` recognise it.
/// **Does not guarantee.** Anything after the server lost its data: run it with `appendonly yes` where a
/// repeated execution would hurt.
/// **Outcomes.** Nothing sent: `unavailable`, `deadline_exceeded` or `overloaded`. Sent, but no reply:
/// `outcome_unknown`. A full server: `overloaded`. A record that none of us has written: `corrupt_state`.
/// **Lifetimes.** A shared handle; it keeps its client alive.
/// **Thread safety.** Everything: safe.
/// **Cost.** One round trip per member, and one `Client::server_check` before the first claim. Waiters listen
/// on the client's connection for wake-ups.
template <class Runtime>
class BasicIdempotencyStore : public IdempotencyMembers<BasicIdempotencyStore<Runtime>> {
public:
    using runtime_type = Runtime;

    /// Throws `Error` (`invalid_argument`) for options out of range. Does not connect.
    explicit BasicIdempotencyStore(BasicClient<Runtime> client, IdempotencyStoreOptions options = {});

    /// `misconfigured` when the server is unfit; see `Client::server_check`.
    Outcome<Claim> carry_out(verb::Claim const& asked, Deadline deadline) const;
    /// `fenced_out` when the claim is not the owner's any more. So with `GiveBack`, of a completed one, too.
    Outcome<void> carry_out(verb::Complete const& asked, Deadline deadline) const;
    Outcome<void> carry_out(verb::GiveBack const& asked, Deadline deadline) const;

    /// How long an answer is kept.
    std::chrono::nanoseconds retention() const noexcept;

    /// Where records are kept, for texts: `redis name space "shop"`.
    std::string place() const;

    /// Until `unsubscribe` has returned, `waiter` is woken when somebody completes `request` or gives it
    /// back, as far as this process hears of it. A hint: whoever waits also looks now and then.
    void subscribe(IdempotentRequest const& request, Waiter& waiter) const;
    void unsubscribe(IdempotentRequest const& request, Waiter& waiter) const noexcept;

private:
    struct Shared;

    // The client, and how records are called there. All copies of this handle have the same.
    std::shared_ptr<Shared> shared_;
};

}  // namespace redis
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/redis/impl/idempotency_store.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_REDIS_IDEMPOTENCY_STORE_HPP
