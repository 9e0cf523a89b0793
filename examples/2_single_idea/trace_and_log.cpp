// SPDX-License-Identifier: BSL-1.0

// Shows how a request's trace goes through a transaction into a log, and a run as a picture of who held what.
// Needs: nothing.
// Run with: trace_and_log

#include <interlock/interlock.hpp>
#include <interlock/observability/log.hpp>
#include <interlock/observability/observers.hpp>
#include <interlock/observability/timeline.hpp>
#include <interlock/observability/trace_context.hpp>

#include <boost/describe.hpp>
#include <fmt/format.h>

#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity = 0;
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

void check(bool ok)  // like assert, but in release builds, too
{
    if (!ok)
        std::abort();
}

int main()
{
    std::vector<std::string> lines;
    // #region listen
    il::LogObserver log{
        [&](il::LogLevel level, std::string_view line) {
            lines.push_back(fmt::format("{:<7} {}", il::name_of(level), line));
        },
        {.least = il::LogLevel::debug}};
    il::TimelineObserver timeline;
    il::Observers both{{&log, &timeline}};
    il::memory::StateRepository<Stock> stock;
    il::TransactionService service{il::SetNxLock{}, stock, {.observer = &both}};
    // #endregion listen
    stock.insert({"sku-1", 400}).value();

    // #region trace
    // The header of a request, or a trace that begins here.
    il::SystemRuntime const runtime;
    auto const header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    auto const caller = il::TraceContext::parse(header);
    auto const bits = [&] { return runtime.random_bits(); };
    auto const mine = caller ? caller->child(bits()) : il::TraceContext::root(bits(), bits(), bits());

    il::Cause const cause{"order-17", "request-4711", mine.traceparent()};
    service.do_in_transaction("sku-1", [](Stock& s) { --s.quantity; }, {.cause = &cause, .name = "sell"});
    // #endregion trace

    for (auto const& line : lines)
        fmt::print("{}\n", line);
    check(lines.size() == 3);
    check(lines.back().find("event=transaction policy=set_nx_lock store=memory") != std::string::npos);
    check(lines.back().find(mine.traceparent() + " correlation=order-17") != std::string::npos);
    check(timeline.json().find("\"name\":\"held\"") != std::string::npos);
}
