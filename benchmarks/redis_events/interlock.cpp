// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/redis/event_repository.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/interlock.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/describe/class.hpp>

#include "contestants.hpp"

#include <chrono>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace interlock;
namespace asio = boost::asio;
using clock_type = std::chrono::steady_clock;

struct Stock {
    std::string sku;
    int quantity{0};
    std::string note;
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity, note))

struct Sold {
    std::string sku;
    std::string note;
    static constexpr EventType event{"stock.sold", 1};
};
BOOST_DESCRIBE_STRUCT(Sold, (), (sku, note))

/// `at_once` states, each updated by `operation` as soon as the update before it is committed.
template <class Operation>
double updates(Plan const& plan, char const* kind, Operation const& operation)
{
    asio::io_context io{1};
    redis::Client const client{io, plan.options(kind)};
    redis::EventRepository const events{client};
    redis::StateRepository<Stock> const stock{client, {.events = events}};
    TransactionService const service{OptimisticVersioning{.remember = 2 * at_once}, stock};
    std::vector<std::string> keys;
    for (int i = 0; i < at_once; ++i) {
        keys.push_back("sku-" + std::to_string(i));
        static_cast<void>(stock.insert(Stock{keys.back(), 0, std::string(80, 's')}).value());
    }
    auto const begin = clock_type::now();
    auto const end = plan.end(begin);
    long count = 0;
    std::function<void(std::string const&)> update = [&](std::string const& key) {
        service.async_do_in_transaction(
            key, operation, asio::bind_executor(io, [&, key](std::exception_ptr failed, int) {
                if (failed)
                    std::rethrow_exception(failed);
                ++count;
                if (clock_type::now() < end)
                    update(key);
            }));
    };
    for (auto const& key : keys)
        update(key);
    io.run();
    return bench::per_second_since(begin, count);
}

}  // namespace

double commits(Plan const& plan)
{
    return updates(plan, "commits", [](Stock& stock) { return ++stock.quantity; });
}

double commits_with_events(Plan const& plan)
{
    return updates(plan, "recorded", [](Stock& stock, Recorder& record) {
        record(Sold{stock.sku, std::string(180, 'e')});
        return ++stock.quantity;
    });
}

std::string fill(Plan const& plan, char const* kind)
{
    auto const options = plan.options(kind);
    redis::EventRepository const events{redis::Client{options}};
    std::vector<NewEvent> some;
    for (int i = 0; i < 1000; ++i)
        some.push_back(new_event(Sold{"sku", std::string(180, 'e')}));
    for (int i = 0; i < events_in_log; i += 1000)
        static_cast<void>(events.append(Key{"sku"}, Expected::any(), some).value());
    return "v1:{" + options.name_space + ".0}:log";
}

double interlock_read(Plan const& plan)
{
    fill(plan, "read");
    redis::EventRepository const events{redis::Client{plan.options("read")}};
    auto const begin = clock_type::now();
    auto const end = plan.end(begin);
    long count = 0;
    do {
        for (Position at = 0;;) {
            auto const page = events.read(0, at, events_in_batch).value();
            count += static_cast<long>(page.events.size());
            at = page.next;
            if (!page.more)
                break;
        }
        if (count % events_in_log != 0)
            throw std::runtime_error("an event is missing");
    } while (clock_type::now() < end);
    return bench::per_second_since(begin, count);
}
