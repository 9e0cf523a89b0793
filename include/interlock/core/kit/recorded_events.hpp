// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_RECORDED_EVENTS_HPP
#define INTERLOCK_CORE_KIT_RECORDED_EVENTS_HPP

/// @file
/// For policies: what an operation recorded, as parts of the changes that its commit makes.
///
///     RecordedEvents<Shape> const recorded{context_, repository.runtime()};
///     for (std::size_t i = 0; i < N; ++i) {
///         changes[i] = slots_[i].change(keys_[i]);
///         changes[i].events = recorded.of(i);
///     }

#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/kit/context_access.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/runtime/runtime.hpp>
#include <interlock/core/transaction_context.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

/// `Forms`, and behind them those with a `Recorder`, where the store `R` keeps what is recorded. Forms with
/// locks alone have no state whose event it could be.
template <class R, std::array Forms>
constexpr auto with_recorder()
{
    if constexpr (RecordingRepository<R>) {
        constexpr auto recorded = [](Form form) {
            return form == Form::states || form == Form::states_transaction || form == Form::states_context;
        };
        constexpr auto more = static_cast<std::size_t>(std::count_if(Forms.begin(), Forms.end(), recorded));
        std::array<Form, Forms.size() + more> all{};
        auto at = std::copy(Forms.begin(), Forms.end(), all.begin());
        for (auto const form : Forms)
            if (recorded(form))
                *at++ = with_recorder(form);
        return all;
    } else {
        return Forms;
    }
}

/// A new id of an event, 32 hexadecimal digits: 48 bits of the runtime's clock, in milliseconds, and 80
/// random bits, which alone tell ids apart. With the clock in front, events that are stored at about the
/// same time have neighbouring ids. A store that has an index of ids adds them to one page of it, and not
/// each to another page that it must read and log. Ids say nothing about the order of events: a machine's
/// clock begins when the machine does.
template <Runtime R>
std::string new_event_id(R const& runtime)
{
    static constexpr char const digits[] = "0123456789abcdef";
    std::string id(32, '0');
    auto const write = [&](std::uint64_t bits, std::size_t from, std::size_t to) {
        for (auto at = to; at-- > from; bits >>= 4)
            id[at] = digits[bits & 15];
    };
    auto const since_start = runtime.now().time_since_epoch();
    write(
        static_cast<std::uint64_t>(
            std::chrono::duration_cast<std::chrono::milliseconds>(since_start).count()),
        0, 12);
    write(runtime.random_bits(), 12, 28);
    write(runtime.random_bits(), 28, 32);
    return id;
}

/// Gives an id to each of `events` that has none.
template <Runtime R>
void give_ids(std::span<NewEvent> events, R const& runtime)
{
    for (auto& event : events)
        if (event.id.empty())
            event.id = new_event_id(runtime);
}

/// What the operation recorded, by states: arranged once for a commit, however many states it has. Empty in a
/// form without a recorder. It is valid until the operation runs again.
template <Form Shape>
class RecordedEvents {
public:
    template <Runtime R>
    RecordedEvents(TransactionContext& context, R const& runtime)
    {
        if constexpr (has_recorder(Shape)) {
            auto& events = ContextAccess::events(*ContextAccess::recorder(context));
            auto const before = [](NewEvent const& a, NewEvent const& b) { return a.state < b.state; };
            if (!std::is_sorted(events.begin(), events.end(), before))
                std::stable_sort(events.begin(), events.end(), before);
            give_ids<R>(events, runtime);
            all_ = events;
        }
    }

    /// Those of the call's `i`th state, in the order in which they were recorded.
    std::span<NewEvent const> of(std::size_t i) const noexcept
    {
        if constexpr (!has_recorder(Shape))
            return {};
        auto const first = std::partition_point(
            all_.begin(), all_.end(), [i](NewEvent const& event) { return event.state < i; });
        auto const last =
            std::partition_point(first, all_.end(), [i](NewEvent const& event) { return event.state == i; });
        return {first, last};
    }

private:
    std::span<NewEvent const> all_;
};

/// A repository was given events, and its options name nothing that would keep them.
inline Failure no_event_repository()
{
    return Failure{
        Errc::misconfigured,
        "the operation records events, and the options of its repository name no event "
        "repository: write {.events = ...}, or open<T>(url, events, backends...)"};
}

/// Whether the operation recorded anything.
template <Form Shape>
bool has_recorded(TransactionContext& context) noexcept
{
    if constexpr (has_recorder(Shape))
        return !ContextAccess::recorder(context)->empty();
    else
        return false;
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_RECORDED_EVENTS_HPP
