// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_DETAIL_SUBSCRIPTION_RUN_HPP
#define INTERLOCK_PATTERNS_DETAIL_SUBSCRIPTION_RUN_HPP

/// @file
/// One run of a subscription: a machine for each partition, and what its drivers share. A driver asks `next`
/// for something to do, does it without the run's mutex, and reports it.

#include <interlock/core/contracts/event_repository.hpp>
#include <interlock/core/contracts/waiter.hpp>
#include <interlock/core/kit/event_members.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/forced_unwinding.hpp>
#include <interlock/patterns/cursor.hpp>
#include <interlock/patterns/detail/consumer_note.hpp>
#include <interlock/patterns/detail/membership_machine.hpp>
#include <interlock/patterns/detail/subscription_hub.hpp>
#include <interlock/patterns/detail/subscription_machine.hpp>
#include <interlock/patterns/handling.hpp>
#include <interlock/patterns/subscription_observer.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Tells `observer` what `notice` says.
void tell(
    SubscriptionObserver& observer, std::string_view consumer, unsigned partition,
    SubscriptionNotice const& notice) noexcept;

/// What a handler of `F` returns.
template <class F>
auto call_handler(F& handler, Event const& event, Delivery const& delivery)
{
    if constexpr (std::is_invocable_v<F&, Event const&, Delivery const&>)
        return handler(event, delivery);
    else
        return handler(event);
}
template <class F>
inline constexpr bool handles_events =
    std::is_invocable_v<F&, Event const&> || std::is_invocable_v<F&, Event const&, Delivery const&>;

/// What the exception that is being handled says of an attempt.
inline Attempt thrown_attempt()
{
    try {
        throw;
    } catch (Error const& error) {
        return Attempt::failed(error.errc(), error.what());
    } catch (std::exception const& error) {
        return Attempt::failed(Errc::ok, error.what());
    } catch (...) {
        return Attempt::failed(Errc::ok, "the handler threw something that is no std::exception");
    }
}

/// Runs a handler that does not await.
template <class F>
Attempt attempt(F& handler, Event const& event, Delivery const& delivery)
{
    try {
        if constexpr (std::is_void_v<decltype(call_handler(handler, event, delivery))>) {
            call_handler(handler, event, delivery);
            return {};
        } else {
            return attempt_of_result(call_handler(handler, event, delivery));
        }
    }
    INTERLOCK_PASS_FORCED_UNWINDING
    catch (...)
    {
        return thrown_attempt();
    }
}

/// `Events`: an `EventRepository`. `Cursors`: a `FencedRepository` of cursors.
template <class Events, class Cursors>
class SubscriptionRun {
public:
    using Locks = LockStateService<Cursor, Cursors, Assurance::fenced>;
    using runtime_type = typename Events::runtime_type;
    using Action = SubscriptionMachine::Action;
    using MemberAction = MembershipMachine::Action;

    /// A partition, its machine, and its lease.
    class Part final : public Waiter {
    public:
        Part(SubscriptionTerms terms, SubscriptionHub& hub)
            : id(terms.id), partition(terms.partition), machine(std::move(terms)), hub_(hub)
        {}
        void wake() noexcept override
        {
            woken.store(true, std::memory_order_release);
            hub_.change();
        }

        std::string id;
        unsigned partition;
        SubscriptionMachine machine;
        std::atomic<bool> woken{false};

        /// The lease. It changes only while no action needs it, by `set_lease` and `take_lease`; whoever
        /// carries an action out reads it without the mutex.
        Lock<Cursor> const& lease() const noexcept { return lease_; }
        /// Any thread may ask, at any time.
        bool lease_is_lost() const
        {
            std::lock_guard const lock(lease_mutex_);
            return lease_ && lease_.status() == LockStatus::lost;
        }
        /// A run that waits is woken when the lease is lost: it has handlers to tell.
        void set_lease(Lock<Cursor> lease)
        {
            wake_by(lease, this);
            lease = exchange_lease(std::move(lease));
            wake_by(lease, nullptr);
        }
        Lock<Cursor> take_lease()
        {
            auto lease = exchange_lease({});
            wake_by(lease, nullptr);
            return lease;
        }
        ~Part() { wake_by(lease_, nullptr); }

    private:
        static void wake_by(Lock<Cursor> const& lease, Waiter* waiter) noexcept
        {
            if (auto const hold = LockAccess::hold(lease))
                hold->listen(waiter);
        }
        Lock<Cursor> exchange_lease(Lock<Cursor> lease)
        {
            std::lock_guard const lock(lease_mutex_);
            return std::exchange(lease_, std::move(lease));
        }

