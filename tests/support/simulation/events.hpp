// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_SIMULATION_EVENTS_HPP
#define INTERLOCK_TESTS_SUPPORT_SIMULATION_EVENTS_HPP

/// @file
/// A log of events behind a line that can fail: each process has a line of its own to the one log.

#include <interlock/backends/memory/event_repository.hpp>
#include <interlock/core/kit/event_members.hpp>

#include "support/scripted_repository.hpp"
#include "support/simulation/context.hpp"

#include <functional>
#include <memory>
#include <utility>

namespace simulation {

/// A handle to the log, of one process. Models `SubscribableEvents`.
class ScriptedEvents : public interlock::EventMembers<ScriptedEvents> {
public:
    using Log = interlock::memory::BasicEventRepository<SimulationRuntime>;
    using runtime_type = SimulationRuntime;

    /// What the line does. Shared by all copies of a handle; not thread-safe.
    struct Line {
        /// Asked before each call; `late` is none of its answers.
        std::function<scripted::Fault()> fault;
        /// Called when the log has done its part.
        std::function<void()> after;
        /// Whether this reader is never woken.
        std::function<bool()> hints_are_lost;
    };

    ScriptedEvents(Log log, std::shared_ptr<Line> line, SimulationRuntime runtime, bool in_place)
        : log_(std::move(log)), line_(std::move(line)), runtime_(runtime), in_place_(in_place)
    {}

    SimulationRuntime runtime() const noexcept { return runtime_; }
    void const* identity() const noexcept { return log_.identity(); }
    unsigned partitions() const noexcept { return log_.partitions(); }
    interlock::Capabilities capabilities() const noexcept { return {.answers_in_place = in_place_}; }

    template <class Verb>
        requires requires(Log const& log, Verb const& verb) { log.carry_out(verb, interlock::Deadline{}); }
    interlock::Outcome<typename Verb::answer> carry_out(Verb const& verb, interlock::Deadline deadline) const
    {
        using scripted::Fault;
        auto const fault = line_->fault ? line_->fault() : Fault::none;
        if (fault == Fault::gone)
            return interlock::Errc::misconfigured;
        if (fault == Fault::refused)
            return interlock::Errc::unavailable;
        if (fault == Fault::lost_request)
            return lost<Verb>();
        auto outcome = log_.carry_out(verb, deadline);
        if (line_->after)
            line_->after();
        if (fault == Fault::lost_reply)
            return lost<Verb>();
        return outcome;
    }

    void subscribe(unsigned partition, interlock::Waiter& waiter) const
    {
        if (!line_->hints_are_lost || !line_->hints_are_lost())
            log_.subscribe(partition, waiter);
    }
    void unsubscribe(unsigned partition, interlock::Waiter& waiter) const noexcept
    {
        log_.unsubscribe(partition, waiter);
    }

private:
    template <class Verb>
    static interlock::Failure lost()
    {
        return Verb::reads ? interlock::Failure{interlock::Errc::unavailable}
                           : interlock::Failure::unknown(interlock::Errc::unavailable);
    }

    Log log_;
    std::shared_ptr<Line> line_;
    SimulationRuntime runtime_;
    bool in_place_;
};

static_assert(interlock::SubscribableEvents<ScriptedEvents>);

}  // namespace simulation

#endif  // INTERLOCK_TESTS_SUPPORT_SIMULATION_EVENTS_HPP
