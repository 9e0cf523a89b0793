// SPDX-License-Identifier: BSL-1.0

// What an asynchronous operation leaves behind: its alarm, its handler and its cancellation slot, when it
// completes, and when its execution context goes away before that.
//
// How it works: an operation that does nothing but wait is given a runtime whose alarm "rings" on a thread
// that is not scheduled for a while, as the system may do with any thread. Whatever the operation held must
// have gone before its context has.

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/kit/async_operation.hpp>
#include <interlock/core/lock_state_service.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>

#include "support/catch.hpp"
#include "support/states.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <iterator>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <thread>
#include <utility>

namespace context_end_test {

namespace asio = boost::asio;
using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::Stock;

/// The one alarm of a `SlowAlarms`, and who rings it.
class Ringer {
public:
    void arm(Alarm& alarm)
    {
        std::lock_guard const lock(mutex_);
        armed_ = &alarm;
    }
    bool disarm() noexcept
    {
        std::lock_guard const lock(mutex_);
        return std::exchange(armed_, nullptr) != nullptr;
    }
    void cancel() noexcept
    {
        std::unique_lock lock(mutex_);
        armed_ = nullptr;
        returned_.wait(lock, [&] { return ringing_ == nullptr; });
    }
    /// It is time: from now on the alarm rings, although its thread goes on only after `pause`.
    std::thread begin_to_ring(std::chrono::milliseconds pause)
    {
        std::lock_guard const lock(mutex_);
        REQUIRE(armed_ != nullptr);
        ringing_ = std::exchange(armed_, nullptr);
        return std::thread([this, pause] {
            std::this_thread::sleep_for(pause);
            ringing_->ring();
            std::lock_guard const ended(mutex_);
            ringing_ = nullptr;
            returned_.notify_all();
        });
    }

private:
    std::mutex mutex_;
    std::condition_variable returned_;
    Alarm* armed_{nullptr};
    Alarm* ringing_{nullptr};
};

class SlowAlarms : public SystemRuntime {
public:
    explicit SlowAlarms(Ringer& ringer) : ringer_(&ringer) {}
    void arm(Alarm& alarm, TimePoint) const { ringer_->arm(alarm); }
    bool disarm(Alarm&) const noexcept { return ringer_->disarm(); }
    void cancel(Alarm&) const noexcept { ringer_->cancel(); }

private:
    Ringer* ringer_;
};

/// What an operation is told, and what it tells.
struct Script {
    std::chrono::hours waits{1};
    bool done{false};  // at the next step
    std::atomic<int> steps{0};
    std::atomic<bool> destroyed{false};
};

/// Waits for the time that its script names, again in each step, until it is told that it is done.
template <class Handler>
class Waits final : public detail::AsyncOperation<Handler, SlowAlarms> {
    using Base = detail::AsyncOperation<Handler, SlowAlarms>;

public:
    Waits(Handler handler, SlowAlarms runtime, Script& script, Waiter*& waiter)
        : Base(std::move(handler), runtime), script_(script)
    {
        waiter = this;
    }
    ~Waits() { script_.destroyed = true; }

private:
    bool step() override
    {
        ++script_.steps;
        if (script_.done)
            return true;
        this->wake_at(this->runtime().now() + script_.waits);
        return false;
    }
    void failed(std::exception_ptr) noexcept override {}
    void leave() noexcept override {}
    void destroy() noexcept override { detail::destroy_operation(this, this->allocator()); }
    void complete(detail::Ref<Base> self) override
    {
        auto handler = std::move(this->handler());
        {
            detail::Ref<Base> const last = std::move(self);
        }
        std::move(handler)();
    }

    Script& script_;
};

template <class Handler>
Waiter& start(Handler handler, Ringer& ringer, Script& script)
{
    Waiter* waiter = nullptr;
    detail::start_operation<Waits<Handler>>(std::move(handler), SlowAlarms{ringer}, script, waiter);
    return *waiter;
}

TEST_CASE("an alarm that rings at the end of its context is waited for", "[core][context]")
{
    Ringer ringer;
    Script script;
    auto context = std::make_unique<asio::io_context>();
    auto& operation = start(asio::bind_executor(*context, [] { FAIL(); }), ringer, script);
    context->poll();
    auto alarm = ringer.begin_to_ring(100ms);
    if (GENERATE(false, true)) {  // another one is set meanwhile
        operation.wake();
        context->poll();
        CHECK(script.steps == 2);
    }
    context.reset();
    CHECK(script.destroyed);
    alarm.join();
}

TEST_CASE("the handler of a call is called when no alarm of the call rings any more", "[core][context]")
{
    Ringer ringer;
    Script script;
    std::optional<bool> destroyed;
    asio::io_context context;
    auto& operation =
        start(asio::bind_executor(context, [&] { destroyed = script.destroyed; }), ringer, script);
    context.poll();
    auto alarm = ringer.begin_to_ring(100ms);
    script.done = true;
    operation.wake();
    context.run();
    CHECK(destroyed == true);
    alarm.join();
}

/// Waits for a lock that somebody else has, and listens to `slot` meanwhile.
struct Waiting {
    explicit Waiting(asio::cancellation_slot slot)
    {
        locks.async_acquire(
            "x", {.deadline = 1h},
            asio::bind_cancellation_slot(
                slot, asio::bind_executor(*context, [this](error_code e, auto) { error = e; })));
        context->poll();
        CHECK(slot.has_handler());
    }
    LockStateService<Stock, memory::StateRepository<Stock>> locks{memory::StateRepository<Stock>{}};
    Lock<Stock> held{locks.acquire("x")};
    std::unique_ptr<asio::io_context> context{std::make_unique<asio::io_context>()};
    std::optional<error_code> error;
};

TEST_CASE("the end of a context touches no signal that has gone before it", "[core][context]")
{
    alignas(asio::cancellation_signal) std::array<unsigned char, sizeof(asio::cancellation_signal)> place{};
    auto* const signal = ::new (static_cast<void*>(place.data())) asio::cancellation_signal;
    Waiting waiting{signal->slot()};
    std::destroy_at(signal);
    place.fill(0x11);
    waiting.context.reset();
    CHECK(std::ranges::count(place, 0x11) == std::ssize(place));
    CHECK_FALSE(waiting.error);
}

TEST_CASE("a signal that is emitted behind the end of a context reaches nobody", "[core][context]")
{
    asio::cancellation_signal signal;
    Waiting waiting{signal.slot()};
    waiting.context.reset();
    signal.emit(asio::cancellation_type::terminal);
    CHECK_FALSE(waiting.error);
}

TEST_CASE("a call that has completed has left its slot", "[core][context]")
{
    asio::cancellation_signal signal;
    Waiting waiting{signal.slot()};
    signal.emit(asio::cancellation_type::terminal);
    waiting.context->poll();
    CHECK(waiting.error == Errc::cancelled);
    CHECK_FALSE(signal.slot().has_handler());
}

}  // namespace context_end_test
