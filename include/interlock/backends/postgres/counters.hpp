// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_COUNTERS_HPP
#define INTERLOCK_BACKENDS_POSTGRES_COUNTERS_HPP

/// @file
/// Counters in a PostgreSQL server: one round trip to change one, at most once per operation id.

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/pool.hpp>
#include <interlock/core/counter.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/kit/counter_call.hpp>
#include <interlock/core/kit/counter_members.hpp>
#include <interlock/core/operation_id.hpp>
#include <interlock/core/runtime/runtime.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace postgres {

/// How counters are kept in a PostgreSQL server.
struct CountersOptions {
    /// How long an answer is kept, by the server's clock. Longer than anybody retries.
    std::chrono::nanoseconds retention{std::chrono::hours{24}};
};

namespace detail {

/// The statements of the counters of one name space.
struct CounterStatements {
    explicit CounterStatements(std::string const& ns)
    {
        // The counter's row is made and locked first: answers are then read as whoever held it before left
        // them.
        make = Statement{
            "INSERT INTO " + ns + "_counter (key, value) VALUES ($1::bytea, 0) ON CONFLICT (key) DO NOTHING"};
        lock = Statement{"SELECT 1 FROM " + ns + "_counter WHERE key = $1::bytea FOR UPDATE"};
        change = Statement{
            "WITH old AS MATERIALIZED (SELECT request, value, changed FROM " + ns +
            "_once WHERE key = $1::bytea AND "
            "id = $2::bytea AND kept_until > clock_timestamp()), "
            "u AS (UPDATE " +
            ns +
            "_counter SET value = value + $3::bigint WHERE key = $1::bytea AND NOT EXISTS (SELECT FROM old) "
            "AND ($4::bigint IS NULL OR value + $3::bigint >= $4::bigint) AND ($5::bigint IS NULL OR value + "
            "$3::bigint <= $5::bigint) "
            "AND abs(value + $3::bigint) <= " +
            std::to_string(CounterChange::limit) +
            " RETURNING value), "
            "now AS MATERIALIZED (SELECT value, abs(value + $3::bigint) <= " +
            std::to_string(CounterChange::limit) + " AS in_range FROM " + ns +
            "_counter WHERE key = $1::bytea), "
            "r AS (INSERT INTO " +
            ns +
            "_once AS o (key, id, request, value, changed, kept_until) SELECT $1::bytea, $2::bytea, "
            "$6::text, coalesce((SELECT value FROM u), now.value), EXISTS (SELECT FROM u), "
            "clock_timestamp() + $7::bigint * interval '1 microsecond' FROM now WHERE NOT EXISTS (SELECT "
            "FROM old) AND now.in_range "
            "ON CONFLICT (key, id) DO UPDATE SET request = excluded.request, value = excluded.value, changed "
            "= excluded.changed, "
            "kept_until = excluded.kept_until RETURNING value, changed) "
            "SELECT (SELECT request FROM old), coalesce((SELECT value FROM old), (SELECT value FROM r)), "
            "coalesce((SELECT changed FROM old), (SELECT changed FROM r))"};
        load = Statement{"SELECT value FROM " + ns + "_counter WHERE key = $1::bytea"};
    }

    Statement make;
    Statement lock;
    Statement change;
    Statement load;
};

}  // namespace detail

/// Whole numbers that the server adds to, where load, change and compare-and-set would cost more.
///
/// **Guarantee.** A change is applied at most once per (name space, counter, operation id) while the answer
/// is kept, and never beyond its bounds, decided in one transaction with the answer. Whoever comes with the
/// same id gets the first answer; with another change under the same id `idempotency_mismatch`. **Does not
/// guarantee.** Anything after the server lost commits. **Outcomes.** As `StateRepository`, but a lost reply
/// is asked for again until the deadline, since the id makes that safe; `outcome_unknown` only when it comes
/// first. **Lifetimes.** A shared handle; it keeps its pool alive. **Thread safety.** Everything: safe.
/// **Cost.** One round trip per call.
///
/// `Counters` are those of the system's runtime.
template <class Runtime>
class BasicCounters : public CounterMembers<BasicCounters<Runtime>> {
public:
    using runtime_type = Runtime;

