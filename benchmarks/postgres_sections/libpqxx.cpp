// SPDX-License-Identifier: BSL-1.0

#include "../support/pqxx.hpp"
#include "contestants.hpp"

#include <memory>

namespace {

long sum(std::string const& url)
{
    pqxx::connection connection{url};
    pqxx::nontransaction now{connection};
    return now.exec("SELECT sum(n) FROM rows").front()[0].as<long>();
}

}  // namespace

double bare_optimistic(Plan const& plan)
{
    return per_second(
        plan,
        [&](std::size_t) {
            auto connection = std::make_shared<pqxx::connection>(plan.url);
            connection->prepare("load", "SELECT version, n FROM rows WHERE id = $1");
            connection->prepare(
                "save",
                "UPDATE rows SET n = $3, version = version + 1 WHERE id = $1 AND version = $2 RETURNING "
                "version");
            return [connection](std::int64_t id) {
                for (;;) {
                    pqxx::nontransaction now{*connection};
                    auto const row = bench::run_prepared(now, "load", id).front();
                    if (!bench::run_prepared(now, "save", id, row[0].as<std::int64_t>(), row[1].as<int>() + 1)
                             .empty())
                        return;
                }
            };
        },
        [&] { return sum(plan.url); });
}

double bare_row_lock(Plan const& plan)
{
    return per_second(
        plan,
        [&](std::size_t) {
            auto connection = std::make_shared<pqxx::connection>(plan.url);
            connection->prepare("lock", "SELECT version, n FROM rows WHERE id = $1 FOR UPDATE");
            connection->prepare("save", "UPDATE rows SET n = $2, version = version + 1 WHERE id = $1");
            return [connection](std::int64_t id) {
                pqxx::work tx{*connection};
                auto const row = bench::run_prepared(tx, "lock", id).front();
                bench::run_prepared(tx, "save", id, row[1].as<int>() + 1);
                tx.commit();
            };
        },
        [&] { return sum(plan.url); });
}
