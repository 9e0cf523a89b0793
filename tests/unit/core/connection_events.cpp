// SPDX-License-Identifier: BSL-1.0

// What an observer is told of a pool: connections that come and go, and callers that wait for one.

#include <interlock/core/kit/connection_pool.hpp>

#include "support/catch.hpp"
#include "support/connection_notes.hpp"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <future>
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
    lease = pool.take(in(10s), fresh, open).value();
    lease.release();
    auto const lost_before = notes.count("some_sql lost");
    pool.drop_idle();
    CHECK(notes.count("some_sql lost") == lost_before + 1);
    auto const told_before = notes.waits().size();
    auto const refuse = [] { return Outcome<std::unique_ptr<Connection>>{Errc::unavailable}; };
    CHECK(pool.take(in(10s), fresh, refuse).errc() == Errc::unavailable);
    CHECK(notes.words().back() == "some_sql failed");
    CHECK(notes.waits().size() == told_before);  // that was told already
    auto const late = [] { return Outcome<std::unique_ptr<Connection>>{Errc::deadline_exceeded}; };
    CHECK(pool.take(in(10s), fresh, late).errc() == Errc::deadline_exceeded);
    CHECK(notes.waits().back().result == Errc::deadline_exceeded);
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

/// A runtime for two callers in line. The one called `late` is woken by what is given back, and its deadline
/// has come by then; the other one, with a later deadline, then waits as a condition variable does.
struct TwoInLine {
    struct World {
        TimePoint now{};
        TimePoint deadline_of_late{};
        std::function<void()> give_back;
        std::promise<void> other_in_line;
        std::promise<void> given_back;
        std::promise<void> other_waits;
        bool other_woken{false};
    };
    TimePoint now() const noexcept { return world->now; }
    std::uint64_t generation() const noexcept { return 0; }
    template <class Condition>
    void wait_until(Condition& condition, std::unique_lock<std::mutex>& lock, TimePoint until) const
    {
        if (until == world->deadline_of_late) {
            lock.unlock();
            world->give_back();
            world->given_back.set_value();
            world->other_waits.get_future().wait();
            lock.lock();  // succeeds once the other one is waiting
            world->now = until;
            return;
        }
        lock.unlock();
        world->other_in_line.set_value();
        world->given_back.get_future().wait();
        lock.lock();
        world->other_waits.set_value();
        world->other_woken = condition.wait_for(lock, 2s) == std::cv_status::no_timeout;
    }
    World* world;
};

TEST_CASE("who is woken too late hands the wake-up on", "[core][connection_pool]")
{
    bool const reusable = GENERATE(true, false);
    CAPTURE(reusable);
    TwoInLine::World world;
    world.now = TimePoint{} + 100s;
    world.deadline_of_late = world.now + 1s;
    ConnectionPool<Connection, TwoInLine> pool{"somewhere", 1, 2, TwoInLine{&world}};
    auto const open = [] { return Outcome<std::unique_ptr<Connection>>{std::make_unique<Connection>()}; };
    bool fresh = false;
    auto lease = pool.take(world.now + 1s, fresh, open).value();
    lease->good = reusable;
    world.give_back = [&] { lease.release(); };

    auto got = Errc::unavailable;
    std::thread other([&, until = world.now + 10s] {
        bool of_other = false;
        got = pool.take(until, of_other, open).errc();
    });
    world.other_in_line.get_future().wait();
    CHECK(pool.take(world.deadline_of_late, fresh, open).errc() == Errc::overloaded);
    other.join();
    CHECK(world.other_woken);
    CHECK(got == Errc::ok);
}

}  // namespace connection_events_test
