// SPDX-License-Identifier: BSL-1.0

#include <interlock/core/runtime/runtime.hpp>
#include <interlock/core/runtime/stream.hpp>

#include "support/catch.hpp"
#include "support/manual_runtime.hpp"
#include "support/threads.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace runtime_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::eventually;
using interlock_test::ManualRuntime;

class TestAlarm final : public Alarm {
public:
    explicit TestAlarm(std::function<void()> action = [] {}) : action_(std::move(action)) {}
    void ring() noexcept override
    {
        action_();
        ++rings;
    }
    std::atomic<int> rings{0};

private:
    std::function<void()> action_;
};

TEST_CASE("an alarm rings once, at or after its time, not within arm", "[core][runtime]")
{
    SystemRuntime const runtime;
    std::atomic<TimePoint::rep> rung_at{0};
    std::atomic<bool> same_thread{false};
    auto const caller = std::this_thread::get_id();
    TestAlarm alarm{[&] {
        rung_at = runtime.now().time_since_epoch().count();
        same_thread = std::this_thread::get_id() == caller;
    }};
    auto const at = runtime.now() + 30ms;
    runtime.arm(alarm, at);
    REQUIRE(eventually([&] { return alarm.rings == 1; }));
    CHECK(rung_at >= at.time_since_epoch().count());
    CHECK_FALSE(same_thread);
    std::this_thread::sleep_for(50ms);
    CHECK(alarm.rings == 1);
    runtime.cancel(alarm);
}

TEST_CASE("an alarm for a time in the past rings at once", "[core][runtime]")
{
    SystemRuntime const runtime;
    TestAlarm alarm;
    runtime.arm(alarm, runtime.now() - 1h);
    CHECK(eventually([&] { return alarm.rings == 1; }));
    runtime.cancel(alarm);
}

TEST_CASE("a disarmed alarm does not ring, and disarm says whether it was armed", "[core][runtime]")
{
    SystemRuntime const runtime;
    TestAlarm alarm;
    CHECK_FALSE(runtime.disarm(alarm));
    runtime.arm(alarm, runtime.now() + 50ms);
    CHECK(runtime.disarm(alarm));
    CHECK_FALSE(runtime.disarm(alarm));
    runtime.arm(alarm, runtime.now() + 50ms);
    runtime.cancel(alarm);
    std::this_thread::sleep_for(120ms);
    CHECK(alarm.rings == 0);
}

TEST_CASE("arming again moves an alarm, and one that rang may be armed again", "[core][runtime]")
{
    SystemRuntime const runtime;
    TestAlarm alarm;
    runtime.arm(alarm, runtime.now() + 1h);
    runtime.arm(alarm, runtime.now());
    REQUIRE(eventually([&] { return alarm.rings == 1; }));
    runtime.arm(alarm, runtime.now());
    CHECK(eventually([&] { return alarm.rings == 2; }));
    runtime.cancel(alarm);
    CHECK(alarm.rings == 2);
}

TEST_CASE("cancel waits for an alarm that is ringing, unless the alarm itself calls it", "[core][runtime]")
{
    SystemRuntime const runtime;
    std::atomic<bool> inside{false};
    std::atomic<bool> done{false};
    TestAlarm slow{[&] {
        inside = true;
        std::this_thread::sleep_for(50ms);
        done = true;
    }};
    runtime.arm(slow, runtime.now());
    REQUIRE(eventually([&] { return inside.load(); }));
    runtime.cancel(slow);
    CHECK(done);

    Alarm* itself = nullptr;
    TestAlarm own{[&] { runtime.cancel(*itself); }};
    itself = &own;
    runtime.arm(own, runtime.now());
    CHECK(eventually([&] { return own.rings == 1; }));
    runtime.cancel(own);
}

TEST_CASE("alarms ring in the order of their times, and a ringing one may arm itself", "[core][runtime]")
{
    SystemRuntime const runtime;
    std::mutex mutex;
    std::vector<int> order;
    auto const note = [&](int n) {
        return [&, n] {
            std::lock_guard const lock(mutex);
            order.push_back(n);
        };
    };
    TestAlarm first{note(1)};
    TestAlarm second{note(2)};
    TestAlarm third{note(3)};
    auto const now = runtime.now();
    runtime.arm(third, now + 60ms);
    runtime.arm(first, now + 20ms);
    runtime.arm(second, now + 40ms);
    CHECK(eventually([&] { return third.rings == 1; }));
    for (auto* alarm : {&first, &second, &third})
        runtime.cancel(*alarm);
    CHECK(order == std::vector{1, 2, 3});

    Alarm* itself = nullptr;
    std::atomic<int> left{3};
    TestAlarm again{[&] {
        if (--left > 0)
            runtime.arm(*itself, runtime.now());
    }};
    itself = &again;
    runtime.arm(again, runtime.now());
    CHECK(eventually([&] { return again.rings == 3; }));
    runtime.cancel(again);
}

TEST_CASE("arming and cancelling from many threads loses and repeats nothing", "[core][runtime]")
{
    SystemRuntime const runtime;
    std::atomic<int> wrong{0};
    interlock_test::run_threads(4, [&](std::size_t) {
        for (int i = 0; i < 300; ++i) {
            TestAlarm alarm;
            runtime.arm(alarm, runtime.now() + std::chrono::microseconds(i % 50));
            bool const disarmed = runtime.disarm(alarm);
            runtime.cancel(alarm);
            if (alarm.rings != (disarmed ? 0 : 1))
                ++wrong;
        }
    });
    CHECK(wrong == 0);
}

