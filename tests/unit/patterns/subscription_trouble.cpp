// SPDX-License-Identifier: BSL-1.0

// What a subscription does about what should not be: bad options, foreign cursors, handlers that fail.

#include <interlock/core/codec/json.hpp>
#include <interlock/patterns/detail/subscription_machine.hpp>
#include <interlock/patterns/inbox.hpp>

#include "support/catch.hpp"
#include "support/threads.hpp"
#include "support/unwound.hpp"
#include "unit/patterns/subscription.hpp"

#include <atomic>
#include <chrono>
#include <functional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>

namespace subscription_trouble_test {

using namespace subscription_test;
using Catch::Matchers::ContainsSubstring;

/// Runs one that ends by itself.
il::Outcome<std::size_t> drained(Fixture const& f, il::SubscriptionOptions options, std::string name)
{
    return il::Subscription{f.events, f.cursors, std::move(name), options}.drain(nothing, 100ms);
}

}  // namespace subscription_trouble_test

TEST_CASE("A subscription refuses options that make no sense, in words", "[patterns][subscription]")
{
    using namespace subscription_trouble_test;
    Fixture const f;
    auto const refused = [&](std::function<void(il::SubscriptionOptions&)> const& change,
                             std::string const& words, std::string name = "shipping") {
        auto options = quick;
        change(options);
        auto const outcome = drained(f, options, std::move(name));
        CHECK(outcome.errc() == il::Errc::invalid_argument);
        CHECK_THAT(outcome.message(), ContainsSubstring(words));
    };
    using Options = il::SubscriptionOptions;
    refused([](Options& o) { o.batch = 0; }, "a batch is 1 to 100,000");
    refused([](Options& o) { o.batch = 100'001; }, "a batch is 1 to 100,000");
    refused([](Options& o) { o.concurrency = 0; }, "concurrency");
    refused([](Options& o) { o.attempts = 0; }, "attempt");
    refused([](Options& o) { o.backoff.initial = -1s; }, "backoff");
    refused([](Options& o) { o.event_deadline = 0s; }, "time");
    refused([](Options& o) { o.poll_least = 0s; }, "polls");
    refused([](Options& o) { o.poll_most = 1ns; }, "polls");
    refused([](Options& o) { o.cursor_every = -1s; }, "writes");
    refused([](Options& o) { o.ttl = 1ms; }, "lease");
    refused([](Options&) {}, "1 to 200 bytes", "");
    refused([](Options&) {}, "1 to 200 bytes", "a/b");
    refused([](Options&) {}, "1 to 200 bytes", std::string(201, 'n'));
    CHECK(f.cursors.key_count() == 0);
    il::Subscription const one{f.events, f.cursors, "shipping", quick};
    CHECK(
        one.drain(nothing, std::chrono::duration<double>{std::nan("")}).errc() == il::Errc::invalid_argument);
}

TEST_CASE("A cursor that is not of this log stays where it is", "[patterns][subscription]")
{
    using namespace subscription_trouble_test;
    Fixture f{2};
    f.sell(5);
    auto const other = il::partition_of("sku-0", 2);
    auto const refused = [&](il::Cursor const& cursor, std::string const& words) {
        auto const version = f.cursors.insert(cursor).value();
        auto const outcome = drained(f, quick, "shipping");
        CHECK(outcome.errc() == il::Errc::corrupt_state);
        CHECK_THAT(outcome.message(), ContainsSubstring(words));
        CHECK(f.cursors.load(cursor.id).value().value == cursor);
        CHECK(f.cursors.erase(cursor.id, version));
        for (unsigned partition : {0U, 1U})
            if (auto const left = f.cursors.load(il::cursor_id("shipping", partition)))
                CHECK(f.cursors.erase(left->value.id, left->version));
    };
    auto const id = il::cursor_id("shipping", other);
    refused({id, 6, 2, {}}, "beyond the last one");
    refused({id, -1, 2, {}}, "below 0");
    refused({id, 3, 1, {}}, "of a log of 1 partitions");
    refused({id, 3, 2, {{"sku-0", 0, 1, 1, "", false}}}, "no event of it");
    CHECK(drained(f, quick, "shipping").value() == 5);
}

TEST_CASE("What is no event for a handler is never passed over in silence", "[patterns][subscription]")
{
    using namespace subscription_trouble_test;
    Fixture f;
    f.sell(6, 2);
    Told told;
    auto options = quick;
    options.observer = &told;
    il::Subscription const shipping{f.events, f.cursors, "shipping", options};
    int calls = 0;
    auto const handler = [&](il::Event const& event) {
        ++calls;
        if (event.stream == il::Key{"sku-0"})
            return il::Handling::ignore;
        return event.number == 2 ? il::Handling::park : il::Handling::done;
    };
    CHECK(shipping.drain(handler).value() == 4);
    CHECK(calls == 5);
    CHECK(told.ignored == 3);
    CHECK(told.parked == 1);
    CHECK(told.retries == 0);
    auto const parked = shipping.parked().value();
    REQUIRE(parked.size() == 1);
    CHECK(parked[0].number == 2);
    CHECK(parked[0].attempts == 1);
}

TEST_CASE(
    "An outcome that failed is a failure of the event, an inbox in it or not", "[patterns][subscription]")
{
    using namespace subscription_trouble_test;
    Fixture f;
    f.sell(2);
    Told told;
    auto options = quick;
    options.observer = &told;
    il::Subscription const shipping{f.events, f.cursors, "shipping", options};
    il::memory::StateRepository<il::Cursor> const states;  // any state will do
    il::Inbox const inbox{
        il::TransactionService{il::OptimisticVersioning{.missing = il::Missing::create}, states}, "shipping"};
    int calls = 0;
    auto const handler = [&](il::Event const& event) -> il::Outcome<il::Handled> {
        if (++calls < 3)
            return il::Errc::not_found;
        return inbox.handle(event, "sum", [](il::Cursor& sum) { ++sum.position; });
    };
    CHECK(shipping.drain(handler).value() == 2);
    CHECK(told.retries == 2);
    CHECK(calls == 4);
    CHECK(shipping.move_to(0, 0));
    CHECK(shipping.drain(handler).value() == 2);
    CHECK(states.load("sum").value().value.position == 2);
}

TEST_CASE("A stream is not parked for what cannot be reached", "[patterns][subscription]")
{
    using namespace subscription_trouble_test;
    Fixture f;
    f.sell(1);
    il::Subscription const shipping{f.events, f.cursors, "shipping", quick};
    int calls = 0;
    auto const handler = [&](il::Event const&) -> il::Outcome<void> {
        if (++calls < 20)
            return il::Errc::unavailable;
        return il::success();
    };
    CHECK(shipping.drain(handler).value() == 1);
    CHECK(calls == 20);
    CHECK(shipping.parked().value().empty());
}

TEST_CASE("A handler that fails for every stream stops the partition", "[patterns][subscription]")
{
    using namespace subscription_trouble_test;
    Fixture f;
    f.sell(20, 20);
    Told told;
    auto options = quick;
    options.observer = &told;
    options.max_parked = 3;
    il::Subscription const shipping{f.events, f.cursors, "shipping", options};
    auto const fails = [](il::Event const&) { throw std::runtime_error("broken"); };
    auto const outcome = shipping.drain(fails);
    CHECK(outcome.errc() == il::Errc::overloaded);
    CHECK_THAT(outcome.message(), ContainsSubstring("3 streams are parked") && ContainsSubstring("broken"));
    CHECK(told.parked == 3);
    CHECK(told.full >= 1);
    CHECK(shipping.parked().value().size() == 3);
    CHECK(f.cursor().position <= 3);
    std::atomic<bool> mended{false};
    Runner running{shipping, [&](il::Event const&) {
                       if (!mended)
                           throw std::runtime_error("broken");
                   }};
    CHECK(eventually([&] { return told.full >= 3; }));
    CHECK(!running.ended);
    mended = true;
    CHECK(eventually([&] { return f.cursor().position == 20; }));
    CHECK(running.end());
}

TEST_CASE("A stream is resumed, and a cursor is moved, while the reader runs", "[patterns][subscription]")
{
    using namespace subscription_trouble_test;
    Fixture f;
    f.sell(20, 2);
    Told told;
    auto options = quick;
    options.observer = &told;
    il::Subscription const shipping{f.events, f.cursors, "shipping", options};
    std::atomic<bool> mended{false};
    std::atomic<int> handled{0};
    Runner running{shipping, [&](il::Event const& event) {
                       if (!mended && event.stream == il::Key{"sku-1"} && event.number == 3)
                           throw std::runtime_error("broken");
                       ++handled;
                   }};
    CHECK(eventually([&] { return f.cursor().parked.size() == 1 && f.cursor().position == 20; }));
    CHECK(handled == 12);
    mended = true;
    CHECK(shipping.resume("sku-1"));
    CHECK(eventually([&] { return f.cursor().parked.empty(); }));
    CHECK(handled == 20);
    CHECK(told.resumed == 1);
    CHECK(told.unparked == 1);
    CHECK(shipping.move_to(0, 10));
    f.sell(1);
    CHECK(eventually([&] { return handled == 32; }));
    CHECK(running.end());
    CHECK(told.moved == 1);
    CHECK(f.cursor().position == 21);
}

TEST_CASE(
    "What a consumer has not read is not trimmed, nor what waits in a parked stream",
    "[patterns][subscription]")
{
    using namespace subscription_trouble_test;
    Fixture f;
    f.sell(20, 2);
    il::Subscription const shipping{f.events, f.cursors, "shipping", quick};
    auto const handler = [&](il::Event const& event) {
        return event.position == 6 ? il::Handling::park : il::Handling::done;
    };
    CHECK(shipping.drain(handler).value() == 12);
    CHECK(f.events.trim(0, 20).value() == 5);
    CHECK(shipping.skip("sku-1"));
    CHECK(shipping.drain(nothing).value() == 7);
    CHECK(f.events.trim(0, 20).value() == 20);
    f.sell(2);
    CHECK(f.events.trim(0, 22).value() == 20);
    CHECK(shipping.forget());
    CHECK(f.events.trim(0, 22).value() == 22);
    CHECK(f.cursors.load("shipping/0").errc() == il::Errc::not_found);

    Told told;
    auto options = quick;
    options.observer = &told;
    f.sell(1);
    il::Subscription const late{f.events, f.cursors, "late", options};
    CHECK(late.drain(nothing).value() == 1);
    CHECK(told.trimmed == 1);
    CHECK(late.move_to(0, 5));
    auto const outcome = late.drain(nothing);
    CHECK(outcome.errc() == il::Errc::corrupt_state);
    CHECK_THAT(outcome.message(), ContainsSubstring("were removed before 'late/0' has read them"));
}

TEST_CASE(
    "What is asked of a subscription by hand is refused where it makes no sense", "[patterns][subscription]")
{
    using namespace subscription_trouble_test;
    Fixture f{2};
    auto const refused = [](auto const& outcome, std::string const& words) {
        CHECK(outcome.errc() == il::Errc::invalid_argument);
        CHECK_THAT(outcome.message(), ContainsSubstring(words));
    };
    for (std::string const name : {"", "a/b"}) {
        il::Subscription const unnamed{f.events, f.cursors, name, quick};
        refused(unnamed.move_to(0, 0), "1 to 200 bytes");
        refused(unnamed.lag(), "1 to 200 bytes");
        refused(unnamed.parked(), "1 to 200 bytes");
        refused(unnamed.resume("sku-0"), "1 to 200 bytes");
        refused(unnamed.forget(), "1 to 200 bytes");
    }
    il::Subscription const shipping{f.events, f.cursors, "shipping", quick};
    refused(shipping.move_to(2, 0), "no partition 2");
    refused(shipping.move_to(0, -1), "below 0");
    CHECK(f.cursors.key_count() == 0);
}

TEST_CASE(
    "An event that was given up does not come again while another one holds the cursor before it",
    "[patterns][subscription]")
{
    using namespace subscription_trouble_test;
    Fixture f;
    f.sell(20, 2);
    il::Subscription const shipping{f.events, f.cursors, "shipping", quick};
    std::atomic<bool> stuck{true};
    std::atomic<int> given_up{0};
    std::atomic<int> handled{0};
    auto const handler = [&](il::Event const& event) -> il::Outcome<void> {
        if (event.number == 1 && event.stream == il::Key{"sku-0"} && stuck)
            return il::Errc::unavailable;  // never parks
        if (event.number == 1 && event.stream == il::Key{"sku-1"}) {
            ++given_up;
            return il::Errc::not_found;
        }
        ++handled;
        return il::success();
    };
    bool const between_two_runs = GENERATE(false, true);
    {
        Runner running{shipping, handler};
        CHECK(eventually([&] { return f.cursor().parked.size() == 1; }));
        CHECK(f.cursor().position == 0);
        if (!between_two_runs) {
            CHECK(shipping.skip("sku-1"));
            CHECK(eventually([&] { return handled == 9; }));
        }
        CHECK(running.end());
    }
    if (between_two_runs)
        CHECK(shipping.skip("sku-1"));
    auto const attempts = given_up.load();
    for (int lease = 0; lease < 2; ++lease) {
        Runner running{shipping, handler};
        CHECK(eventually([&] { return handled >= 9; }));
        std::this_thread::sleep_for(50ms);
        CHECK(running.end());
    }
    CHECK(f.cursor().position == 0);
    stuck = false;
    Runner running{shipping, handler};
    CHECK(eventually([&] { return f.cursor().position == 20 && f.cursor().parked.empty(); }));
    CHECK(running.end());
    CHECK(given_up == attempts);
}

TEST_CASE(
    "A stream that goes on, and whose events are gone, is told of and forgotten", "[patterns][subscription]")
{
    using namespace subscription_trouble_test;
    Fixture f;
    f.sell(12, 2);
    Told told;
    auto options = quick;
    options.observer = &told;
    il::Subscription const shipping{f.events, f.cursors, "shipping", options};
    Runner running{shipping, [](il::Event const& event) {
                       return event.stream == il::Key{"sku-1"} ? il::Handling::park : il::Handling::done;
                   }};
    CHECK(eventually([&] { return f.cursor().position == 12 && f.cursor().parked.size() == 1; }));
    // As if the log had not been told of the consumer in time.
    CHECK(f.events.forget_consumer("shipping"));
    CHECK(f.events.trim(0, 12).value() == 12);
    CHECK(shipping.resume("sku-1"));
    CHECK(eventually([&] { return f.cursor().parked.empty(); }));
    CHECK(told.trimmed >= 1);
    CHECK(running.end());
    CHECK(shipping.drain(nothing).value() == 0);
}

TEST_CASE("A subscription polls at intervals as long as anybody likes", "[patterns][subscription]")
{
    using namespace subscription_trouble_test;
    Fixture f;
    f.sell(2);
    auto options = quick;
    options.poll_most = std::chrono::nanoseconds::max();
    options.event_deadline = options.cursor_every = options.poll_most;
    std::atomic<int> seen{0};
    il::Subscription const patient{f.events, f.cursors, "shipping", options};
    Runner running{patient, [&](il::Event const&) { ++seen; }};
    CHECK(eventually([&] { return seen == 2; }));
    f.sell(1);  // wakes it
    CHECK(eventually([&] { return seen == 3; }));
    CHECK(running.end());
    options.poll_least = options.poll_most;
    CHECK(il::Subscription{f.events, f.cursors, "other", options}.drain(nothing).value() == 3);
}

TEST_CASE("A stream that was resumed may still be told to skip its event", "[patterns][subscription]")
{
    using namespace subscription_trouble_test;
    Fixture f;
    f.sell(12, 2);
    il::Subscription const shipping{f.events, f.cursors, "shipping", quick};
    std::atomic<int> attempts{0};
    std::atomic<int> handled{0};
    auto const handler = [&](il::Event const& event) -> il::Outcome<void> {
        if (event.stream == il::Key{"sku-1"} && event.number == 2) {
            ++attempts;
            return il::Errc::not_found;
        }
        ++handled;
        return il::success();
    };
    CHECK(shipping.drain(handler).value() == 7);
    REQUIRE(shipping.parked().value().size() == 1);
    CHECK(shipping.resume("sku-1"));

    SECTION("before anybody has noticed")
    {
        CHECK(shipping.skip("sku-1"));
        CHECK(shipping.skip("sku-1"));  // gives up nothing more
        CHECK(shipping.parked().value().at(0).number == 3);
        CHECK(shipping.parked().value().at(0).attempts == 0);
        CHECK(shipping.drain(handler).value() == 4);
        CHECK(attempts == 3);
    }
    SECTION("while it is being tried again")
    {
        auto options = quick;
        options.attempts = 1'000'000;
        il::Subscription const stubborn{f.events, f.cursors, "shipping", options};
        Runner running{stubborn, handler};
        CHECK(eventually([&] { return attempts > 5; }));
        CHECK(shipping.skip("sku-1"));
        CHECK(eventually([&] { return f.cursor().parked.empty(); }));
        CHECK(running.end());
    }
    CHECK(shipping.parked().value().empty());
    CHECK(handled == 11);
}

TEST_CASE("The attempts of a parked stream are those at its event", "[patterns][subscription]")
{
    using namespace subscription_trouble_test;
    Fixture f;
    f.sell(5);
    il::Subscription const shipping{f.events, f.cursors, "shipping", quick};
    int bad = 2;
    auto const handler = [&](il::Event const& event) -> il::Outcome<void> {
        return event.number == bad ? il::Outcome<void>{il::Errc::not_found} : il::success();
    };
    CHECK(shipping.drain(handler).value() == 1);
    bad = 4;
    CHECK(shipping.resume("sku-0"));
    CHECK(shipping.drain(handler).value() == 2);
    auto const parked = shipping.parked().value();
    REQUIRE(parked.size() == 1);
    CHECK(parked[0].number == 4);
    CHECK(parked[0].attempts == 3);
}

TEST_CASE("The reason of a parked stream is whole characters", "[patterns][subscription]")
{
    using namespace subscription_trouble_test;
    Fixture f;
    f.sell(2);
    std::string reason = "x";
    while (reason.size() < 400)
        reason += "\xe2\x82\xac";
    auto const refuses = [&](il::Event const&) -> il::Outcome<void> {
        return il::Failure{il::Errc::constraint_violated, reason};
    };
    il::Subscription const shipping{f.events, f.cursors, "shipping", quick};
    CHECK(shipping.drain(refuses).value() == 0);
    auto const whole = [&] {
        auto const error = shipping.parked().value().at(0).error;
        return error.size() > 290 && error.size() <= 300 && il::detail::is_utf8(error);
    };
    CHECK(whole());
    reason += reason;
    CHECK(shipping.resume("sku-0"));
    CHECK(shipping.drain(refuses).value() == 0);
    CHECK(whole());
}

TEST_CASE("A log that was not told of a consumer is told again", "[patterns][subscription]")
{
    using namespace subscription_trouble_test;
    using Action = il::detail::SubscriptionMachine::Action;
    il::detail::SubscriptionTerms terms;
    terms.id = "shipping/0";
    terms.poll_least = terms.poll_most = terms.look_every = 1h;
    terms.note_every = 5s;
    il::detail::SubscriptionMachine machine{terms};
    il::TimePoint now{1h};
    /// The next action that is not a read of nothing.
    auto const next = [&] {
        auto action = machine.next(now, true);
        while (action.kind == Action::Kind::read) {
            machine.read(il::EventPage{}, now, 0);
            action = machine.next(now, true);
        }
        return action;
    };
    REQUIRE(next().kind == Action::Kind::acquire);
    machine.acquired(il::detail::SubscriptionMachine::Found{}, now, 0);
    REQUIRE(next().kind == Action::Kind::note);
    machine.noted(il::Errc::misconfigured);
    CHECK(machine.take_notices().back().code == il::Errc::misconfigured);
    REQUIRE(next().kind == Action::Kind::wait);
    CHECK(next().until == now + 5s);
    now += 5s;
    REQUIRE(next().kind == Action::Kind::note);
    SECTION("until it has heard")
    {
        machine.noted(il::success());
        now += 10s;
        CHECK(next().kind == Action::Kind::wait);
    }
    SECTION("but not when it can never hear")
    {
        machine.noted(il::Failure{il::Errc::invalid_argument, "the name"});
        CHECK(machine.result().errc() == il::Errc::invalid_argument);
        CHECK(machine.stopping());
    }
}

TEST_CASE(
    "A stream that was resumed, and whose event fails again, waits for somebody to ask once more",
    "[patterns][subscription]")
{
    using namespace subscription_trouble_test;
    using Action = il::detail::SubscriptionMachine::Action;
    using il::detail::Attempt;
    il::detail::SubscriptionTerms terms;
    terms.id = "shipping/0";
    terms.attempts = 1;
    terms.look_every = 1s;
    terms.poll_least = terms.poll_most = terms.note_every = 1h;
    terms.trouble = {.initial = 1ms, .cap = 1ms, .immediate = 0};
    il::detail::SubscriptionMachine machine{terms};
    il::TimePoint now{1h};
    // As `resume` has stored it.
    auto const parked = [](std::int64_t attempts, bool resume) {
        return il::Cursor{"shipping/0", 5, 1, {il::Parked{"sku-0", 5, 5, attempts, "no", resume}}, {}};
    };
    auto stored = il::Versioned<il::Cursor>{parked(1, true), 7};
    il::Event event;
    event.stream = il::Key{"sku-0"};
    event.number = event.position = 5;
    int deliveries = 0;
    // Does what is to be done, until there is something to write, or nothing.
    auto const next = [&] {
        for (;;) {
            auto action = machine.next(now, true);
            switch (action.kind) {
            case Action::Kind::acquire: machine.acquired(std::optional{stored}, now, 0); break;
            case Action::Kind::look: machine.looked(std::optional{stored}, now, 0); break;
            case Action::Kind::note: machine.noted(il::success()); break;
            case Action::Kind::read: machine.read(il::EventPage{.events = {}, .next = 5}, now, 0); break;
            case Action::Kind::read_stream:
                machine.read_stream(action.stream, std::vector{event}, now, 0);
                break;
            case Action::Kind::deliver:
                ++deliveries;
                now += 2s;  // by then it is time to look what others have asked for
                machine.handled(action.ticket, Attempt::failed(il::Errc::not_found, "no"), now, 0);
                break;
            default: return action;
            }
            REQUIRE(deliveries < 10);
        }
    };
    auto action = next();
    REQUIRE(action.kind == Action::Kind::write);
    CHECK(action.cursor == parked(2, false));
    CHECK(deliveries == 1);
    SECTION("once that it waits is stored")
    {
        CHECK(action.version == stored.version);
    }
    SECTION("also when that could not be stored at first")
    {
        auto const why =
            GENERATE(il::Errc::unavailable, il::Errc::outcome_unknown, il::Errc::version_conflict);
        CAPTURE(why);
        if (why == il::Errc::version_conflict)  // somebody has asked once more before
            ++stored.version;
        if (why == il::Errc::outcome_unknown)
            machine.written(il::Failure::unknown(il::Errc::unavailable), now, 0);
        else
            machine.written(why, now, 0);
        now += 1s;
        action = next();
        REQUIRE(action.kind == Action::Kind::write);
        CHECK(action.cursor == parked(2, false));
        CHECK(action.version == stored.version);
    }
    SECTION("and it turns out that it was stored, and that somebody has asked since")
    {
        machine.written(il::Failure::unknown(il::Errc::unavailable), now, 0);
        stored = {parked(2, true), stored.version + 2};
        now += 1s;
        action = next();
        REQUIRE(action.kind == Action::Kind::write);
        CHECK(action.cursor == parked(2, true));
        stored = {action.cursor, stored.version + 1};
        machine.written(stored.version, now, 0);
        action = next();
        REQUIRE(action.kind == Action::Kind::write);
        CHECK(action.cursor == parked(3, false));
        CHECK(std::exchange(deliveries, 1) == 2);
    }
    // From here on it is stored; somebody asks in another process.
    stored = {action.cursor, stored.version + 1};
    machine.written(stored.version, now, 0);
    now += 5s;
    CHECK(next().kind == Action::Kind::wait);
    CHECK(deliveries == 1);
    stored.value.parked.at(0).resume = true;
    ++stored.version;
    now += 5s;
    CHECK(next().kind == Action::Kind::write);
    CHECK(deliveries == 2);
}

TEST_CASE("A stream is tried once for each time that it is resumed", "[patterns][subscription]")
{
    using namespace subscription_trouble_test;
    Fixture f;
    f.sell(3);
    il::Subscription const shipping{f.events, f.cursors, "shipping", quick};
    std::atomic<int> attempts{0};
    auto const fails = [&](il::Event const&) -> il::Outcome<void> {
        if (++attempts == 6)
            std::this_thread::sleep_for(1100ms);  // by then it is time to look what others have asked for
        return il::Errc::not_found;
    };
    Runner running{shipping, fails};
    CHECK(eventually([&] { return f.cursor().parked.size() == 1; }));
    CHECK(attempts == 3);
    for (int request = 2; request <= 3; ++request) {
        // As another process does.
        CHECK(il::Subscription{f.events, f.cursors, "shipping", quick}.resume("sku-0"));
        CHECK(eventually([&] {
            auto const parked = f.cursor().parked;
            return !parked.empty() && !parked[0].resume && parked[0].attempts == 3 * request;
        }));
        CHECK(attempts == 3 * request);
    }
    CHECK(running.end());
}

TEST_CASE("A thread that is cancelled in a handler holds nobody up", "[patterns][subscription][unwinding]")
{
    using namespace subscription_trouble_test;
    Fixture f;
    f.sell(6, 2);
    il::Subscription const shipping{f.events, f.cursors, "shipping", quick};
    std::atomic<int> seen{0};
    std::stop_source stop;
    auto const once = [&](auto const& here) {
        return [&](il::Event const& event) {
            if (event.number == 2 && seen.exchange(100) < 100)
                here();
        };
    };
    SECTION("alone")
    {
        CHECK(interlock_test::cancelled_in(
            [&](auto const& here) { static_cast<void>(shipping.run(once(here), stop.get_token())); }));
        Delivered all;
        CHECK(shipping.drain(all, il::Deadline{10s}).has_value());
        Runner running{shipping, [&](il::Event const&) {}};
        CHECK(running.end());
        CHECK(f.cursor().position == 6);
    }
    SECTION("beside others")
    {
        std::atomic<bool> begun{false};
        Delivered all;
        Runner other{shipping, [&](il::Event const& event) {
                         while (!begun)
                             std::this_thread::yield();
                         return all(event);
                     }};
        CHECK(interlock_test::cancelled_in([&](auto const& here) {
            static_cast<void>(shipping.run(
                [&](il::Event const&) {
                    begun = true;
                    here();
                },
                stop.get_token()));
        }));
        CHECK(eventually([&] { return f.cursor().position == 6; }));
        CHECK(other.end());
        CHECK(all.count == 6);
        CHECK(all.in_order);
    }
}
