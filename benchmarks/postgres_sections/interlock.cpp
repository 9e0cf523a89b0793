// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/postgres/idempotency_store.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/interlock.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/describe.hpp>

#include "contestants.hpp"

#include <algorithm>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <numeric>

namespace {

namespace il = interlock;

struct Row {
    std::int64_t id{0};
    int n{0};
};
BOOST_DESCRIBE_STRUCT(Row, (), (id, n))

struct Shop {
    explicit Shop(Plan const& plan) : pool(options(plan)) {}
    static il::postgres::Options options(Plan const& plan)
    {
        auto options = il::postgres::Options::parse(plan.url).value();
        options.max_connections = plan.threads;
        return options;
    }
    long sum() const
    {
        long all = 0;
        il::TransactionService{il::PessimisticRowLock{}, rows}.do_in_transaction(
            std::int64_t{1}, [&](Row&, il::postgres::Transaction& tx) {
                all = tx.exec("SELECT sum(n) FROM rows").value<long>();
            });
        return all;
    }
    il::postgres::Pool pool;
    il::postgres::StateRepository<Row> rows{pool, {.table = "rows", .key = "id"}};
};

void increment(Row& row)
{
    ++row.n;
}

template <class Policy>
double measure(Plan const& plan, Policy policy, il::ServiceOptions options = {})
{
    Shop const shop{plan};
    il::TransactionService const service{policy, shop.rows, options};
    return per_second(
        plan,
        [&](std::size_t) {
            return [&](std::int64_t id) {
                service.do_in_transaction(id, increment, {.deadline = std::chrono::seconds{60}});
            };
        },
        [&] { return shop.sum(); });
}

template <class Policy>
double measure_requests(Plan const& plan, Shop const& shop, Policy policy)
{
    il::TransactionService const service{std::move(policy), shop.rows};
    auto const run = std::to_string(il::SystemRuntime::random_bits());
    return per_second(
        plan,
        [&](std::size_t t) {
            return [&, scope = il::Scope(run + "-" + std::to_string(t)), i = 0](std::int64_t id) mutable {
                service.do_in_transaction(
                    il::IdempotentRequest(std::to_string(++i), scope), id, [](Row& row) { return ++row.n; },
                    {.deadline = std::chrono::seconds{60}});
            };
        },
        [&] { return shop.sum(); });
}

}  // namespace

double interlock_optimistic(Plan const& plan)
{
    return measure(plan, il::OptimisticVersioning{});
}
double interlock_remembering(Plan const& plan)
{
    return measure(plan, il::OptimisticVersioning{.remember = static_cast<std::size_t>(plan.keys)});
}
double interlock_row_lock(Plan const& plan)
{
    return measure(plan, il::PessimisticRowLock{});
}
double interlock_lease(Plan const& plan)
{
    return measure(plan, il::SetNxLock{});
}
double alone_optimistic(Plan const& plan)
{
    return measure(plan, il::OptimisticVersioning{}, {.combine = 1});
}
double alone_row_lock(Plan const& plan)
{
    return measure(plan, il::PessimisticRowLock{}, {.combine = 1});
}
double alone_lease(Plan const& plan)
{
    return measure(plan, il::SetNxLock{}, {.combine = 1});
}
double interlock_in_transaction(Plan const& plan)
{
    Shop const shop{plan};
    return measure_requests(
        plan, shop,
        il::IdempotencyInTransaction{
            il::PessimisticRowLock{}, il::postgres::TransactionalIdempotencyStore{shop.pool}});
}
double interlock_leased_keys(Plan const& plan)
{
    Shop const shop{plan};
    return measure_requests(
        plan, shop, il::IdempotencyKeys{il::PessimisticRowLock{}, il::postgres::IdempotencyStore{shop.pool}});
}

namespace {

template <class Service>
boost::asio::awaitable<void> call_again_and_again(
    Service const& service, std::int64_t id, bool const& stop, long& changes, std::size_t& begun)
{
    while (!stop) {
        co_await service.async_do_in_transaction(
            id, increment, il::CallOptions{.deadline = std::chrono::seconds{60}}, boost::asio::use_awaitable);
        if (++changes == 1)
            ++begun;
    }
}

double threads_now()
{
    return static_cast<double>(std::distance(std::filesystem::directory_iterator("/proc/self/task"), {}));
}
double resident_pages()
{
    std::ifstream file("/proc/self/statm");
    double size = 0;
    double resident = 0;
    file >> size >> resident;
    return resident;
}

}  // namespace

Crowd interlock_crowd(Plan const& plan, std::size_t callers)
{
    Shop const shop{plan};
    il::TransactionService const service{il::PessimisticRowLock{}, shop.rows};
    boost::asio::io_context context{1};
    std::vector<long> changes(callers);
    std::size_t begun = 0;
    bool stop = false;
    auto const sum_before = shop.sum();
    auto const threads_before = threads_now();
    std::exception_ptr failed;
    for (std::size_t i = 0; i < callers; ++i)
        boost::asio::co_spawn(
            context, call_again_and_again(service, static_cast<std::int64_t>(i) + 1, stop, changes[i], begun),
            [&](std::exception_ptr exception) { failed = exception ? exception : failed; });
    while (begun < callers && !failed && context.run_one() > 0) {
    }
    auto const pages = resident_pages();
    auto const counts_before = changes;
    auto const begin = std::chrono::steady_clock::now();
    double threads = 0;
    auto const enough = [&] {
        return std::accumulate(changes.begin(), changes.end(), 0L) >= 10 * static_cast<long>(callers);
    };
    while (!enough() && !failed) {
        context.run_for(std::chrono::milliseconds{50});
        threads = std::max(threads, threads_now() - threads_before);
    }
    auto const spent = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    auto const growth = resident_pages() / pages;
    double sum = 0;
    double squares = 0;
    for (std::size_t i = 0; i < callers; ++i) {
        auto const mine = static_cast<double>(changes[i] - counts_before[i]);
        sum += mine;
        squares += mine * mine;
    }
    stop = true;
    context.run();
    if (failed)
        std::rethrow_exception(failed);
    if (shop.sum() - sum_before != std::accumulate(changes.begin(), changes.end(), 0L))
        throw std::runtime_error("lost updates");
    return {
        sum / spent, threads, growth, squares > 0 ? sum * sum / (static_cast<double>(callers) * squares) : 0};
}
