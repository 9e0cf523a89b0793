// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_SIMULATION_WORLD_HPP
#define INTERLOCK_TESTS_SUPPORT_SIMULATION_WORLD_HPP

/// @file
/// One simulated context with one scripted store of counters, for tests of interleavings.

#include <interlock/interlock.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/describe/class.hpp>

#include "support/scripted_repository.hpp"
#include "support/simulation/context.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace simulation {

struct Counter {
    std::string id;
    std::int64_t value{0};
    friend bool operator==(Counter const&, Counter const&) = default;
};
BOOST_DESCRIBE_STRUCT(Counter, (), (id, value))

using Store = interlock::memory::StateRepository<Counter, std::string, SimulationRuntime>;
using Repository = scripted::ScriptedRepository<Counter, std::string, SimulationRuntime>;
using Locks = interlock::LockStateService<Counter, Repository, interlock::Assurance::fenced>;
using Lock = interlock::Lock<Counter>;

struct World {
    explicit World(std::uint64_t seed = 1, Blocking blocking = Blocking::forbidden)
        : context(seed, blocking), script(std::make_shared<scripted::Script<Counter>>()),
          store(interlock::memory::RepositoryOptions{}, SimulationRuntime{context})
    {}

    /// A handle for one host.
    Repository repository(Host host = 0, bool in_place = true)
    {
        return {store, script, SimulationRuntime{context, host}, in_place};
    }

    std::int64_t value(std::string_view key) const
    {
        auto const loaded = store.load(interlock::Key{key});
        return loaded ? loaded->value.value : -1;
    }

    /// Whether nobody holds or waits for anything on `key`: a lock and a row can be had at once.
    bool is_free(std::string_view name)
    {
        interlock::Key const key{name};
        interlock::OwnerToken const owner{{7, 7}};
        auto const granted = store.create(key, owner, std::chrono::seconds{1});
        if (!granted || !store.remove(key, owner))
            return false;
        auto const* const keys = &key;
        return store.load_for_update(std::span{&keys, 1}, interlock::Wait::no).has_value() &&
               store.waiter_count() == 0;
    }

    SimulationContext context;
    std::shared_ptr<scripted::Script<Counter>> script;
    Store store;
};

}  // namespace simulation

#endif  // INTERLOCK_TESTS_SUPPORT_SIMULATION_WORLD_HPP
