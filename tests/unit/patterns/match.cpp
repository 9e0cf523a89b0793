// SPDX-License-Identifier: BSL-1.0

// Which function is called for an event, and what becomes of an event that nobody knows.

#include <interlock/patterns/match.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/describe/class.hpp>

#include "support/catch.hpp"

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace match_test {

using namespace interlock;

struct SoldV1 {
    std::string sku;
    int pieces{0};
    static constexpr EventType event{"stock.sold", 1};
};
BOOST_DESCRIBE_STRUCT(SoldV1, (), (sku, pieces))
struct Sold {
    std::string sku;
    int quantity{0};
    static constexpr EventType event{"stock.sold", 2};
    static Sold upcast(SoldV1 const& old) { return {old.sku, old.pieces}; }
};
BOOST_DESCRIBE_STRUCT(Sold, (), (sku, quantity))
struct Reordered {
    std::string sku;
    static constexpr EventType event{"stock.reordered", 1};
};
BOOST_DESCRIBE_STRUCT(Reordered, (), (sku))

template <Fact F>
Event stored(F const& fact)
{
    auto const made = new_event(fact);
    Event event;
    event.type = made.type;
    event.version = made.version;
    event.data = made.data;
    return event;
}
Event later()
{
    auto event = stored(Sold{"x", 1});
    event.version = 9;
    return event;
}

TEST_CASE("the function for the fact is called, former versions included", "[patterns][match]")
{
    std::vector<int> called;
    auto const run = [&](Event const& event) {
        called.clear();
        auto const outcome = match(
            event, [&](Reordered const&) { called.push_back(-1); },
            [&](Sold const& sold) { called.push_back(sold.quantity); });
        return outcome && *outcome == Handling::done;
    };
    CHECK(run(stored(Sold{"x", 7})));
    CHECK(called == std::vector{7});
    CHECK(run(stored(SoldV1{"x", 8})));
    CHECK(called == std::vector{8});
    CHECK(run(stored(Reordered{"x"})));
    CHECK(called == std::vector{-1});
}

TEST_CASE("a function for just this version goes first", "[patterns][match]")
{
    int first = 0;
    int second = 0;
    auto const run = [&](Event const& event) {
        static_cast<void>(
            match(event, [&](Sold) { ++second; }, [&](SoldV1 const& old) { first = old.pieces; }));
    };
    run(stored(SoldV1{"x", 3}));
    CHECK(first == 3);
    CHECK(second == 0);
    run(stored(Sold{"x", 3}));
    CHECK(second == 1);
}

TEST_CASE("what nobody knows is what the caller says", "[patterns][match]")
{
    auto const sold = [](Sold const&) {};
    for (auto const& event : {stored(Reordered{"x"}), later()}) {
        CHECK(match(event, sold).value() == Handling::park);
        CHECK(match(event, sold, otherwise::park).value() == Handling::park);
        CHECK(match(event, sold, otherwise::ignore).value() == Handling::ignore);
        auto const refused = match(event, sold, otherwise::refuse);
        CHECK_FALSE(refused);
        CHECK_THAT(refused.detail(), Catch::Matchers::ContainsSubstring(event.type));
    }
    CHECK(match(stored(Reordered{"x"}), sold, otherwise::refuse).errc() == Errc::invalid_argument);
    CHECK(match(later(), sold, otherwise::refuse).errc() == Errc::corrupt_state);
    CHECK(match(later(), otherwise::ignore).value() == Handling::ignore);
}

TEST_CASE("damaged bytes are not hidden", "[patterns][match]")
{
    for (auto event : {stored(Sold{"x", 1}), stored(SoldV1{"x", 1})}) {
        event.data.pop_back();
        bool called = false;
        auto const outcome = match(event, [&](Sold const&) { called = true; }, otherwise::ignore);
        CHECK(outcome.errc() == Errc::corrupt_state);
        CHECK_FALSE(called);
    }
}

TEST_CASE("the answer of the function is the answer", "[patterns][match]")
{
    auto const event = stored(Sold{"x", 1});
    CHECK(match(event, [](Sold const&) { return Handling::park; }).value() == Handling::park);
    CHECK(match(event, [](Sold const&) { return Outcome<int>{3}; }).value() == Handling::done);
    CHECK(match(event, [](Sold const&) {
              return Outcome<void>{Errc::unavailable};
          }).errc() == Errc::unavailable);
    CHECK(match(event, [](Sold const&) {
              return Outcome<Handling>{Handling::ignore};
          }).value() == Handling::ignore);
    CHECK_THROWS_AS(match(event, [](Sold const&) { throw std::runtime_error("mine"); }), std::runtime_error);
    // A function object that changes, and a function.
    struct Counting {
        int count{0};
        void operator()(Sold const&) noexcept { ++count; }
    } counting;
    CHECK(match(event, counting).value() == Handling::done);
    CHECK(counting.count == 1);
    void (*const function)(Sold const&) = [](Sold const&) {};
    CHECK(match(event, function).value() == Handling::done);
}

/// What a handler of a subscription that blocks no thread does: the functions are temporaries of its own.
template <class M>
Outcome<Handling> awaited(M make)
{
    boost::asio::io_context io;
    auto result = boost::asio::co_spawn(io, make, boost::asio::use_future);
    io.run();
    return result.get();
}
boost::asio::awaitable<void> turn()
{
    co_await boost::asio::post(co_await boost::asio::this_coro::executor, boost::asio::use_awaitable);
}

TEST_CASE("functions may be coroutines", "[patterns][match]")
{
    std::vector<int> called;
    Outcome<void> answer{success()};
    auto const handler = [&](Event const& event) {
        return match(
            event,
            [&](Sold const& sold) -> boost::asio::awaitable<void> {
                co_await turn();
                called.push_back(sold.quantity);
                if (sold.quantity < 0)
                    throw std::runtime_error("mine");
            },
            [&](SoldV1 const& sold) -> boost::asio::awaitable<Outcome<void>> {
                co_await turn();
                called.push_back(sold.pieces);
                co_return answer;
            },
            [&](Reordered const&) { called.push_back(0); });
    };
    auto const run = [&](Event const& event) { return awaited([&] { return handler(event); }); };
    CHECK(run(stored(Sold{"x", 7})).value() == Handling::done);
    CHECK(run(stored(SoldV1{"x", 8})).value() == Handling::done);
    CHECK(run(stored(Reordered{"x"})).value() == Handling::done);
    CHECK(called == std::vector{7, 8, 0});
    answer = Errc::unavailable;
    CHECK(run(stored(SoldV1{"x", 8})).errc() == Errc::unavailable);
    CHECK(run(later()).value() == Handling::park);
    CHECK_THROWS_AS(run(stored(Sold{"x", -1})), std::runtime_error);
    auto damaged = stored(Sold{"x", 1});
    damaged.data.pop_back();
    CHECK(run(damaged).errc() == Errc::corrupt_state);

    // A function with a name is not copied; a text that a temporary owns stays until the end.
    struct Counting {
        int count{0};
        boost::asio::awaitable<Handling> operator()(Sold)
        {
            co_await turn();
            ++count;
            co_return Handling::ignore;
        }
    } counting;
    std::string const text(100, 'x');
    std::string seen;
    auto const reordered = [text, &seen](Reordered const&) -> boost::asio::awaitable<void> {
        co_await turn();
        seen = text;
    };
    auto const sold = stored(Sold{"x", 1});
    auto const again = stored(Reordered{"x"});
    CHECK(awaited([&] { return match(sold, counting, reordered); }).value() == Handling::ignore);
    CHECK(counting.count == 1);
    CHECK(awaited([&] { return match(again, counting, reordered); }).value() == Handling::done);
    CHECK(seen == text);
    CHECK(awaited([&] { return match(again, counting, otherwise::ignore); }).value() == Handling::ignore);
}

}  // namespace match_test
