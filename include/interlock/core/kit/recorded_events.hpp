// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_RECORDED_EVENTS_HPP
#define INTERLOCK_CORE_KIT_RECORDED_EVENTS_HPP

/// @file
/// For policies: what an operation recorded, as parts of the changes that its commit makes.
///
///     for (std::size_t i = 0; i < N; ++i) {
///         changes[i] = slots_[i].change(keys_[i]);
///         changes[i].events = recorded_events<Shape>(context_, i, repository.runtime());
///     }

#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/kit/context_access.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/runtime/runtime.hpp>
#include <interlock/core/transaction_context.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

/// `forms`, and behind them those with a `Recorder`, where the store `R` keeps what is recorded. Forms with
/// locks alone have no state whose event it could be.
template <class R, std::size_t N>
constexpr auto with_recorder(std::array<Form, N> forms)
{
    if constexpr (RecordingRepository<R>) {
        constexpr auto recorded = [](Form form) {
            return form == Form::states || form == Form::states_transaction || form == Form::states_context;
        };
        std::array<Form, N + N> all{};
        std::size_t count = N;
        for (std::size_t i = 0; i < N; ++i) {
            all[i] = forms[i];
            if (recorded(forms[i]))
                all[count++] = with_recorder(forms[i]);
        }
        for (; count < all.size(); ++count)
            all[count] = forms[0];  // tried once more, in vain
        return all;
    } else {
        return forms;
    }
}

/// A new id of an event: 128 random bits in hexadecimal.
template <Runtime R>
std::string new_event_id(R const& runtime)
{
    static constexpr char const digits[] = "0123456789abcdef";
    std::string id(32, '0');
    for (std::size_t half : {std::size_t{0}, std::size_t{16}}) {
        auto bits = runtime.random_bits();
        for (std::size_t i = 0; i < 16; ++i, bits >>= 4)
            id[half + i] = digits[bits & 15];
    }
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

/// What the operation recorded for the call's `i`th state, in its order; nothing in a form without a
/// recorder. It is valid until the operation runs again.
template <Form Shape, Runtime R>
std::span<NewEvent const> recorded_events(TransactionContext& context, std::size_t i, R const& runtime)
{
    if constexpr (!has_recorder(Shape)) {
        return {};
    } else {
        auto& events = ContextAccess::events(*ContextAccess::recorder(context));
        auto const before = [](NewEvent const& a, NewEvent const& b) { return a.state < b.state; };
        if (!std::is_sorted(events.begin(), events.end(), before))
            std::stable_sort(events.begin(), events.end(), before);
        give_ids<R>(events, runtime);
        auto const first = std::find_if(
            events.begin(), events.end(), [i](NewEvent const& event) { return event.state >= i; });
        auto const last =
            std::find_if(first, events.end(), [i](NewEvent const& event) { return event.state > i; });
        return {first, last};
    }
}

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
