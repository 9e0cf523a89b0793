// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_DETAIL_SUBSCRIPTION_OPERATION_HPP
#define INTERLOCK_PATTERNS_DETAIL_SUBSCRIPTION_OPERATION_HPP

/// @file
/// A run of a subscription that blocks no thread: what the machines ask for is started, and each end asks for
/// another step. Handlers run on the executor of who asked for the run, and coroutines on a strand of it.

#include <interlock/core/deadline.hpp>
#include <interlock/core/kit/async_operation.hpp>
#include <interlock/core/kit/blocking_waiter.hpp>
#include <interlock/core/kit/lock_access.hpp>
#include <interlock/core/kit/verb_operation.hpp>
#include <interlock/forced_unwinding.hpp>
#include <interlock/patterns/detail/awaited_handler.hpp>
#include <interlock/patterns/detail/consumer_note.hpp>
#include <interlock/patterns/detail/subscription_run.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

/// A cursor that is written under a lease.
struct CursorWrite {
    Key key;
    Cursor cursor;
    Version version;
    Fence fence;
    mutable Change<Cursor> change{};

    verb::Commit<Cursor> verb() const
    {
        change = Change<Cursor>{.key = &key, .version = version, .value = &cursor, .fence = &fence};
        return {std::span<Change<Cursor>>{&change, 1}, nullptr};
    }
    /// Of a call that blocks the new version is in the change.
    template <class R>
    Outcome<CommitResult> ask(R const& repository, Deadline deadline) const
    {
        auto committed = repository.carry_out(verb(), deadline);
        if (committed)
            committed->version = change.version;
        return committed;
    }
};

/// A handler that runs. It is refused, when it is told to end before it has begun, and cancelled afterwards.
struct HandlerRun {
    enum class Stage : unsigned char { waiting, refused, begun, ended };

    explicit HandlerRun(TimePoint until) : deadline(until) {}

    std::atomic<Stage> stage{Stage::waiting};
    boost::asio::cancellation_signal signal{};
    TimePoint deadline;
    bool told{false};  // to end; of the steps alone
};

/// `Run`: a `SubscriptionRun`. `F`: the user's handler. `X`: `void`, or `std::size_t` for how many were
/// handled.
template <class X, class Handler, class Run, class F>
class SubscriptionOperation final : public AsyncOperation<Handler, typename Run::runtime_type> {
    using Base = AsyncOperation<Handler, typename Run::runtime_type>;
    using Part = typename Run::Part;
    using Action = SubscriptionMachine::Action;

public:
    SubscriptionOperation(
        Handler handler, std::shared_ptr<Run> run, std::shared_ptr<F> function, std::stop_token stop,
        std::size_t concurrency, std::chrono::nanoseconds event_deadline)
        : Base(std::move(handler), run->runtime()), run_(std::move(run)), function_(std::move(function)),
          stop_(std::move(stop)), concurrency_(concurrency), event_deadline_(event_deadline)
    {}

private:
    bool step() override
    {
        if (!std::exchange(begun_, true)) {
            run_->hub().wakes(this);
            stopping_.emplace(stop_, *this);
        }
        bool const cancelled = this->cancel_requested();
        if ((cancelled || stop_.stop_requested()) && !std::exchange(stopped_, true))
            run_->stop();
        auto const handlers_end = look_after_handlers(cancelled);
        for (;;) {
            auto todo = run_->next(handlers_.size() < concurrency_);
            if (todo.ended) {
                leave();
                return true;
            }
            if (todo.of_member) {
                carry_out(std::move(*todo.of_member));
                continue;
            }
            if (todo.part == nullptr) {
                this->wake_at(std::min(todo.action.until, next_deadline(handlers_end)));
                return false;
            }
            carry_out(*todo.part, std::move(todo.action));
        }
    }

