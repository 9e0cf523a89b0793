// SPDX-License-Identifier: BSL-1.0

// What an observer is told of a pool: connections that come and go, and callers that wait for one.

#include <interlock/core/kit/connection_pool.hpp>

#include "support/catch.hpp"
#include "support/connection_notes.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace connection_events_test {

using namespace interlock;
using namespace std::chrono_literals;

struct Connection {
    bool fit() const noexcept { return good; }
    bool reusable() const noexcept { return good; }
    bool good{true};
};

TimePoint in(std::chrono::nanoseconds time)
{
    return SystemRuntime{}.now() + time;
}

TEST_CASE("a pool tells of its connections and of those who wait", "[core][connection_pool]")
{
    interlock_test::ConnectionNotes notes;
    ConnectionPool<Connection> pool{"somewhere", 1, 1, {}, &notes, {"somewhere", "here", "some_sql"}};
    auto const open = [] { return Outcome<std::unique_ptr<Connection>>{std::make_unique<Connection>()}; };
    bool fresh = false;
    auto lease = pool.take(in(10s), fresh, open).value();
    CHECK(notes.words() == std::vector<std::string>{"some_sql opened"});
    REQUIRE(notes.waits().size() == 1);
    CHECK(notes.waits()[0].waited == 0ns);
    CHECK(notes.waits()[0].connections == 1);

    // Each of the two may be in line before the other one.
    std::thread waiter([&] {
        bool of_waiter = false;
        while (!pool.take(in(10s), of_waiter, open)) {
        }
    });
    bool told = false;
    while (!told) {  // the waiter is in line: the next is one too many, and need not wait to know it
        auto const refused = pool.take(in(20ms), fresh, open);
        told = refused.errc() == Errc::overloaded && refused.detail().find("too many") != std::string::npos;
        std::this_thread::sleep_for(1ms);
    }
    lease.release();
    waiter.join();
    auto const waits = notes.waits();
    CHECK(waits.back().result == Errc::ok);
    CHECK(waits.back().waited > 0ns);
    CHECK(waits[1].result == Errc::overloaded);

    lease = pool.take(in(10s), fresh, open).value();
    lease->good = false;
    lease.release();
    CHECK(notes.words().back() == "some_sql lost");
    auto const refuse = [] { return Outcome<std::unique_ptr<Connection>>{Errc::unavailable}; };
    CHECK(pool.take(in(10s), fresh, refuse).errc() == Errc::unavailable);
    CHECK(notes.words().back() == "some_sql failed");
    CHECK(notes.waits().back().result == Errc::unavailable);
}

/// A runtime in which a wait ends at its deadline, and just before that somebody gives a connection back.
struct LastMoment {
    struct World {
        TimePoint now{};
        std::function<void()> before_the_end;
    };
    TimePoint now() const noexcept { return world->now; }
    std::uint64_t generation() const noexcept { return 0; }
    template <class Condition>
    void wait_until(Condition&, std::unique_lock<std::mutex>& lock, TimePoint until) const
    {
        lock.unlock();
        world->before_the_end();
        lock.lock();
        world->now = until;
    }
    World* world;
};

TEST_CASE("who gets a connection too late hears that all were in use", "[core][connection_pool]")
{
    LastMoment::World world;
    world.now = TimePoint{} + 100s;
    ConnectionPool<Connection, LastMoment> pool{"somewhere", 1, 1, LastMoment{&world}};
    auto const open = [] { return Outcome<std::unique_ptr<Connection>>{std::make_unique<Connection>()}; };
    bool fresh = false;
    auto lease = pool.take(world.now + 1s, fresh, open).value();
    world.before_the_end = [&] { lease.release(); };
    auto const late = pool.take(world.now + 2s, fresh, open);
    CHECK(late.errc() == Errc::overloaded);
    CHECK(late.detail().find("all connections are in use") != std::string::npos);
    // Who did not wait is late by itself.
    CHECK(pool.take(world.now, fresh, open).errc() == Errc::deadline_exceeded);
}

}  // namespace connection_events_test