        SubscriptionHub& hub_;
        mutable std::mutex lease_mutex_;  // taken under the run's; nothing is called under it
        Lock<Cursor> lease_{};
    };

    struct Todo {
        Part* part{nullptr};
        Action action{};
        std::optional<MemberAction> of_member{};
        bool ended{false};  // all parts have
    };

    /// `membership`: nothing for a run that shares with nobody.
    SubscriptionRun(
        Events events, Locks locks, std::string consumer, std::vector<SubscriptionTerms> terms,
        std::optional<MembershipMachine> membership, SubscriptionObserver* observer)
        : events_(std::move(events)), locks_(std::move(locks)), consumer_(std::move(consumer)),
          membership_(std::move(membership)), observer_(observer)
    {
        parts_.reserve(terms.size());
        for (auto& of : terms)
            parts_.push_back(std::make_unique<Part>(std::move(of), hub_));
        // Before the first read, so that what comes behind a read that finds nothing is not slept through.
        if constexpr (SubscribableEvents<Events>)
            for (auto const& part : parts_)
                events_.subscribe(part->partition, *part);
    }
    SubscriptionRun(SubscriptionRun const&) = delete;
    SubscriptionRun& operator=(SubscriptionRun const&) = delete;
    ~SubscriptionRun()
    {
        if constexpr (SubscribableEvents<Events>)
            for (auto const& part : parts_)
                events_.unsubscribe(part->partition, *part);
    }

    Events const& events() const noexcept { return events_; }
    Locks const& locks() const noexcept { return locks_; }
    Cursors const& cursors() const noexcept { return locks_.repository(); }
    std::string const& consumer() const noexcept { return consumer_; }
    SubscriptionHub& hub() noexcept { return hub_; }
    runtime_type runtime() const { return events_.runtime(); }

    /// Something to do, for the first partition in turn that has something; else until when there is nothing.
    Todo next(bool may_deliver)
    {
        std::unique_lock lock(mutex_);
        Todo todo;
        todo.ended = true;
        if (next_of_member(todo))
            return todo;
        auto const may_acquire = keep_to_share();
        for (std::size_t i = 0; i < parts_.size(); ++i) {
            auto& part = *parts_[(turn_ + i) % parts_.size()];
            auto const now = runtime().now();
            if (part.lease_is_lost())
                part.machine.lost();
            if (part.woken.exchange(false, std::memory_order_acquire))
                part.machine.woken(now);
            auto action = part.machine.next(now, may_deliver, may_acquire);
            collect(part);
            if (action.kind == Action::Kind::end)
                continue;
            todo.ended = false;
            if (action.kind != Action::Kind::wait) {
                turn_ += i + 1;
                todo.part = &part;
                todo.action = std::move(action);
                break;
            }
            todo.action.until = std::min(todo.action.until, action.until);
        }
        tell_all(lock);
        return todo;
    }

    /// Reports to the machine of `part`, by `tell(machine, now, random)`.
    template <class F>
    void report(Part& part, F tell_machine)
    {
        {
            std::unique_lock lock(mutex_);
            tell_machine(part.machine, runtime().now(), runtime().random_bits());
            collect(part);
            if (!part.machine.result())
                stop_all();
            tell_all(lock);
        }
        hub_.change();
    }

    /// Reports to the membership, by `tell(machine, now, random)`.
    template <class F>
    void report_member(F tell_machine)
    {
        std::optional<MembersNotice> notice;
        {
            std::lock_guard const lock(mutex_);
            auto const before = std::pair{membership_->count(), membership_->share()};
            tell_machine(*membership_, runtime().now(), runtime().random_bits());
            if (membership_->failure())
                parts_.front()->machine.fail(*membership_->failure());
            if (!parts_.front()->machine.result())
                stop_all();
            if (before != std::pair{membership_->count(), membership_->share()})
                notice = MembersNotice{
                    consumer_, membership_->count(), membership_->share(),
                    static_cast<unsigned>(parts_.size())};
        }
        if (notice && observer_ != nullptr)
            observer_->on_members(*notice);
        hub_.change();
    }

    /// The end is asked for.
    void stop()
    {
        {
            std::lock_guard const lock(mutex_);
            stop_all();
        }
        hub_.change();
    }

    /// What the run came to, when it has ended.
    Outcome<std::size_t> result() const
    {
        std::lock_guard const lock(mutex_);
        std::size_t count = 0;
        for (auto const& part : parts_) {
            if (auto const result = part->machine.result(); !result)
                return result.failure();
            count += part->machine.handled_count();
        }
        return count;
    }

private:
    void stop_all()
    {
        for (auto const& part : parts_)
            part->machine.stop();
        if (membership_)
            membership_->stop();
    }

