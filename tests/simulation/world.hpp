// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SIMULATION_WORLD_HPP
#define INTERLOCK_TESTS_SIMULATION_WORLD_HPP

// What one run consists of: the store, the processes that use it, the faults between them, and what the
// checks know.

#include <interlock/interlock.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/describe/class.hpp>

#include "support/scripted_repository.hpp"
#include "support/simulation/context.hpp"
#include "support/simulation/idempotency.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace simulated {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using interlock::Key;
using interlock::TimePoint;
using scripted::Fault;
using simulation::Host;
using simulation::Random;
using simulation::SimulationContext;
using simulation::SimulationRuntime;

struct Account {
    std::string id;
    std::int64_t value{0};
    std::string trail;  // every change ever made: "<task> <amount> <number of the call>;"

    void change(std::uint64_t task, std::int64_t amount, std::int64_t call)
    {
        value += amount;
        trail += std::to_string(task) + ' ' + std::to_string(amount) + ' ' + std::to_string(call) + ';';
    }
};
BOOST_DESCRIBE_STRUCT(Account, (), (id, value, trail))

/// What an operation answers: which call's execution it was.
struct Told {
    std::int64_t call{0};
    friend bool operator==(Told const&, Told const&) = default;
};
BOOST_DESCRIBE_STRUCT(Told, (), (call))

/// Set by the run: whether an answer that is decoded now throws.
inline std::function<bool()> decoding_throws;

struct Undecodable : std::runtime_error {
    Undecodable() : std::runtime_error("the answer's decode threw") {}
};

}  // namespace simulated

template <>
struct interlock::StateTraits<simulated::Told> : interlock::DefaultStateTraits<simulated::Told> {
    static std::optional<simulated::Told> decode(std::string_view bytes)
    {
        if (simulated::decoding_throws && simulated::decoding_throws())
            throw simulated::Undecodable{};
        return interlock::DefaultStateTraits<simulated::Told>::decode(bytes);
    }
};

namespace simulated {

using Store = interlock::memory::StateRepository<Account, std::string, SimulationRuntime>;
using Repository = scripted::ScriptedRepository<Account, std::string, SimulationRuntime>;
using Locks = interlock::LockStateService<Account, Repository, interlock::Assurance::fenced>;
using Lock = interlock::Lock<Account>;
using Claims = interlock::memory::BasicIdempotencyStore<SimulationRuntime>;
template <class Policy>
using Service = interlock::TransactionService<Account, Policy, Repository>;
template <class Inner>
using Keyed = interlock::IdempotencyKeys<Inner, simulation::ScriptedClaims>;
using InTransaction =
    interlock::IdempotencyInTransaction<interlock::PessimisticRowLock, simulation::TransactionalRecords>;

inline constexpr std::array<char const*, 2> counters{"c1", "c2"};
inline constexpr char const* left = "left";
inline constexpr char const* right = "right";
/// States that several callers of one process change in a hurry, one for each policy.
inline constexpr std::array<char const*, 3> hot{"hot optimistic", "hot row", "hot lease"};
inline constexpr std::int64_t total = 1000;
inline constexpr auto ttl = 300ms;
inline constexpr auto pool_latency = 3ms;
inline constexpr auto quantum = 2 * pool_latency + 1ms;
/// What a call may take beyond its deadline and its own callable.
inline constexpr auto late = quantum + 60ms;
inline constexpr unsigned hosts = 3;
/// A request that arrives late arrives after that time at most.
inline constexpr auto longest_way = 150ms;
/// Of nobody's process: what happens outside of all of them.
inline constexpr Host outside = hosts;
/// An executor in each process that sometimes stands still: host + sleepers.
inline constexpr Host sleepers = hosts + 1;

/// Which mistake is planted, to see it found.
enum class Mutant : unsigned char { none, unguarded, no_fences };

/// What all runs together must have seen at least once.
struct Coverage {
    std::map<std::string, std::uint64_t> seen;
    void note(std::string const& what) { ++seen[what]; }
};

/// Counts idempotency events of all processes.
class Events final : public interlock::Observer {
public:
    explicit Events(Coverage& coverage) : coverage_(coverage) {}
    void on_idempotency(interlock::IdempotencyEvent event) noexcept override
    {
        static constexpr std::array names{"idempotency: executed",    "idempotency: replayed",
                                          "idempotency: in progress", "idempotency: mismatch",
                                          "idempotency: taken over",  "idempotency: given back",
                                          "idempotency: lease lost"};
        coverage_.note(names[static_cast<std::size_t>(event)]);
    }
    void on_acquire(interlock::AcquireEvent const& event) noexcept override
    {
        if (event.handed_on)
            coverage_.note("lock handed on");
    }
    void on_unknown(interlock::UnknownEvent const& event) noexcept override
    {
        coverage_.note(
            event.resolved == interlock::Effect::applied       ? "unknown, then applied"
            : event.resolved == interlock::Effect::not_applied ? "unknown, then not applied"
                                                               : "unknown for good");
    }

private:
    Coverage& coverage_;
};

}  // namespace simulated

#endif  // INTERLOCK_TESTS_SIMULATION_WORLD_HPP
