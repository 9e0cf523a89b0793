// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_DETAIL_BATCH_RUN_HPP
#define INTERLOCK_PATTERNS_DETAIL_BATCH_RUN_HPP

/// @file
/// What a batch subscription does: load the place, read behind it, commit the batch with the place moved, and
/// tell the log and the observer, for one partition after the other. On a thread of the caller, or as a
/// coroutine.

#include <interlock/core/contracts/event_repository.hpp>
#include <interlock/core/kit/blocking_waiter.hpp>
#include <interlock/core/kit/event_members.hpp>
#include <interlock/core/kit/verb_operation.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/transaction_context.hpp>
#include <interlock/core/versioned.hpp>
#include <interlock/patterns/cursor.hpp>
#include <interlock/patterns/detail/batch_state.hpp>
#include <interlock/patterns/detail/batch_work.hpp>
#include <interlock/patterns/detail/consumer_note.hpp>
#include <interlock/patterns/detail/coroutine_frames.hpp>
#include <interlock/patterns/detail/newest_event.hpp>
#include <interlock/patterns/detail/subscription_hub.hpp>
#include <interlock/patterns/detail/wait_for_change.hpp>
#include <interlock/patterns/start.hpp>
#include <interlock/patterns/subscription_observer.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

INTERLOCK_COROUTINES_BEGIN