    /// What is to be done for the membership, or until when nothing is; whether there is something.
    bool next_of_member(Todo& todo)
    {
        if (!membership_)
            return false;
        auto action = membership_->next(runtime().now());
        todo.ended = action.kind == MemberAction::Kind::end;
        todo.action.until = action.until;
        if (todo.ended || action.kind == MemberAction::Kind::wait)
            return false;
        todo.of_member = std::move(action);
        return true;
    }

    /// Hands partitions over that are too many; whether another one may be taken.
    bool keep_to_share()
    {
        if (!membership_)
            return true;
        auto const count = [&](auto is) {
            return static_cast<std::size_t>(std::count_if(
                parts_.begin(), parts_.end(), [&](auto const& part) { return is(part->machine); }));
        };
        auto const wanted = count([](auto const& m) { return m.wants_lease(); });
        auto kept = wanted - count([](auto const& m) { return m.hands_over(); });
        for (auto part = parts_.rbegin(); part != parts_.rend() && kept > membership_->share(); ++part)
            if ((*part)->machine.holds_lease() && !(*part)->machine.hands_over()) {
                (*part)->machine.hand_over(runtime().now());
                --kept;
            }
        return wanted < membership_->share();
    }

    struct Notice {
        unsigned partition;
        SubscriptionNotice notice;
    };
    void collect(Part& part)
    {
        auto all = part.machine.take_notices();
        if (observer_ != nullptr)
            for (auto& notice : all)
                notices_.push_back({part.partition, std::move(notice)});
    }
    /// Gives up the mutex, since no observer is called under one.
    void tell_all(std::unique_lock<std::mutex>& lock)
    {
        auto const all = std::exchange(notices_, {});
        lock.unlock();
        for (auto const& [partition, notice] : all)
            tell(*observer_, consumer_, partition, notice);
    }

    Events events_;
    Locks locks_;
    std::string consumer_;
    std::optional<MembershipMachine> membership_;  // under the mutex
    SubscriptionObserver* observer_;
    SubscriptionHub hub_;
    mutable std::mutex mutex_;
    std::vector<std::unique_ptr<Part>> parts_;  // what they hold, but locks and flags, under the mutex
    std::vector<Notice> notices_;
    std::size_t turn_{0};
};

/// What a cursor's repository was asked for: nothing where there is none yet.
inline Outcome<SubscriptionMachine::Found> found_cursor(Outcome<Versioned<Cursor>>&& loaded)
{
    if (loaded)
        return SubscriptionMachine::Found{*std::move(loaded)};
    if (loaded.errc() == Errc::not_found)
        return SubscriptionMachine::Found{};
    return std::move(loaded).failure();
}

/// Carries out what a membership asks for.
template <class Run>
void carry_out_blocking(Run& run, MembershipMachine::Action const& action)
{
    auto const& cursors = run.cursors();
    if (action.kind == MembershipMachine::Action::Kind::look) {
        auto found = found_cursor(cursors.load(action.record.id));
        return run.report_member(
            [&](auto& m, auto now, auto random) { m.looked(std::move(found), now, random); });
    }
    auto version = action.version == no_version
                       ? cursors.insert(action.record.id, action.record)
                       : cursors.compare_and_set(action.record.id, action.version, action.record);
    run.report_member([&](auto& m, auto now, auto random) { m.written(std::move(version), now, random); });
}

/// The lease and the cursor of `part`, for a machine.
template <class Run>
void acquire_blocking(Run& run, typename Run::Part& part)
{
    auto found = [&]() -> Outcome<SubscriptionMachine::Found> {
        auto lock = run.locks().acquire_outcome(part.id, Wait::no, {});
        if (!lock)
            return std::move(lock).failure();
        auto loaded = found_cursor(run.cursors().load(part.id));
        if (loaded)
            part.set_lease(*std::move(lock));
        return loaded;
    }();
    run.report(part, [&](SubscriptionMachine& machine, TimePoint now, std::uint64_t random) {
        machine.acquired(std::move(found), now, random);
    });
}

/// Tells the machine what an attempt came to, also when the thread is cancelled in the handler: the event is
/// somebody else's then, and no other one waits behind it for ever.
template <class Run>
class AttemptReport {
public:
    AttemptReport(Run& run, typename Run::Part& part, SubscriptionMachine::Ticket ticket)
        : run_(run), part_(part), ticket_(ticket)
    {}
    AttemptReport(AttemptReport const&) = delete;
    AttemptReport& operator=(AttemptReport const&) = delete;
    ~AttemptReport()
    {
        if (made_)
            return;
        try {
            make(Attempt::failed(Errc::unavailable, "its thread was cancelled in the handler"));
        } catch (std::exception const&) {  // no memory
        }
    }