TEST_CASE("the clock never goes back and waits end at their time or when woken", "[core][runtime]")
{
    SystemRuntime const runtime;
    auto before = runtime.now();
    for (int i = 0; i < 10'000; ++i) {
        auto const now = runtime.now();
        if (now < before)
            FAIL("the clock went back");
        before = now;
    }
    runtime.sleep_until(before + 20ms);
    CHECK(runtime.now() >= before + 20ms);
    runtime.sleep_until(before - 1h);

    std::mutex mutex;
    std::condition_variable changed;
    std::unique_lock lock(mutex);
    auto const at = runtime.now() + 20ms;
    while (runtime.now() < at)
        runtime.wait_until(changed, lock, at);
    bool woken = false;
    std::thread waker([&] {
        std::lock_guard const other(mutex);
        woken = true;
        changed.notify_all();
    });
    while (!woken)
        runtime.wait_until(changed, lock, TimePoint::max());
    lock.unlock();
    waker.join();
    CHECK(woken);
}

TEST_CASE("a million owner tokens, drawn on several threads, are distinct", "[core][runtime]")
{
    constexpr std::size_t threads = 4;
    constexpr std::size_t each = 250'000;
    std::array<std::vector<std::array<char, 16>>, threads> tokens;
    interlock_test::run_threads(threads, [&](std::size_t i) {
        SystemRuntime const runtime;
        tokens[i].reserve(each);
        for (std::size_t n = 0; n < each; ++n)
            tokens[i].push_back(new_owner_token(runtime).bytes());
    });
    std::vector<std::array<char, 16>> all;
    for (auto const& some : tokens)
        all.insert(all.end(), some.begin(), some.end());
    std::sort(all.begin(), all.end());
    CHECK(all.size() == threads * each);
    CHECK(std::adjacent_find(all.begin(), all.end()) == all.end());
    CHECK(all.front() != std::array<char, 16>{});
}

TEST_CASE("the manual runtime rings alarms in order while it is advanced", "[core][runtime]")
{
    ManualRuntime const runtime;
    auto const start = runtime.now();
    std::vector<std::chrono::nanoseconds> rung;
    TestAlarm late{[&] { rung.push_back(runtime.now() - start); }};
    TestAlarm early{[&] {
        rung.push_back(runtime.now() - start);
        runtime.arm(late, start + 5s);
    }};
    runtime.arm(early, start + 2s);
    runtime.advance(1s);
    CHECK(rung.empty());
    runtime.advance(10s);
    CHECK(rung == std::vector<std::chrono::nanoseconds>{2s, 5s});
    CHECK(runtime.now() == start + 11s);
    CHECK(runtime.armed() == 0);
}

/// A listening socket of this machine. A silent one takes nobody in any more: its queue is full, and whoever
/// connects waits.
class ListeningPlace {
public:
    explicit ListeningPlace(bool silent)
        : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0))
    {
        address_.sin_family = AF_INET;
        address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address_;
        REQUIRE(::bind(listener_.get(), generic(), size) == 0);
        REQUIRE(::listen(listener_.get(), silent ? 0 : 8) == 0);
        REQUIRE(::getsockname(listener_.get(), generic(), &size) == 0);
        for (int i = 0; silent && i < 4; ++i) {
            queued_.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
            static_cast<void>(::connect(queued_.back().get(), generic(), size));
        }
        info_.ai_family = AF_INET;
        info_.ai_addr = generic();
        info_.ai_addrlen = size;
    }
    ListeningPlace(ListeningPlace const&) = delete;
    ListeningPlace& operator=(ListeningPlace const&) = delete;
    ~ListeningPlace() = default;

    /// Its address as getaddrinfo(3) would give it, with `next` behind it.
    addrinfo const* before(addrinfo const* next)
    {
        info_.ai_next = const_cast<addrinfo*>(next);
        return &info_;
    }

private:
    sockaddr* generic() noexcept { return reinterpret_cast<sockaddr*>(&address_); }

    detail::FileDescriptor listener_;
    std::vector<detail::FileDescriptor> queued_;
    sockaddr_in address_{};
    addrinfo info_{};
};

TEST_CASE("an address that does not answer hides no other", "[core][stream]")
{
    ListeningPlace silent{true};
    ListeningPlace also_silent{true};
    ListeningPlace open{false};
    SystemRuntime const runtime;
    detail::IoResult result;
    auto const began = runtime.now();
    CHECK(detail::Stream::connect_first(
        silent.before(also_silent.before(open.before(nullptr))), began + 3s, result));
    CHECK(result.status == detail::IoStatus::ok);
    CHECK(runtime.now() - began >= 2s);
    CHECK(runtime.now() - began < 3s);
    // The last one has all that is left, and no more.
    auto const again = runtime.now();
    CHECK_FALSE(
        detail::Stream::connect_first(silent.before(also_silent.before(nullptr)), again + 200ms, result));
    CHECK(result.status == detail::IoStatus::timeout);
    CHECK(runtime.now() - again >= 200ms);
}

}  // namespace runtime_test
