// SPDX-License-Identifier: BSL-1.0

#include "contestants.hpp"

#include <interlock/backends/postgres/idempotency_store.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/interlock.hpp>

#include <boost/describe.hpp>

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
            std::int64_t{1}, [&](Row&, il::postgres::Transaction& tx) { all = tx.exec("SELECT sum(n) FROM rows").value<long>(); });
        return all;
    }
    il::postgres::Pool pool;
    il::postgres::StateRepository<Row> rows{pool, {.table = "rows", .key = "id"}};
};

template <class Policy>
double measure(Plan const& plan, Policy policy)
{
    Shop const shop{plan};
    il::TransactionService const service{policy, shop.rows};
    return per_second(plan, [&](std::size_t) {
        return [&](std::int64_t id) {
            service.do_in_transaction(id, [](Row& row) { ++row.n; }, {.deadline = std::chrono::seconds{60}});
        };
    }, [&] { return shop.sum(); });
}

template <class Policy>
double measure_requests(Plan const& plan, Shop const& shop, Policy policy)
{
    il::TransactionService const service{std::move(policy), shop.rows};
    auto const run = std::to_string(il::SystemRuntime::random_bits());
    return per_second(plan, [&](std::size_t t) {
        return [&, scope = il::Scope(run + "-" + std::to_string(t)), i = 0](std::int64_t id) mutable {
            service.do_in_transaction(
                il::IdempotentRequest(std::to_string(++i), scope), id, [](Row& row) { return ++row.n; },
                {.deadline = std::chrono::seconds{60}});
        };
    }, [&] { return shop.sum(); });
}

}  // namespace

double interlock_optimistic(Plan const& plan)
{
    return measure(plan, il::OptimisticVersioning{});
}
double interlock_row_lock(Plan const& plan)
{
    return measure(plan, il::PessimisticRowLock{});
}
double interlock_lease(Plan const& plan)
{
    return measure(plan, il::SetNxLock{});
}
double interlock_in_transaction(Plan const& plan)
{
    Shop const shop{plan};
    return measure_requests(
        plan, shop,
        il::IdempotencyInTransaction{il::PessimisticRowLock{}, il::postgres::TransactionalIdempotencyStore{shop.pool}});
}
double interlock_leased_keys(Plan const& plan)
{
    Shop const shop{plan};
    return measure_requests(
        plan, shop, il::IdempotencyKeys{il::PessimisticRowLock{}, il::postgres::IdempotencyStore{shop.pool}});
}
