// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/kit/blocking_waiter.hpp>

#include "support/catch.hpp"
#include "support/manual_runtime.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>

namespace blocking_waiter_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::ManualRuntime;
using interlock_test::Stock;

TEST_CASE("a waiter returns at its time", "[core][blocking_waiter]")
{
    SystemRuntime const runtime;
    BlockingWaiter waiter{runtime};
    auto const at = runtime.now() + 20ms;
    waiter.wait_until(at);
    CHECK(runtime.now() >= at);
    waiter.wait_until(runtime.now() - 1s);
}

TEST_CASE("a wake-up that comes before the wait ends the next wait, and no other", "[core][blocking_waiter]")
{
    ManualRuntime const runtime;
    BlockingWaiter waiter{runtime};
    waiter.wake();
    waiter.wake();
    auto const before = runtime.now();
    waiter.wait_until(TimePoint::max());  // returns at once
    CHECK(runtime.now() == before);
    runtime.waits_advance(true);
    waiter.wait_until(before + 3s);
    CHECK(runtime.now() == before + 3s);
}

TEST_CASE("a wake-up from another thread ends the wait", "[core][blocking_waiter]")
{
    SystemRuntime const runtime;
    BlockingWaiter waiter{runtime};
    std::thread waker([&] {
        std::this_thread::sleep_for(10ms);
        waiter.wake();
    });
    auto const began = runtime.now();
    waiter.wait_until(began + 1h);
    CHECK(runtime.now() < began + 1min);
    waker.join();
}

TEST_CASE(
    "a blocking wait for rows ends with the rows, or leaves the queue at the deadline",
    "[core][blocking_waiter]")
{
    ManualRuntime const runtime;
    memory::StateRepository<Stock, void, ManualRuntime> const repository{{}, runtime};
    Key const key{std::string("sku-1")};
    std::array const keys{&key};
    auto held = wait_for_rows(repository, keys, Wait::no, Deadline{1s});
    REQUIRE(held);
    CHECK(wait_for_rows(repository, keys, Wait::no, Deadline{1s}).errc() == Errc::lock_busy);
    runtime.waits_advance(true);
    auto const before = runtime.now();
    CHECK(
        wait_for_rows(repository, keys, Wait::until_deadline, Deadline{2s}).errc() ==
        Errc::deadline_exceeded);
    CHECK(runtime.now() == before + 2s);
    CHECK(repository.waiter_count() == 0);
    held->rollback();
    CHECK(wait_for_rows(repository, keys, Wait::until_deadline, Deadline{0s}));
}

}  // namespace blocking_waiter_test