    /// Throws `Error` (`invalid_argument`) for options out of range. Does not connect.
    explicit BasicCounters(BasicPool<Runtime> pool, CountersOptions options = {})
        : shared_(std::make_shared<Shared>(pool.state_, detail::check_retention(options)))
    {}

    Runtime const& runtime() const noexcept { return shared_->pool->runtime(); }
    /// Equal for all counters of one pool.
    void const* identity() const noexcept { return shared_->pool.get(); }
    Capabilities capabilities() const noexcept
    {
        return {.blocking_calls = shared_->pool->options().max_connections};
    }

    Outcome<CounterAnswer> carry_out(verb::ChangeCounter const& asked, Deadline deadline) const
    {
        auto const& id = asked.id;
        auto const& key = asked.key;
        auto const& change = asked.change;
        if (auto valid = validate_counter_call(id, key, change, deadline); !valid)
            return std::move(valid).failure();
        auto const until = deadline.at(runtime().now());
        auto const request = std::to_string(change.amount) + " " +
                             (change.at_least ? std::to_string(*change.at_least) : "-") + " " +
                             (change.at_most ? std::to_string(*change.at_most) : "-");
        return ask_until_known(
            until, [&] { return ask(id, key, change, request, Deadline{until}); }, runtime());
    }

    Outcome<std::int64_t> carry_out(verb::LoadCounter const& asked, Deadline deadline) const
    {
        auto const& key = asked.key;
        if (auto valid = key.validate(); !valid)
            return std::move(valid).failure();
        detail::Params params;
        params.bytes(key.bytes());
        auto reply = shared_->pool->execute(
            shared_->statements.load, std::move(params), detail::Access::read, deadline);
        if (!reply)
            return std::move(reply).failure();
        return reply->rows() == 0 ? 0 : reply->number(0, 0).value_or(0);
    }

private:
    struct Shared {
        Shared(std::shared_ptr<detail::PoolState<Runtime>> p, CountersOptions o)
            : pool(std::move(p)), options(o), statements(pool->options().name_space)
        {}
        std::shared_ptr<detail::PoolState<Runtime>> pool;
        CountersOptions options;
        detail::CounterStatements statements;
    };

    Outcome<CounterAnswer> ask(
        OperationId const& id, Key const& key, CounterChange const& change, std::string const& request,
        Deadline deadline) const
    {
        detail::Batch batch;
        for (auto const* statement : {&shared_->statements.make, &shared_->statements.lock}) {
            detail::Params named;
            named.bytes(key.bytes());
            batch.add(*statement, std::move(named));
        }
        detail::Params params;
        params.bytes(key.bytes());
        params.bytes(id.value());
        params.number(change.amount);
        auto const bound = [&](std::optional<std::int64_t> const& value) {
            if (value)
                params.number(*value);
            else
                params.null();
        };
        bound(change.at_least);
        bound(change.at_most);
        params.text(request);
        params.number(std::chrono::ceil<std::chrono::microseconds>(shared_->options.retention).count());
        batch.add(shared_->statements.change, std::move(params));
        auto replies = shared_->pool->execute(batch, detail::Access::commit, deadline);
        if (!replies)
            return std::move(replies).failure();
        auto const& reply = (*replies)[2];
        bool const replayed = !reply.null(0, 0);
        if (replayed && reply.text(0, 0) != request)
            return Failure{Errc::idempotency_mismatch, "the operation id was used for a different change"};
        auto const value = reply.number(0, 1);
        if (!value)
            return Failure{Errc::invalid_argument, "the counter would pass 2^53"};
        return CounterAnswer{.value = *value, .changed = reply.boolean(0, 2), .replayed = replayed};
    }

    std::shared_ptr<Shared> shared_;
};

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_COUNTERS_HPP
