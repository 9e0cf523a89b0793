// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_SIMULATION_COUNTERS_HPP
#define INTERLOCK_TESTS_SUPPORT_SIMULATION_COUNTERS_HPP

/// @file
/// Counters behind a line that can fail, asked as the backends ask theirs.

#include <interlock/core/kit/counter_call.hpp>

#include "support/scripted_repository.hpp"
#include "support/simulation/context.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

namespace simulation {

/// A handle to a store of counters. Shared by all copies, each with the runtime of its process.
class ScriptedCounters {
public:
    struct Script {
        std::function<scripted::Fault()> fault;
        /// Runs at some later time what has then arrived.
        std::function<void(std::function<void()>)> later;
        /// Told of every change that was made.
        std::function<void(interlock::OperationId const&)> on_changed;
    };

    ScriptedCounters(std::shared_ptr<Script> script, SimulationRuntime runtime)
        : shared_(std::make_shared<Shared>()), script_(std::move(script)), runtime_(std::move(runtime))
    {}
    ScriptedCounters(ScriptedCounters const& other, SimulationRuntime runtime)
        : shared_(other.shared_), script_(other.script_), runtime_(std::move(runtime))
    {}

    /// Blocks, as those of the backends do.
    interlock::Outcome<interlock::CounterAnswer> change(
        interlock::OperationId const& id, interlock::Key const& key, interlock::CounterChange const& change,
        interlock::Deadline deadline) const
    {
        if (auto valid = interlock::validate_counter_call(id, key, change, deadline); !valid)
            return std::move(valid).failure();
        return interlock::ask_until_known(
            deadline.at(runtime_.now()), [&] { return ask(id, key, change); }, runtime_);
    }
    std::int64_t value(interlock::Key const& key) const { return shared_->values[std::string{key.bytes()}]; }

private:
    struct Shared {
        std::map<std::string, std::int64_t> values;
        std::map<std::string, interlock::CounterAnswer> records;
    };

    interlock::Outcome<interlock::CounterAnswer> ask(
        interlock::OperationId const& id, interlock::Key const& key,
        interlock::CounterChange const& change) const
    {
        auto const how = script_->fault ? script_->fault() : scripted::Fault::none;
        if (how == scripted::Fault::refused)
            return interlock::Errc::unavailable;
        auto const arrive = [shared = shared_, script = script_, id, name = std::string{key.bytes()},
                             change] {
            auto const known = shared->records.find(id.value());
            if (known != shared->records.end()) {
                auto answer = known->second;
                answer.replayed = true;
                return answer;
            }
            auto& value = shared->values[name];
            auto const next = value + change.amount;
            bool const refused =
                (change.at_least && next < *change.at_least) || (change.at_most && next > *change.at_most);
            if (!refused) {
                value = next;
                if (script->on_changed)
                    script->on_changed(id);
            }
            interlock::CounterAnswer const answer{value, !refused, false};
            shared->records.emplace(id.value(), answer);
            return answer;
        };
        if (how == scripted::Fault::late && script_->later)
            script_->later([arrive] { static_cast<void>(arrive()); });
        if (how == scripted::Fault::none)
            return arrive();
        if (how == scripted::Fault::lost_reply)
            static_cast<void>(arrive());
        return interlock::Failure::unknown(interlock::Errc::unavailable, "the reply was lost");
    }

    std::shared_ptr<Shared> shared_;
    std::shared_ptr<Script> script_;
    SimulationRuntime runtime_;
};

}  // namespace simulation

#endif  // INTERLOCK_TESTS_SUPPORT_SIMULATION_COUNTERS_HPP
