// SPDX-License-Identifier: BSL-1.0

// How far a subscription is, where one that is new begins, and the line for those who wait.

#include <interlock/patterns/progress_line.hpp>

#include "support/catch.hpp"
#include "unit/patterns/subscription.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace subscription_progress_test {

using namespace subscription_test;

struct Reports final : il::SubscriptionObserver {
    void on_report(il::PartitionReport const& report) noexcept override
    {
        std::lock_guard const lock(mutex);
        all.push_back(report);
    }
    il::PartitionReport last()
    {
        std::lock_guard const lock(mutex);
        return all.empty() ? il::PartitionReport{} : all.back();
    }
    std::mutex mutex;
    std::vector<il::PartitionReport> all;
};

il::PartitionReport report_of(unsigned partition, std::size_t handled, il::Position lag, double rate)
{
    il::PartitionReport report;
    report.consumer = "shipping";
    report.partition = partition;
    report.handled = handled;
    report.lag = lag;
    report.handled_per_second = rate;
    return report;
}

}  // namespace subscription_progress_test

TEST_CASE("A subscription says how far it is", "[patterns][subscription][report]")
{
    using namespace subscription_progress_test;
    Fixture f;
    f.sell(100, 4);
    Reports reports;
    auto options = quick;
    options.batch = 10;
    options.report_every = 1ms;
    options.observer = &reports;
    il::Subscription const shipping{f.events, f.cursors, "shipping", options};
    Runner running{shipping, [&](il::Event const& event) {
                       if (event.stream == il::Key{"sku-1"})
                           return il::Handling::park;
                       std::this_thread::sleep_for(1ms);
                       return il::Handling::done;
                   }};
    REQUIRE(eventually([&] { return reports.last().position > 0; }));
    {
        std::lock_guard const lock(reports.mutex);
        CHECK(reports.all.front().consumer == "shipping");
        CHECK(reports.all.front().lag > 0);
        CHECK(reports.all.front().lag <= 100);
        CHECK(reports.all.front().handled_per_second == 0);
    }
    CHECK(eventually([&] { return reports.last().position == 100; }));
    CHECK(running.end());
    auto const last = reports.last();
    CHECK(last.lag == 0);
    CHECK(last.lag_time == 0ns);
    CHECK(last.parked == 1);
    CHECK(last.waiting == 0);
    CHECK(last.handled == 75);
    bool any_rate = false;
    for (auto const& report : reports.all)
        any_rate = any_rate || report.handled_per_second > 0;
    CHECK(any_rate);
}

TEST_CASE("Events are counted where positions are something else", "[patterns][subscription][report]")
{
    using namespace subscription_progress_test;
    il::detail::EventDensity density;
    CHECK(!density.between(0, 5));
    CHECK(density.between(5, 5) == 0);
    std::vector<il::Event> page(5);
    for (std::size_t i = 0; i < page.size(); ++i)
        page[i].position = 1'000'000 + static_cast<il::Position>(i) * 1000;
    density.learn({page.data(), 1});
    CHECK(density.between(1'000'000, 9'000'000) == 1);
    density.learn(page);
    CHECK(density.between(1'004'000, 1'104'000) == 100);
    CHECK(density.between(1'004'000, 1'004'001) == 1);
}

TEST_CASE("What holds a partition up is seen in its lag in time", "[patterns][subscription][report]")
{
    using namespace subscription_progress_test;
    Fixture f;
    f.sell(5);
    Reports reports;
    auto options = quick;
    options.report_every = 1ms;
    options.observer = &reports;
    options.attempts = 1000000;
    il::Subscription const shipping{f.events, f.cursors, "shipping", options};
    Runner running{shipping, [&](il::Event const& event) -> il::Outcome<void> {
                       if (event.position == 3)
                           return il::Errc::unavailable;
                       return il::success();
                   }};
    CHECK(eventually([&] { return reports.last().lag_time > 50ms; }));
    CHECK(reports.last().lag == 3);
    CHECK(reports.last().waiting == 3);
    CHECK(running.end());
}

TEST_CASE("A consumer that is new may begin at the end", "[patterns][subscription][start]")
{
    using namespace subscription_progress_test;
    Fixture f{2};
    auto options = quick;
    options.start = il::Start::end;
    il::Subscription const late{f.events, f.cursors, "shipping", options};
    Delivered delivered;
    SECTION("of what is there")
    {
        f.sell(20, 4);
        CHECK(late.drain(nothing).value() == 0);
        CHECK(f.cursor(0).position + f.cursor(1).position == 20);
        f.sell(3, 4);
        // From now on it has a cursor, whatever it asks for.
        CHECK(late.drain(nothing).value() == 3);
        CHECK(late.drain(nothing).value() == 0);
    }
    SECTION("of an empty log")
    {
        CHECK(late.drain(nothing).value() == 0);
        CHECK(f.cursors.load("shipping/0"));
        f.sell(3);
        CHECK(late.drain(nothing).value() == 3);
    }
    SECTION("and is given nothing before its cursor is stored")
    {
        f.sell(20, 4);
        // The store of the cursors refuses the first write: somebody has put a cursor there meanwhile.
        CHECK(late.move_to(0, 0));
        CHECK(late.move_to(1, 0));
        CHECK(late.drain(nothing).value() == 20);
    }
    SECTION("or at a position of its own")
    {
        f.sell(20, 1);
        unsigned const partition = il::partition_of("sku-0", 2);
        CHECK(late.move_to(partition, 15));
        CHECK(late.drain(nothing).value() == 5);
    }
    SECTION("after it was forgotten, too")
    {
        f.sell(20, 4);
        CHECK(late.drain(nothing).value() == 0);
        f.sell(5, 4);
        CHECK(late.forget());
        CHECK(late.drain(nothing).value() == 0);
    }
}