    /// What co_spawn keeps in the signal of a handler that awaits goes on the handler's strand, when co_spawn
    /// has left it.
    void forget_ended()
    {
        for (auto& h : handlers_)
            if (h.run->stage.load(std::memory_order_acquire) == HandlerRun::Stage::ended) {
                if (h.strand)
                    boost::asio::post(*h.strand, [keep = std::move(h.run)] {});
                h.run = nullptr;
            }
        std::erase_if(handlers_, [](auto const& h) { return h.run == nullptr; });
    }

    /// Forgets handlers that have ended, and tells those to end that are late, or whose lease is lost, or
    /// that are not wanted any more. When the next one is late.
    TimePoint look_after_handlers(bool cancelled)
    {
        forget_ended();
        auto const now = this->runtime().now();
        auto next = TimePoint::max();
        for (auto& h : handlers_) {
            if (!h.run->told && (cancelled || now >= h.run->deadline || h.part->lease_is_lost())) {
                h.run->told = true;
                end(h);
            }
            if (!h.run->told)
                next = std::min(next, h.run->deadline);
        }
        return next;
    }
    TimePoint next_deadline(TimePoint before) const
    {
        for (auto const& h : handlers_)
            if (!h.run->told)
                before = std::min(before, h.run->deadline);
        return before;
    }

    void carry_out(Part& part, Action action)
    {
        using Kind = Action::Kind;
        switch (action.kind) {
        case Kind::acquire: return acquire(part);
        case Kind::look:
            return run_->cursors().async_load(
                part.id, Deadline{}, then(part, [](auto& m, auto now, auto random, auto&& loaded) {
                    m.looked(found_cursor(std::move(loaded)), now, random);
                }));
        case Kind::read:
            return run_->events().async_read(
                part.partition, action.after, action.limit, Deadline{},
                then(part, [](auto& m, auto now, auto random, auto page) {
                    m.read(std::move(page), now, random);
                }));
        case Kind::read_stream:
            return run_->events().async_read_stream(
                action.stream, action.after, action.limit, Deadline{},
                then(part, [stream = action.stream](auto& m, auto now, auto random, auto events) {
                    m.read_stream(stream, std::move(events), now, random);
                }));
        case Kind::newest:
            return start_newest_event(
                run_->events(), part.partition, action.after,
                then(part, [](auto& m, auto now, auto random, auto newest) {
                    m.newest(std::move(newest), now, random);
                }));
        case Kind::deliver: return deliver(part, action);
        case Kind::write: return write(part, std::move(action));
        case Kind::note: {
            auto done = then(part, [](auto& m, auto, auto, auto noted) { m.noted(noted); });
            ConsumerNote const note{run_->consumer(), part.partition, action.after, action.goes_back};
            async_carry_out(run_->events(), note, Deadline{}, done);
            return;
        }
        case Kind::release:
            return run_->locks().async_release(
                part.take_lease(), then(part, [](auto& m, auto now, auto, auto) { m.released(now); }));
        case Kind::wait:
        case Kind::end: break;
        }
    }

    /// A completion handler that reports to the machine of `part`.
    template <class Tell>
    auto then(Part& part, Tell tell_machine)
    {
        return boost::asio::bind_executor(
            this->executor(), [run = run_, &part, tell_machine](auto&& outcome) mutable {
                run->report(part, [&](SubscriptionMachine& m, TimePoint now, std::uint64_t random) {
                    tell_machine(m, now, random, std::move(outcome));
                });
            });
    }

    void carry_out(MembershipMachine::Action action)
    {
        auto const to_member = [&](auto tell_machine) {
            return boost::asio::bind_executor(
                this->executor(), [run = run_, tell_machine](auto&& outcome) mutable {
                    run->report_member([&](MembershipMachine& m, TimePoint now, std::uint64_t random) {
                        tell_machine(m, now, random, std::move(outcome));
                    });
                });
        };
        auto const written = [](auto& m, auto now, auto random, auto version) {
            m.written(std::move(version), now, random);
        };
        auto const& cursors = run_->cursors();
        if (action.kind == MembershipMachine::Action::Kind::look)
            cursors.async_load(action.record.id, to_member([](auto& m, auto now, auto random, auto&& loaded) {
                                   m.looked(found_cursor(std::move(loaded)), now, random);
                               }));
        else if (action.version == no_version)
            cursors.async_insert(action.record, to_member(written));
        else
            cursors.async_compare_and_set(
                action.record.id, action.version, action.record, to_member(written));
    }

