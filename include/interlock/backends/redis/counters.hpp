// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_COUNTERS_HPP
#define INTERLOCK_BACKENDS_REDIS_COUNTERS_HPP

/// @file
/// Counters in a Redis server: one round trip to change one, at most once per operation id.
///
///     interlock::redis::Counters const seats{client, {.name_space = "seats"}};
///     auto const sold = seats.atomic_once(
///         interlock::OperationId{order_id}, interlock::Key{"friday"}, interlock::decrement(1, 0));
///     if (sold && !sold->changed)
///         log("sold out");  // the bound was in the way: sold->value is what is left

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/fwd.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/counter.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/kit/counter_members.hpp>
#include <interlock/core/operation_id.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/runtime/runtime.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace interlock {
inline namespace v0 {
namespace redis {

/// How counters are kept in a Redis server.
struct CountersOptions {
    /// Instead of the client's name space; empty: that one. Counters and states have different names, so they
    /// may share one.
    std::string name_space{};
    /// Parts that counters are spread over, as `RepositoryOptions::shards`.
    std::size_t shards{1};
    /// How long an answer is kept, by the server's clock, from 1 second to 100 years. Choose it longer than
    /// anybody retries: afterwards the same operation id changes the counter once more.
    std::chrono::nanoseconds retention{std::chrono::hours{24}};
};

/// Whole numbers that the server adds to, where load, change and compare-and-set would cost more.
///
/// **Guarantee.** A change is applied at most once per (name space, counter, operation id) while the answer
/// is kept, and never beyond its bounds, decided in one script. Whoever comes with the same id gets the first
/// answer; with another change under the same id `idempotency_mismatch`.
/// **Does not guarantee.** Anything after the server lost its data: run it with `appendonly yes`.
/// **Outcomes.** As `StateRepository`, but a lost reply is asked for again until the deadline, since the id
/// makes that safe; `outcome_unknown` only when the deadline comes first. A counter that would pass 2^53 is
/// `invalid_argument`, and stays as it is. Before the first change the server is checked as for locks.
/// **Lifetimes.** A shared handle; it keeps its client alive.
/// **Thread safety.** Everything: safe.
/// **Cost.** One round trip per call, and one `Client::server_check` before the first change.
template <class Runtime>
class BasicCounters : public CounterMembers<BasicCounters<Runtime>> {
public:
    using runtime_type = Runtime;

    /// Throws `Error` (`invalid_argument`) for options out of range. Does not connect.
    explicit BasicCounters(BasicClient<Runtime> client, CountersOptions options = {});

    Runtime const& runtime() const noexcept;
    /// Equal for all counters of one client.
    void const* identity() const noexcept;
    Capabilities capabilities() const noexcept { return {}; }
    /// Where counters are, for texts: `redis name space "shop"`.
    std::string place() const;

    Outcome<CounterAnswer> carry_out(verb::ChangeCounter const& asked, Deadline deadline) const;
    Outcome<std::int64_t> carry_out(verb::LoadCounter const& asked, Deadline deadline) const;

private:
    struct Shared;

    // The client, the options, and how counters are called there. All copies of this handle have the same.
    std::shared_ptr<Shared> shared_;
};

}  // namespace redis
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/redis/impl/counters.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_REDIS_COUNTERS_HPP