TEST_CASE("A progress line tells how long a catch-up takes", "[patterns][progress]")
{
    using namespace subscription_progress_test;
    std::ostringstream out;
    auto const said = [&] {
        auto const text = out.str();
        out.str("");
        return text;
    };
    SECTION("where it is asked to")
    {
        il::ProgressLine line{out, il::ProgressLine::Show::always};
        line.on_report(report_of(0, 0, 600'000, 0));
        line.on_report(report_of(1, 0, 400'000, 0));
        CHECK(said().empty());
        line.on_report(report_of(0, 80'000, 520'000, 30'000));
        CHECK(said() == "shipping: 0 of 1,000,000 events, 0/s\n");
        line.on_report(report_of(1, 40'000, 360'000, 15'000));
        CHECK(said().empty());
        line.on_report(report_of(0, 80'000, 520'000, 30'000));
        CHECK(said() == "shipping: 120,000 of 1,000,000 events, 45,000/s, 20 s left\n");
        il::PartitionNotice handed_over;
        handed_over.partition = 1;
        line.on_handed_over(handed_over);
        line.on_report(report_of(0, 600'000, 0, 30'000));
        CHECK(
            said() ==
            "shipping: 120,000 of 640,000 events, 30,000/s, 18 s left\n"
            "shipping: 640,000 of 640,000 events, caught up\n");
        line.on_report(report_of(0, 600'000, 999, 30'000));
        line.on_report(report_of(0, 600'000, 999, 30'000));
        CHECK(said().empty());
    }
    SECTION("and nowhere else")
    {
        il::ProgressLine line{out};
        for (int i = 0; i < 3; ++i)
            line.on_report(report_of(0, 0, 600'000, 10));
        CHECK(said().empty());
    }
    CHECK(il::detail::grouped(999) == "999");
    CHECK(il::detail::grouped(1'234'567) == "1,234,567");
    CHECK(il::detail::rough_time(0.2) == "1 s");
    CHECK(il::detail::rough_time(600) == "10 min");
    CHECK(il::detail::rough_time(36'000) == "10 h");
}

TEST_CASE("What takes long says how far it is, and nothing at first", "[patterns][progress]")
{
    using namespace subscription_progress_test;
    std::ostringstream out;
    auto const pace = [](std::chrono::nanoseconds at_first, std::chrono::nanoseconds then) {
        return il::Progress::Pace{at_first, then};
    };
    SECTION("not before its time")
    {
        il::Progress progress{out, "import", 100, "rows", il::Progress::Show::always, pace(1h, 0ns)};
        progress.add(50);
        CHECK(out.str().empty());
    }
    SECTION("then with rate and time left, once for each pause")
    {
        il::Progress progress{out, "import", 1'000'000, "rows", il::Progress::Show::always, pace(0ns, 1h)};
        std::this_thread::sleep_for(10ms);
        progress.add(10);
        progress.add(10);
        auto const line = out.str();
        CHECK_THAT(line, Catch::Matchers::StartsWith("import: 10 of 1,000,000 rows, "));
        CHECK_THAT(line, Catch::Matchers::EndsWith(" left\n"));
        CHECK(std::count(line.begin(), line.end(), '\n') == 1);
    }
    SECTION("and never where nobody looks")
    {
        il::Progress progress{out, "import", 100, "rows", il::Progress::Show::on_terminal, pace(0ns, 0ns)};
        progress.add(50);
        CHECK(out.str().empty());
    }
    CHECK(il::detail::progress_text(5, 0, "rows", 2) == "5 rows, 2.0/s");
    CHECK(il::detail::progress_text(34, 120, "s", 1) == "34 of 120 s, 86 s left");
    CHECK(il::detail::progress_text(3, 8, "runs", 0.25) == "3 of 8 runs, 0.3/s, 20 s left");
    CHECK(il::detail::progress_text(8, 8, "runs", 12) == "8 of 8 runs, 12/s");
    CHECK(il::detail::progress_text(0, 8, "runs", 0) == "0 of 8 runs, 0/s");
    // What is no number, or too large for one, is told all the same.
    CHECK(il::detail::rough_time(1e30) == "9,000,000,000,000,000,000 h");
    CHECK(il::detail::rate_text(0.0 / std::chrono::duration<double>(0s).count()) == "0/s");
    CHECK(il::detail::rate_text(1e300) == "9,000,000,000,000,000,000/s");
}

TEST_CASE("A subscription feeds a progress line", "[patterns][progress]")
{
    using namespace subscription_progress_test;
    Fixture f;
    f.sell(3000, 10);
    std::ostringstream out;
    il::ProgressLine line{out, il::ProgressLine::Show::always};
    auto options = quick;
    options.report_every = 1ms;
    options.observer = &line;
    il::Subscription const shipping{f.events, f.cursors, "shipping", options};
    std::atomic<int> handled{0};
    {
        Runner running{shipping, [&](il::Event const& event) {
                           if (event.position % 100 == 0)
                               std::this_thread::sleep_for(1ms);
                           ++handled;
                       }};
        CHECK(eventually([&] { return handled == 3000; }));
        std::this_thread::sleep_for(100ms);
        CHECK(running.end());
    }
    CHECK_THAT(out.str(), Catch::Matchers::ContainsSubstring("shipping: "));
    CHECK_THAT(out.str(), Catch::Matchers::ContainsSubstring("3,000 of 3,000 events, caught up\n"));
}