    void acquire(Part& part)
    {
        auto const executor = this->executor();
        auto granted = [run = run_, &part, executor](error_code code, std::optional<Lock<Cursor>> lock) {
            auto const acquired = [run, &part](Outcome<SubscriptionMachine::Found> cursor) {
                run->report(part, [&](SubscriptionMachine& m, TimePoint now, std::uint64_t random) {
                    m.acquired(std::move(cursor), now, random);
                });
            };
            if (code)
                return acquired(
                    Failure{static_cast<Errc>(code.value()), "the lease of the cursor '" + part.id + "'"});
            if (!lock)
                return acquired(Errc::lock_busy);
            auto loaded = [acquired, &part, lease = std::make_shared<Lock<Cursor>>(*std::move(lock))](
                              Outcome<Versioned<Cursor>>&& cursor) {
                auto outcome = found_cursor(std::move(cursor));
                if (outcome)
                    part.set_lease(std::move(*lease));
                acquired(std::move(outcome));
            };
            run->cursors().async_load(
                part.id, Deadline{}, boost::asio::bind_executor(executor, std::move(loaded)));
        };
        run_->locks().async_try_acquire(part.id, boost::asio::bind_executor(executor, std::move(granted)));
    }

    void write(Part& part, Action action)
    {
        auto const hold = LockAccess::hold(part.lease());
        if (!hold || part.lease().status() == LockStatus::lost) {
            run_->report(part, [](SubscriptionMachine& m, TimePoint now, std::uint64_t random) {
                m.written(Errc::lock_lost, now, random);
            });
            return;
        }
        auto const until = std::min(hold->valid_until(), Deadline{}.at(hold->now()));
        auto done = then(part, [hold](auto& m, auto now, auto random, Outcome<CommitResult> committed) {
            if (committed)
                return m.written(committed->version, now, random);
            if (committed.errc() == Errc::outcome_unknown)
                hold->set_unresolved();
            m.written(std::move(committed).failure(), now, random);
        });
        async_carry_out(
            run_->cursors(),
            CursorWrite{Key{part.id}, std::move(action.cursor), action.version, hold->fence()},
            Deadline{until}, done);
    }

    // ---- handlers

    using Executor = typename Base::executor_type;
    struct Running {
        Part* part;
        std::shared_ptr<HandlerRun> run;
        std::optional<boost::asio::strand<Executor>> strand;  // of one that awaits
    };

    void deliver(Part& part, Action const& action)
    {
        auto const deadline = add(this->runtime().now(), event_deadline_);
        auto handler_run = std::make_shared<HandlerRun>(deadline);
        Delivery delivery{action.attempt, deadline, part.lease().stop_token()};
        auto report = [run = run_, &part, handler_run, ticket = action.ticket](Attempt attempt) {
            handler_run->stage.store(HandlerRun::Stage::ended, std::memory_order_release);
            run->report(part, [&](SubscriptionMachine& m, TimePoint now, std::uint64_t random) {
                m.handled(ticket, std::move(attempt), now, random);
            });
        };
        auto& running = handlers_.emplace_back(Running{&part, handler_run, {}});
        using Awaited = AwaitedHandler<decltype(call_handler(*function_, *action.event, delivery))>;
        if constexpr (Awaited::value) {
            running.strand.emplace(boost::asio::make_strand(this->executor()));
            spawn<typename Awaited::executor_type>(
                *running.strand, *action.event, std::move(delivery), std::move(handler_run),
                std::move(report));
        } else {
            boost::asio::post(
                this->executor(), [run = run_, function = function_, event = action.event, delivery,
                                   report]() mutable { report(attempt(*function, *event, delivery)); });
        }
    }

