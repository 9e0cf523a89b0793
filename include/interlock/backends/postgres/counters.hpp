// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_COUNTERS_HPP
#define INTERLOCK_BACKENDS_POSTGRES_COUNTERS_HPP

/// @file
/// Counters in a PostgreSQL server: one round trip to change one, at most once per operation id.
///
///     postgres::Counters const counters{pool};
///     OperationId const id{"order-17"};
///     auto const taken = counters.atomic_once(id, Key{"tickets"}, {.amount = -1, .at_least = 0}).value();
///     if (!taken.changed)
///         return sold_out();  // an answer, too: the same id gets it again

#include <interlock/backends/postgres/detail/names.hpp>
#include <interlock/backends/postgres/detail/pool_state.hpp>
#include <interlock/backends/postgres/detail/record_statements.hpp>
#include <interlock/backends/postgres/pool.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/counter.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/kit/counter_members.hpp>
#include <interlock/core/operation_id.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

namespace interlock {
inline namespace v0 {
namespace postgres {

/// How counters are kept in a PostgreSQL server.
struct CountersOptions {
    /// How long an answer is kept, by the server's clock. It must be longer than anybody retries.
    std::chrono::nanoseconds retention{std::chrono::hours{24}};
};

/// Whole numbers that the server adds to, where load, change and compare-and-set would cost more.
///
/// **Guarantee.** A change is applied at most once per name space, counter and operation id while the answer
/// is kept, and never beyond its bounds; one transaction decides that and keeps the answer. A later call with
/// the same id gets the first answer. A call with the same id and another change is `idempotency_mismatch`.
/// **Does not guarantee.** Anything after the server has lost commits.
/// **Outcomes.** As `StateRepository`. If a reply is lost, the counter asks again until the deadline, since
/// the id makes that safe; the outcome is `outcome_unknown` only when the deadline comes first.
/// **Lifetimes.** A shared handle; it keeps its pool alive.
/// **Thread safety.** Every member may be called from several threads at once.
/// **Cost.** One round trip per call.
///
/// `Counters` are those of the system's runtime.
template <class Runtime>
class BasicCounters : public CounterMembers<BasicCounters<Runtime>> {
public:
    using runtime_type = Runtime;

    /// Throws `Error` (`invalid_argument`) for options out of range. Does not connect.
    explicit BasicCounters(BasicPool<Runtime> pool, CountersOptions options = {});

    Runtime const& runtime() const noexcept;
    /// Equal for all counters of one pool.
    void const* identity() const noexcept;
    /// Calls block, as many at a time as the pool has connections.
    Capabilities capabilities() const noexcept;
    /// Where counters are, for texts: `postgres table "interlock_counter"`.
    std::string place() const
    {
        return detail::place_of_table(shared_->pool->options().name_space + "_counter");
    }

    /// One trip for each time that it must be asked. Waits for a change of the same counter that is being
    /// committed.
    Outcome<CounterAnswer> carry_out(verb::ChangeCounter const& asked, Deadline deadline) const;
    /// 0 for a counter that nobody has changed yet.
    Outcome<std::int64_t> carry_out(verb::LoadCounter const& asked, Deadline deadline) const;

private:
    // What all copies of the handle share.
    struct Shared {
        Shared(std::shared_ptr<detail::PoolState<Runtime>> p, CountersOptions o);
        std::shared_ptr<detail::PoolState<Runtime>> pool;
        CountersOptions options;
        detail::CounterStatements statements;
    };

    // One attempt. `request`: the change as a text, by which another one under the same id is known.
    Outcome<CounterAnswer> ask(
        OperationId const& id, Key const& key, CounterChange const& change, std::string const& request,
        Deadline deadline) const;

    std::shared_ptr<Shared> shared_;
};

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/impl/counters.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_COUNTERS_HPP
