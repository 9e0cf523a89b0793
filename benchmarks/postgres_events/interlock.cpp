// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/postgres/event_repository.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/interlock.hpp>

#include <boost/describe.hpp>

#include "contestants.hpp"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <mutex>
#include <stdexcept>

namespace {

namespace il = interlock;
using namespace std::chrono_literals;

struct Row {
    std::int64_t id{0};
    int n{0};
};
BOOST_DESCRIBE_STRUCT(Row, (), (id, n))

struct Sold {
    std::int64_t id{0};
    std::string note;
    static constexpr il::EventType event{"stock.sold", 1};
};
BOOST_DESCRIBE_STRUCT(Sold, (), (id, note))

il::postgres::Pool pool_of(Plan const& plan)
{
    auto options = il::postgres::Options::parse(plan.url).value();
    options.max_connections = plan.threads;
    return il::postgres::Pool{options};
}

struct Shop {
    explicit Shop(Plan const& plan) : pool(pool_of(plan)), events(pool) {}
    il::postgres::Pool pool;
    il::postgres::EventRepository events;
    il::postgres::StateRepository<Row> rows{pool, {.table = "rows", .key = "id", .events = events}};
};

auto const alone = [](Row& row) { ++row.n; };
auto const with_event = [](Row& row, il::Recorder& record) {
    ++row.n;
    record(Sold{row.id, std::string(180, 'x')});
};

template <class Policy, class F>
double changes(Plan const& plan, Policy policy, F const& change)
{
    Shop const shop{plan};
    il::TransactionService const service{policy, shop.rows, {.combine = 1}};
    return per_second(plan, [&](std::size_t) -> std::function<void(std::uint64_t)> {
        return [&](std::uint64_t random) {
            service.do_in_transaction(1 + static_cast<std::int64_t>(random % 1000), change);
        };
    });
}

/// Wakes the thread that waits.
class Bell final : public il::Waiter {
public:
    void wake() noexcept override
    {
        std::lock_guard const lock(mutex_);
        rung_ = true;
        changed_.notify_one();
    }
    void wait(std::chrono::milliseconds most)
    {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, most, [&] { return rung_; });
        rung_ = false;
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool rung_{false};
};

}  // namespace

double interlock_append(Plan const& plan)
{
    Shop const shop{plan};
    return per_second(plan, [&](std::size_t) -> std::function<void(std::uint64_t)> {
        return [&](std::uint64_t random) {
            il::NewEvent event;
            event.type = "stock.sold";
            event.data = std::string(200, 'x');
            il::Key const stream{"order-" + std::to_string(random % 100'000'000)};
            shop.events.append(stream, il::Expected::any(), std::array{event}).value();
        };
    });
}

double optimistic_state(Plan const& plan)
{
    return changes(plan, il::OptimisticVersioning{.max_attempts = 100}, alone);
}
double optimistic_state_and_event(Plan const& plan)
{
    return changes(plan, il::OptimisticVersioning{.max_attempts = 100}, with_event);
}
double row_lock_state(Plan const& plan)
{
    return changes(plan, il::PessimisticRowLock{}, alone);
}
double row_lock_state_and_event(Plan const& plan)
{
    return changes(plan, il::PessimisticRowLock{}, with_event);
}

std::vector<double> until_read(Plan const& plan, bool elsewhere)
{
    using clock = std::chrono::steady_clock;
    Shop const shop{plan};
    il::postgres::EventRepository const reader =
        elsewhere ? il::postgres::EventRepository{pool_of(plan)} : shop.events;
    Bell bell;
    reader.subscribe(0, bell);
    auto place = reader.extent(0).value().last;
    std::this_thread::sleep_for(200ms);  // it listens by now
    std::atomic<std::int64_t> sent{0};
    std::vector<double> times;
    auto const count = std::max(3, static_cast<int>(plan.seconds * 50));
    std::thread reading{[&] {
        while (static_cast<int>(times.size()) < count) {
            auto const page = reader.read(0, place).value();
            auto const now = clock::now().time_since_epoch().count();
            for (std::size_t i = 0; i < page.events.size(); ++i)
                times.push_back(static_cast<double>(now - sent) / 1e6);
            place = page.next;
            if (page.events.empty())
                bell.wait(1000ms);
        }
    }};
    il::TransactionService const service{il::OptimisticVersioning{}, shop.rows};
    for (int i = 0; i < count; ++i) {
        sent = clock::now().time_since_epoch().count();
        service.do_in_transaction(std::int64_t{1}, with_event);
        std::this_thread::sleep_for(15ms);
    }
    reading.join();
    reader.unsubscribe(0, bell);
    std::sort(times.begin(), times.end());
    return times;
}