    void make(Attempt came_to)
    {
        made_ = true;
        run_.report(part_, [&](SubscriptionMachine& machine, TimePoint now, std::uint64_t random) {
            machine.handled(ticket_, std::move(came_to), now, random);
        });
    }

private:
    Run& run_;
    typename Run::Part& part_;
    SubscriptionMachine::Ticket ticket_;
    bool made_{false};
};

/// Carries `todo` out on the calling thread.
template <class Run, class F>
void carry_out_blocking(
    Run& run, typename Run::Todo const& todo, F& handler, std::chrono::nanoseconds event_deadline)
{
    using Kind = SubscriptionMachine::Action::Kind;
    auto& part = *todo.part;
    auto const& action = todo.action;
    auto const report = [&](auto tell_machine) { run.report(part, std::move(tell_machine)); };
    switch (action.kind) {
    case Kind::acquire: return acquire_blocking(run, part);
    case Kind::look: {
        auto found = found_cursor(run.cursors().load(part.id));
        return report([&](auto& m, auto now, auto random) { m.looked(std::move(found), now, random); });
    }
    case Kind::read: {
        auto page = run.events().read(part.partition, action.after, action.limit);
        return report([&](auto& m, auto now, auto random) { m.read(std::move(page), now, random); });
    }
    case Kind::read_stream: {
        auto events = run.events().read_stream(action.stream, action.after, action.limit);
        return report([&](auto& m, auto now, auto random) {
            m.read_stream(action.stream, std::move(events), now, random);
        });
    }
    case Kind::newest: {
        auto newest = newest_event(run.events(), part.partition, action.after);
        return report([&](auto& m, auto now, auto random) { m.newest(std::move(newest), now, random); });
    }
    case Kind::deliver: {
        Delivery const delivery{
            action.attempt, add(run.runtime().now(), event_deadline), part.lease().stop_token()};
        AttemptReport<Run> ended{run, part, action.ticket};
        return ended.make(attempt(handler, *action.event, delivery));
    }
    case Kind::write: {
        auto version = run.locks().write(part.lease(), action.version, action.cursor);
        return report([&](auto& m, auto now, auto random) { m.written(std::move(version), now, random); });
    }
    case Kind::note:
        return report(
            [noted = note_consumer(
                 run.events(), ConsumerNote{run.consumer(), part.partition, action.after, action.goes_back})](
                auto& m, auto, auto) { m.noted(noted); });
    case Kind::release:
        static_cast<void>(part.take_lease().release());
        return report([](auto& m, auto now, auto) { m.released(now); });
    case Kind::wait:
    case Kind::end: break;
    }
}

inline void tell(
    SubscriptionObserver& observer, std::string_view consumer, unsigned partition,
    SubscriptionNotice const& notice) noexcept
{
    using Kind = SubscriptionNotice::Kind;
    PartitionNotice const of_partition{consumer,       partition,   notice.position, notice.count,
                                       notice.attempt, notice.code, notice.delay,    notice.text};
    StreamNotice const of_stream{consumer,       partition,   notice.stream, notice.number, notice.position,
                                 notice.attempt, notice.code, notice.delay,  notice.text};
    switch (notice.kind) {
    case Kind::report: {
        auto report = notice.report;
        report.consumer = consumer;
        report.partition = partition;
        return observer.on_report(report);
    }
    case Kind::leased: return observer.on_leased(of_partition);
    case Kind::lost: return observer.on_lease_lost(of_partition);
    case Kind::moved: return observer.on_moved(of_partition);
    case Kind::trouble: return observer.on_trouble(of_partition);
    case Kind::written: return observer.on_progress(of_partition);
    case Kind::handed_over: return observer.on_handed_over(of_partition);
    case Kind::retried: return observer.on_retry(of_stream);
    case Kind::ignored: return observer.on_ignored(of_stream);
    case Kind::parked: return observer.on_parked(of_stream);
    case Kind::full: return observer.on_parking_full(of_stream);
    case Kind::resumed: return observer.on_resumed(of_stream);
    case Kind::unparked: return observer.on_unparked(of_stream);
    case Kind::trimmed: return observer.on_trimmed(of_stream);
    }
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_PATTERNS_DETAIL_SUBSCRIPTION_RUN_HPP
