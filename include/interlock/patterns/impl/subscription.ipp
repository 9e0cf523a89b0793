// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_IMPL_SUBSCRIPTION_IPP
#define INTERLOCK_PATTERNS_IMPL_SUBSCRIPTION_IPP

#include <interlock/core/kit/async_operation.hpp>
#include <interlock/core/kit/blocking_waiter.hpp>
#include <interlock/core/kit/safe_argument.hpp>
#include <interlock/patterns/subscription.hpp>

#include <boost/asio/async_result.hpp>

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {

namespace detail {

/// Between attempts at a store that fails.
inline constexpr Backoff store_backoff{
    .initial = std::chrono::milliseconds{10}, .cap = std::chrono::seconds{2}, .immediate = 0};

}  // namespace detail

template <class Events, class Cursors>
Outcome<void> Subscription<Events, Cursors>::validate_name() const
{
    if (consumer().empty() || consumer().size() > 200 || consumer().find('/') != std::string::npos)
        return wrong("its name has 1 to 200 bytes, none of them '/'");
    return success();
}

template <class Events, class Cursors>
Outcome<void> Subscription<Events, Cursors>::validate() const
{
    auto const& o = shared_->options;
    if (auto named = validate_name(); !named)
        return named;
    if (o.batch < 1 || o.batch > 100'000)
        return wrong("a batch is 1 to 100,000 events");
    if (o.concurrency < 1)
        return wrong("a concurrency of 0 handles nothing");
    if (o.attempts < 1 || !o.backoff.valid())
        return wrong("there is at least one attempt, and a backoff from 0 up to its cap");
    if (o.event_deadline <= o.event_deadline.zero())
        return wrong("an event needs more time than none");
    auto const none = o.poll_least.zero();
    if (o.poll_least <= none || o.poll_most < o.poll_least || o.cursor_every < none)
        return wrong("it polls at intervals above 0, from the least to the most, and writes after 0 or more");
    if (o.report_every < none)
        return wrong("it reports at intervals of 0, which is never, or more");
    if (!o.ttl.valid())
        return wrong("a lease lasts 50 ms to 24 h");
    return success();
}

template <class Events, class Cursors>
std::vector<detail::SubscriptionTerms> Subscription<Events, Cursors>::terms(
    bool drains, TimePoint lease_until) const
{
    auto const& o = shared_->options;
    auto const partitions = events().partitions();
    // A log that wakes its readers is asked by itself all the same, since a wake-up may be lost.
    auto const slower = SubscribableEvents<Events> ? 5 : 1;
    constexpr std::chrono::nanoseconds never = std::chrono::hours{24 * 365};  // may be multiplied
    std::vector<detail::SubscriptionTerms> all;
    for (unsigned partition = 0; partition < partitions; ++partition) {
        detail::SubscriptionTerms of;
        of.id = cursor_id(consumer(), partition);
        of.partition = partition;
        of.partitions = partitions;
        of.batch = o.batch;
        of.window = o.batch * 16;
        of.attempts = o.attempts;
        of.backoff = o.backoff;
        of.max_parked = o.max_parked;
        of.cursor_every = o.cursor_every;
        of.poll_least = std::min(o.poll_least, never);
        of.poll_most = std::min(o.poll_most, never) * slower;
        of.lease_poll = std::clamp<std::chrono::nanoseconds>(
            o.ttl.value() / 20, std::chrono::milliseconds{5}, std::chrono::seconds{1});
        of.look_every = std::chrono::seconds{1};
        of.note_every = std::chrono::seconds{5};
        of.start = o.start;
        of.report_every = o.observer == nullptr ? std::chrono::nanoseconds{0} : o.report_every;
        of.hand_over = o.ttl.value() / 2;
        of.trouble = detail::store_backoff;
        of.drains = drains;
        of.lease_until = lease_until;
        all.push_back(std::move(of));
    }
    return all;
}

/// A run that drains is no member: it takes what is free, and goes when that is done.
template <class Events, class Cursors>
std::optional<detail::MembershipMachine> Subscription<Events, Cursors>::membership(bool drains) const
{
    if (drains || events().partitions() < 2)
        return std::nullopt;
    auto const runtime = events().runtime();
    detail::MembershipTerms of;
    of.id = members_id(consumer());
    of.me = std::to_string(runtime.random_bits()) + "-" + std::to_string(runtime.random_bits());
    of.partitions = events().partitions();
    of.dead_after = shared_->options.ttl.value();
    of.beat_every = of.dead_after / 4;
    of.trouble = detail::store_backoff;
    return detail::MembershipMachine{std::move(of)};
}

// ---- on the calling thread ----------------------------------------------------------------------

template <class Events, class Cursors>
template <class F>
Outcome<std::size_t> Subscription<Events, Cursors>::run_here(
    F& handler, std::stop_token const& stop, bool drains, Deadline lease) const
{
    if (auto valid = validate(); !valid)
        return std::move(valid).failure();
    if (!lease.valid())
        return Failure{Errc::invalid_argument, "the deadline is not a number"};
    if (drains) {
        auto const run = make_run(true, lease.at(shared_->events.runtime().now()));
        work(*run, handler, stop, false);
        return run->result();
    }
    std::shared_ptr<Run> run;
    {
        std::lock_guard const lock(shared_->mutex);
        if (!shared_->run)
            shared_->run = make_run(false, TimePoint::max());
        run = shared_->run;
        ++shared_->threads;
    }
    work(*run, handler, stop, true);
    return run->result();
}

template <class Events, class Cursors>
template <class F>
void Subscription<Events, Cursors>::work(Run& run, F& handler, std::stop_token const& stop, bool shared) const
{
    // Also of a thread that is unwound: who comes later must not wait for it.
    struct Leaving {
        Subscription const& self;
        bool shared;
        bool left{false};

        bool leave()
        {
            left = true;
            return self.leaves(shared);
        }
        ~Leaving()
        {
            if (!left)
                static_cast<void>(leave());
        }
    } leaving{*this, shared};
    detail::HubWaiter waiter{run.hub()};
    detail::WakeOnStop const wakes{stop, waiter};
    for (;;) {
        auto const count = run.hub().count();
        if (!leaving.left && stop.stop_requested()) {
            if (leaving.leave())
                return;
            run.stop();
        }
        auto const todo = run.next(true);
        if (todo.ended)
            break;
        if (todo.of_member)
            detail::carry_out_blocking(run, *todo.of_member);
        else if (todo.part != nullptr)
            detail::carry_out_blocking(run, todo, handler, shared_->options.event_deadline);
        else
            run.hub().wait(run.runtime(), count, todo.action.until);
    }
}

template <class Events, class Cursors>
bool Subscription<Events, Cursors>::leaves(bool shared) const
{
    if (!shared)
        return false;
    std::lock_guard const lock(shared_->mutex);
    if (--shared_->threads > 0)
        return true;
    shared_->run.reset();  // whoever comes now begins another one
    return false;
}

// ---- without blocking ---------------------------------------------------------------------------

template <class Events, class Cursors>
template <class X, class F, class Token>
auto Subscription<Events, Cursors>::initiate(
    F&& handler, StopSignal stop, bool drains, Deadline lease, Token& token) const
{
    static_assert(
        detail::safe_operation<F>,
        "name it first: g++ 12 destroys a closure written inside a co_await expression twice");
    using Function = std::decay_t<F>;
    return boost::asio::async_initiate<Token, void(Outcome<X>)>(
        [](auto completion, Subscription const& self, std::shared_ptr<Function> function,
           std::stop_token stopping, bool drains_it, Deadline until) {
            using Completion = decltype(completion);
            auto const& runtime = self.events().runtime();
            auto valid = self.validate();
            if (valid && !until.valid())
                valid = Failure{Errc::invalid_argument, "the deadline is not a number"};
            if (!valid)
                return detail::async_call(
                    detail::CallHere{}, TimePoint::max(), runtime, std::move(completion),
                    [failure = std::move(valid).failure()] { return Outcome<X>{failure}; });
            auto const lease_until = drains_it ? until.at(runtime.now()) : TimePoint::max();
            detail::start_operation<detail::SubscriptionOperation<X, Completion, Run, Function>>(
                std::move(completion), self.make_run(drains_it, lease_until), std::move(function),
                std::move(stopping), self.shared_->options.concurrency, self.shared_->options.event_deadline);
        },
        token, *this, std::make_shared<Function>(std::forward<F>(handler)), stop.token(), drains, lease);
}

// ---- by hand ------------------------------------------------------------------------------------

template <class Events, class Cursors>
Outcome<std::optional<Versioned<Cursor>>> Subscription<Events, Cursors>::load(unsigned partition) const
{
    if (auto named = validate_name(); !named)
        return std::move(named).failure();
    auto loaded = cursors().load(cursor_id(consumer(), partition));
    if (loaded)
        return std::optional{*std::move(loaded)};
    if (loaded.errc() == Errc::not_found)
        return std::optional<Versioned<Cursor>>{};
    return std::move(loaded).failure();
}

template <class Events, class Cursors>
template <class F>
Outcome<void> Subscription<Events, Cursors>::edit(unsigned partition, F change) const
{
    auto const id = cursor_id(consumer(), partition);
    for (int attempt = 0; attempt < 20; ++attempt) {
        auto loaded = load(partition);
        if (!loaded)
            return std::move(loaded).failure();
        auto cursor = *loaded ? (*loaded)->value : Cursor{id, 0, events().partitions(), {}, {}};
        if (auto changed = change(cursor); !changed)
            return changed;
        auto stored = *loaded ? cursors().compare_and_set(id, (*loaded)->version, cursor)
                              : cursors().insert(id, cursor);
        if (stored)
            return success();
        if (stored.errc() != Errc::version_conflict && stored.errc() != Errc::already_exists)
            return std::move(stored).failure();
    }
    return Failure{Errc::version_conflict, "the cursor '" + id + "' is written all the time"};
}

template <class Events, class Cursors>
Outcome<void> Subscription<Events, Cursors>::put(unsigned partition, Position position) const
{
    auto const loaded = load(partition);
    if (!loaded)
        return loaded.failure();
    if (*loaded && position < (*loaded)->value.position) {
        auto keep = position;
        for (auto const& parked : (*loaded)->value.parked)
            keep = std::min<Position>(keep, parked.position - 1);
        // First, or a trim would come between. A cursor that is beyond its log may be put back all the same.
        auto noted = events().note_consumer_again(consumer(), partition, std::max<Position>(keep, 0));
        if (!noted && noted.errc() != Errc::corrupt_state)
            return noted;
    }
    return edit(partition, [&](Cursor& cursor) -> Outcome<void> {
        cursor.position = position;
        return success();
    });
}

template <class Events, class Cursors>
Outcome<void> Subscription<Events, Cursors>::resume_from(Key const& stream, std::int64_t further) const
{
    return edit(partition_of(stream.bytes(), events().partitions()), [&](Cursor& cursor) -> Outcome<void> {
        for (auto& parked : cursor.parked)
            if (parked.stream == stream.bytes()) {
                // A stream that goes on, and whose event was not tried, waits with that event no more.
                if (further > 0 && (!parked.resume || parked.attempts > 0)) {
                    parked.number += further;
                    parked.attempts = 0;
                }
                parked.resume = true;
                return success();
            }
        return Failure{
            Errc::not_found,
            "the subscription '" + consumer() + "' has not parked the stream that was named"};
    });
}

template <class Events, class Cursors>
Outcome<Position> Subscription<Events, Cursors>::lag() const
{
    Position most = 0;
    for (unsigned partition = 0; partition < events().partitions(); ++partition) {
        auto cursor = load(partition);
        if (!cursor)
            return std::move(cursor).failure();
        auto const extent = events().extent(partition);
        if (!extent)
            return extent.failure();
        most = std::max(most, extent->last - (*cursor ? (*cursor)->value.position : 0));
    }
    return most;
}

template <class Events, class Cursors>
Outcome<void> Subscription<Events, Cursors>::forget() const
{
    if (auto named = validate_name(); !named)
        return named;
    auto const erase = [&](std::string const& id) -> Outcome<void> {
        auto const loaded = cursors().load(id);
        if (!loaded)
            return loaded.errc() == Errc::not_found ? success() : Outcome<void>{loaded.failure()};
        if (auto const erased = cursors().erase(id, loaded->version); !erased)
            return erased.failure();
        return success();
    };
    for (unsigned partition = 0; partition < events().partitions(); ++partition)
        if (auto erased = erase(cursor_id(consumer(), partition)); !erased)
            return erased;
    if (auto erased = erase(members_id(consumer())); !erased)
        return erased;
    return events().forget_consumer(consumer());
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_PATTERNS_IMPL_SUBSCRIPTION_IPP
