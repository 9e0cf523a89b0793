// SPDX-License-Identifier: BSL-1.0

// What a relay makes of what its sink answers.

#include <interlock/patterns/relay.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>

#include "support/catch.hpp"
#include "unit/patterns/subscription.hpp"

#include <optional>
#include <stdexcept>
#include <stop_token>
#include <utility>

namespace relay_test {

using namespace subscription_test;
namespace asio = boost::asio;

/// A broker that fails far more often than `quick.attempts`, and then takes what comes.
struct Broker {
    explicit Broker(il::Failure with) : failure(std::move(with)) {}
    il::Outcome<void> publish()
    {
        ++calls;
        if (calls <= 3 * quick.attempts)
            return failure;
        return il::success();
    }
    il::Failure failure;
    int calls{0};
};

/// Whether a stream is parked after `failure` has been the answer to one event for many times.
bool parks(il::Failure const& failure)
{
    Fixture f;
    f.sell(1);
    Broker broker{failure};
    il::Relay const relay{
        f.events, f.cursors, "broker", [&](il::Event const&) { return broker.publish(); }, quick};
    auto const handled = relay.drain().value();
    bool const parked = !relay.subscription().parked().value().empty();
    CHECK(handled == (parked ? 0 : 1));

    Broker thrown{failure};
    il::Relay const throwing{
        f.events, f.cursors, "throwing", [&](il::Event const&) { thrown.publish().value(); }, quick};
    CHECK(throwing.drain().value() == handled);
    CHECK(throwing.subscription().parked().value().empty() != parked);
    return parked;
}

/// The same of a sink that awaits.
bool parks_awaited(il::Failure const& failure, bool throws)
{
    Fixture f;
    f.sell(1);
    Broker broker{failure};
    auto const sink = [&](il::Event const&) -> asio::awaitable<il::Outcome<void>> {
        auto answer = broker.publish();
        if (throws)
            answer.value();
        co_return answer;
    };
    il::Relay const relay{f.events, f.cursors, "broker", sink, quick};
    asio::io_context context;
    std::stop_source stop;
    std::optional<il::Outcome<void>> ended;
    relay.async_run(
        stop, asio::bind_executor(context, [&](il::Outcome<void> outcome) { ended = std::move(outcome); }));
    bool parked = false;
    for (int i = 0; i < 20'000 && relay.subscription().lag().value() > 0; ++i)
        context.run_one_for(10ms);
    parked = !relay.subscription().parked().value().empty();
    stop.request_stop();
    context.run();
    REQUIRE(ended);
    CHECK(*ended);
    return parked;
}

}  // namespace relay_test

TEST_CASE("A relay parks no stream because its broker does not answer", "[patterns][relay]")
{
    using namespace relay_test;
    using il::Errc;
    for (auto const code : {Errc::unavailable, Errc::deadline_exceeded, Errc::overloaded}) {
        CHECK_FALSE(parks(il::Failure{code, "the broker"}));
        CHECK_FALSE(parks_awaited(il::Failure{code, "the broker"}, false));
    }
    for (auto const cause : {Errc::ok, Errc::unavailable, Errc::deadline_exceeded})
        CHECK_FALSE(parks(il::Failure::unknown(cause, "the broker")));
    CHECK_FALSE(parks_awaited(il::Failure::unknown(Errc::unavailable, "lost"), false));
    CHECK_FALSE(parks_awaited(il::Failure::unknown(Errc::unavailable, "lost"), true));
}

TEST_CASE("A relay parks a stream whose event the broker refuses", "[patterns][relay]")
{
    using namespace relay_test;
    using il::Errc;
    for (auto const code : {Errc::invalid_argument, Errc::misconfigured, Errc::constraint_violated})
        CHECK(parks(il::Failure{code, "the event"}));
    CHECK(parks(il::Failure::unknown(Errc::misconfigured, "a script")));
    CHECK(parks_awaited(il::Failure{Errc::invalid_argument, "the event"}, false));
    CHECK(parks_awaited(il::Failure{Errc::invalid_argument, "the event"}, true));
}

TEST_CASE("What a relay's sink throws that is no error of ours counts", "[patterns][relay]")
{
    using namespace relay_test;
    Fixture f;
    f.sell(1);
    il::Relay const relay{
        f.events, f.cursors, "broker", [](il::Event const&) { throw std::runtime_error("no"); }, quick};
    CHECK(relay.drain().value() == 0);
    CHECK(relay.subscription().parked().value().size() == 1);
}
