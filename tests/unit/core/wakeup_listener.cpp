// SPDX-License-Identifier: BSL-1.0

// The thread that listens for wake-ups: when it connects again.

#include <interlock/core/contracts/waiter.hpp>
#include <interlock/core/kit/wakeup_listener.hpp>

#include "support/catch.hpp"

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <thread>

namespace wakeup_listener_test {

using namespace interlock;
using namespace std::chrono_literals;

struct Waiting {
    Waiter* waiter{nullptr};
};

/// A server that lets everybody listen, and hangs up at once.
class HangsUp final : public WakeupListener<Waiting> {
public:
    void begin()
    {
        std::lock_guard const lock(mutex_);
        REQUIRE(start());
    }
    std::atomic<int> listened{0};

private:
    bool listen() override
    {
        ++listened;
        return true;
    }
};

TEST_CASE("a server that hangs up as soon as one listens is asked later each time", "[core]")
{
    auto const listener = std::make_shared<HangsUp>();
    listener->begin();
    std::this_thread::sleep_for(1500ms);
    listener->stop();
    // By waits of 20, 40, 80 ... milliseconds at most, half of that on average.
    CHECK(listener->listened >= 2);
    CHECK(listener->listened < 25);
}

}  // namespace wakeup_listener_test