    /// Runs a handler that awaits. Whatever it throws is an attempt that failed.
    template <class Wanted>
    static boost::asio::awaitable<Attempt, Wanted> await_handler(
        std::shared_ptr<F> handler, Event const& event, Delivery delivery, std::shared_ptr<HandlerRun> run)
    {
        using Result =
            typename AwaitedHandler<decltype(call_handler(*handler, event, delivery))>::result_type;
        auto waiting = HandlerRun::Stage::waiting;
        if (!run->stage.compare_exchange_strong(waiting, HandlerRun::Stage::begun))
            co_return Attempt::failed(Errc::cancelled, "it was cancelled before it began");
        try {
            auto awaitable = call_handler(*handler, event, delivery);
            if constexpr (std::is_void_v<Result>) {
                co_await std::move(awaitable);
                co_return Attempt{};
            } else {
                Result result = co_await std::move(awaitable);
                co_return attempt_of_result(std::move(result));
            }
        }
        INTERLOCK_PASS_FORCED_UNWINDING
        catch (...)
        {
            co_return thrown_attempt();
        }
    }

    template <class Wanted, class Report>
    void spawn(
        boost::asio::strand<Executor> const& strand, Event const& event, Delivery delivery,
        std::shared_ptr<HandlerRun> handler_run, Report report)
    {
        auto& signal = handler_run->signal;
        auto body = await_handler<Wanted>(function_, event, std::move(delivery), std::move(handler_run));
        auto done = [report = std::move(report)](std::exception_ptr thrown, Attempt attempt) mutable {
            report(thrown ? Attempt::failed(Errc::cancelled, "it was cancelled") : std::move(attempt));
        };
        auto token = boost::asio::bind_cancellation_slot(signal.slot(), std::move(done));
        if constexpr (std::is_constructible_v<Wanted, boost::asio::strand<Executor>>)
            boost::asio::co_spawn(Wanted(strand), std::move(body), std::move(token));
        else
            boost::asio::co_spawn(Wanted(this->executor()), std::move(body), std::move(token));
    }

    /// On the handler's strand, so that it is never cancelled beside its coroutine. One that does not await
    /// is not interrupted.
    static void end(Running& handler)
    {
        if (!handler.strand)
            return;
        boost::asio::post(*handler.strand, [run = handler.run, strand = *handler.strand] {
            auto stage = HandlerRun::Stage::waiting;
            if (run->stage.compare_exchange_strong(stage, HandlerRun::Stage::refused) ||
                stage != HandlerRun::Stage::begun)
                return;
            run->signal.emit(boost::asio::cancellation_type::terminal);
            // co_spawn may look at the signal by a post of its own: it stays until that has run.
            boost::asio::post(strand, [keep = run] {});
        });
    }

    // ---- the end

    void failed(std::exception_ptr) noexcept override
    {
        failed_ = true;
        leave();
        run_->stop();
    }

    void complete(Ref<Base> self) override
    {
        auto handler = std::move(this->handler());
        auto count = failed_ ? Outcome<std::size_t>{Errc::overloaded} : run_->result();
        {
            Ref<Base> const last = std::move(self);
        }
        if constexpr (std::is_void_v<X>)
            std::move(handler)(count ? success() : Outcome<void>{std::move(count).failure()});
        else
            std::move(handler)(std::move(count));
    }

    void leave() noexcept override
    {
        stopping_.reset();
        run_->hub().wakes(nullptr);
    }
    void destroy() noexcept override { destroy_operation(this, this->allocator()); }

    std::shared_ptr<Run> run_;
    std::shared_ptr<F> function_;
    std::stop_token stop_;
    std::optional<WakeOnStop> stopping_;
    std::size_t concurrency_;
    std::chrono::nanoseconds event_deadline_;
    std::vector<Running> handlers_;
    bool begun_{false};
    bool stopped_{false};
    bool failed_{false};
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_PATTERNS_DETAIL_SUBSCRIPTION_OPERATION_HPP