namespace interlock {
inline namespace v0 {
namespace detail {

template <class Events, class Service>
class BatchRun : private BatchState<Events, Service> {
public:
    using T = typename Service::value_type;
    using runtime_type = typename Events::runtime_type;
    using Base = BatchState<Events, Service>;
    using Base::Base;
    using Base::consumer;
    using Base::events;
    using Base::runtime;
    using Base::validate_name;

    // ---- on the calling thread

    template <class F>
    Outcome<std::size_t> step(unsigned partition, std::shared_ptr<F> handler)
    {
        if (auto valid = validate(partition); !valid)
            return std::move(valid).failure();
        auto const id = cursor_id(consumer_, partition);
        auto place = place_of(id, service_.repository().load(id));
        if (!place)
            return trouble(partition, std::move(place).failure());
        if (!*place) {
            auto const begun = begin(partition, id);
            if (!begun)
                return trouble(partition, begun.failure());
            place = std::optional{*begun};
        }
        if (auto told = note(partition, **place, false); !told)
            return std::move(told).failure();
        auto page = check(partition, id, **place, events_.read(partition, **place, terms_.batch));
        if (!page)
            return trouble(partition, std::move(page).failure());
        auto const count = page->events.size();
        if (count > 0) {
            auto const batch = batch_of(**place, *std::move(page), std::move(handler));
            if (auto done = commit(id, work_of<Service, false>(batch)); !done)
                return trouble(partition, std::move(done).failure());
            else
                handled(partition, *batch, *done);
            if (auto told = note(partition, cursor(partition), false); !told)
                return std::move(told).failure();
        }
        return count;
    }

    template <class F>
    Outcome<std::size_t> drain(std::shared_ptr<F> handler)
    {
        std::size_t all = 0;
        for (unsigned partition = 0; partition < events_.partitions(); ++partition) {
            for (std::size_t last = 1; last > 0; all += last) {
                auto const count = step(partition, handler);
                if (!count)
                    return count.failure();
                last = *count;
            }
            static_cast<void>(note(partition, cursor(partition), true));
        }
        return all;
    }

    template <class F>
    Outcome<void> run(std::shared_ptr<F> handler, std::stop_token const& stop)
    {
        SubscriptionHub hub;
        LogWaiter<Events> const hears{events_, hub};
        HubWaiter waiter{hub};
        WakeOnStop const wakes{stop, waiter};
        auto poll = terms_.poll_least;
        while (!stop.stop_requested()) {
            auto const seen = hub.count();
            std::size_t all = 0;
            for (unsigned partition = 0; partition < events_.partitions() && !stop.stop_requested();
                 ++partition) {
                auto const count = step(partition, handler);
                if (!count)
                    return count.failure();
                all += *count;
                if (report_due(partition))
                    report(partition, newest_event(events_, partition, cursor(partition)));
            }
            if (all > 0)
                poll = terms_.poll_least;
            else
                hub.wait(runtime(), seen, next_look(poll));
        }
        for (unsigned partition = 0; partition < events_.partitions(); ++partition)
            static_cast<void>(note(partition, cursor(partition), true));
        return success();
    }

    // ---- as a coroutine

    /// Never blocks. What the handler throws leaves it.
    template <class F>
    static boost::asio::awaitable<Outcome<void>> async_run(
        std::shared_ptr<BatchRun> self, std::shared_ptr<F> handler, std::stop_token stop)
    {
        co_await boost::asio::this_coro::reset_cancellation_state(boost::asio::enable_total_cancellation());
        co_await boost::asio::this_coro::throw_if_cancelled(false);
        auto const cancellation = co_await boost::asio::this_coro::cancellation_state;
        auto const ended = [&] {
            return stop.stop_requested() || cancellation.cancelled() != boost::asio::cancellation_type::none;
        };
        auto const hub = std::make_shared<SubscriptionHub>();
        LogWaiter<Events> const hears{self->events_, *hub};
        HubWaiter waiter{*hub};
        WakeOnStop const wakes{stop, waiter};
        auto poll = self->terms_.poll_least;
        while (!ended()) {
            auto const seen = hub->count();
            std::size_t all = 0;
            for (unsigned partition = 0; partition < self->events_.partitions() && !ended(); ++partition) {
                auto step = async_step(self, partition, handler);
                auto const count = co_await std::move(step);
                if (!count && count.errc() == Errc::cancelled && ended())
                    break;
                if (!count)
                    co_return count.failure();
                all += *count;
            }
            if (all > 0) {
                poll = self->terms_.poll_least;
            } else if (!ended()) {
                auto const until = self->next_look(poll);
                co_await async_wait_for_change(self->runtime(), hub, seen, until, boost::asio::use_awaitable);
            }
        }
        for (unsigned partition = 0; partition < self->events_.partitions(); ++partition) {
            auto notes = async_note(self, partition, true);
            static_cast<void>(co_await std::move(notes));
        }
        co_return success();
    }

private:
    using Base::arrive;
    using Base::batch_of;
    using Base::check;
    using Base::consumer_;
    using Base::cursor;
    using Base::events_;
    using Base::handled;
    using Base::next_look;
    using Base::noted;
    using Base::place_;
    using Base::place_of;
    using Base::report;
    using Base::report_due;
    using Base::service_;
    using Base::terms_;
    using Base::to_note;
    using Base::trouble;
    using Base::validate;

    template <class F>
    static boost::asio::awaitable<Outcome<std::size_t>> async_step(
        std::shared_ptr<BatchRun> self, unsigned partition, std::shared_ptr<F> handler)
    {
        auto token = boost::asio::use_awaitable;
        if (auto valid = self->validate(partition); !valid)
            co_return std::move(valid).failure();
        auto const id = cursor_id(self->consumer_, partition);
        auto loaded = co_await self->service_.repository().async_load(id, token);
        auto place = self->place_of(id, std::move(loaded));
        if (!place)
            co_return self->trouble(partition, std::move(place).failure());
        if (!*place) {
            auto begins = async_begin(self, partition, id);
            auto const begun = co_await std::move(begins);
            if (!begun)
                co_return self->trouble(partition, begun.failure());
            place = std::optional{*begun};
        }
        Position const from = **place;
        self->arrive(partition, from);
        auto notes = async_note(self, partition, false);
        if (auto told = co_await std::move(notes); !told)
            co_return std::move(told).failure();
        auto read = co_await self->events_.async_read(partition, from, self->terms_.batch, Deadline{}, token);
        auto page = self->check(partition, id, from, std::move(read));
        if (!page)
            co_return self->trouble(partition, std::move(page).failure());
        auto const count = page->events.size();
        if (count > 0) {
            auto const batch = self->batch_of(from, *std::move(page), std::move(handler));
            auto const work = work_of<Service, true>(batch);
            auto commits = async_commit(self, id, work);
            auto done = co_await std::move(commits);
            if (!done)
                co_return self->trouble(partition, std::move(done).failure());
            self->handled(partition, *batch, *done);
        }
        if (self->report_due(partition)) {
            auto reports = async_report(self, partition);
            co_await std::move(reports);
        }
        co_return count;
    }

    static boost::asio::awaitable<void> async_report(std::shared_ptr<BatchRun> self, unsigned partition)
    {
        auto token = boost::asio::use_awaitable;
        auto const reader = self->cursor(partition);
        auto const extent = co_await self->events_.async_extent(partition, Deadline{}, token);
        if (!extent)
            co_return;
        NewestEvent newest{extent->last, {}};
        if (has_newest(*extent, reader)) {
            auto const page =
                co_await self->events_.async_read(partition, extent->last - 1, 1, Deadline{}, token);
            newest = newest_in(*extent, page);
        }
        self->report(partition, newest);
    }

    /// Whether it was this reader that has moved the place.
    template <class Work>
    Outcome<bool> commit(std::string const& id, Work const& work)
    {
        try {
            auto done = service_.try_do_in_transaction(id, work, CallOptions{.deadline = terms_.deadline});
            if (!done)
                return std::move(done).failure();
            return true;
        } catch (MovedElsewhere const&) {
            return false;
        } catch (BatchRefused& refused) {
            return std::move(refused.failure);
        }
    }
    template <class Work>
    static boost::asio::awaitable<Outcome<bool>> async_commit(
        std::shared_ptr<BatchRun> self, std::string id, Work work)
    {
        CallOptions const options{.deadline = self->terms_.deadline};
        try {
            auto done = co_await self->service_.async_try_do_in_transaction(
                id, work, options, boost::asio::use_awaitable);
            if (!done)
                co_return std::move(done).failure();
            co_return true;
        } catch (MovedElsewhere const&) {
        } catch (BatchRefused& refused) {
            co_return std::move(refused.failure);
        }
        co_return false;
    }

    /// Where a consumer without a place begins. One that begins at the end has a place from now on. Another
    /// reader of its name may have made one meanwhile, and events may have come behind that: so it is looked
    /// for behind the question where the end is. One that is made after that passes over none of them.
    Outcome<Position> begin(unsigned partition, std::string const& id)
    {
        if (terms_.start == Start::beginning)
            return Position{0};
        auto const extent = events_.extent(partition);
        if (!extent)
            return extent.failure();
        auto place = place_of(id, service_.repository().load(id));
        if (place && !*place) {
            auto done = commit(id, Begins{this, extent->last});
            if (!done)
                return std::move(done).failure();
            place = place_of(id, service_.repository().load(id));
        }
        if (!place)
            return std::move(place).failure();
        return place->value_or(0);
    }
    static boost::asio::awaitable<Outcome<Position>> async_begin(
        std::shared_ptr<BatchRun> self, unsigned partition, std::string id)
    {
        auto token = boost::asio::use_awaitable;
        if (self->terms_.start == Start::beginning)
            co_return Position{0};
        auto const extent = co_await self->events_.async_extent(partition, Deadline{}, token);
        if (!extent)
            co_return extent.failure();
        auto before = co_await self->service_.repository().async_load(id, token);
        auto place = self->place_of(id, std::move(before));
        if (place && !*place) {
            Begins const work{self.get(), extent->last};
            auto commits = async_commit(self, id, work);
            auto done = co_await std::move(commits);
            if (!done)
                co_return std::move(done).failure();
            auto loaded = co_await self->service_.repository().async_load(id, token);
            place = self->place_of(id, std::move(loaded));
        }
        if (!place)
            co_return std::move(place).failure();
        co_return place->value_or(0);
    }
    struct Begins {
        BatchRun const* run;
        Position at;
        void operator()(T& state) const { move_place(state, run->place_, run->events_.partitions(), 0, at); }
    };

    Outcome<void> note(unsigned partition, Position position, bool last)
    {
        arrive(partition, position);
        if (auto const what = to_note(partition, last))
            return noted(partition, note_consumer(events_, *what));
        return success();
    }
    static boost::asio::awaitable<Outcome<void>> async_note(
        std::shared_ptr<BatchRun> self, unsigned partition, bool last)
    {
        if (auto const what = self->to_note(partition, last)) {
            auto token = boost::asio::use_awaitable;
            auto const said = co_await async_carry_out(self->events_, *what, Deadline{}, token);
            co_return self->noted(partition, said);
        }
        co_return success();
    }
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

INTERLOCK_COROUTINES_END

#endif  // INTERLOCK_PATTERNS_DETAIL_BATCH_RUN_HPP
