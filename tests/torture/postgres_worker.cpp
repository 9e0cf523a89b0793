// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/postgres/counters.hpp>
#include <interlock/backends/postgres/idempotency_store.hpp>
#include <interlock/backends/postgres/pool.hpp>
#include <interlock/backends/postgres/state_repository.hpp>

#include "torture/run_worker.hpp"
#include "torture/worker.hpp"

namespace torture {

namespace {

/// "library": its own table. Others: the table `account`, and how its rows are locked.
il::postgres::RepositoryOptions table_options(std::string const& variant)
{
    if (variant == "library")
        return {};
    il::postgres::RepositoryOptions options{
        .table = "account", .key = "id", .version_sequence = "account_version"};
    if (variant == "advisory")
        options.row_lock = il::postgres::RowLock::advisory;
    else if (variant == "serializable")
        options.isolation = il::postgres::Isolation::serializable;
    else if (variant != "table")
        throw std::runtime_error("there is no table '" + variant + "'");
    return options;
}

struct PostgresStore {
    PostgresStore(il::postgres::Pool const& pool, std::string const& variant)
        : repository(pool, table_options(variant)), keys(pool), counters(pool), records(pool)
    {}
    il::postgres::StateRepository<Account> repository;
    il::postgres::IdempotencyStore keys;
    il::postgres::Counters counters;
    il::postgres::TransactionalIdempotencyStore records;
};

JoiningStore const joining{
    "postgres", [](TorturedStore& store) {
        store.work = [](WorkerOptions const& options) {
            return run_worker(PostgresStore{il::postgres::Pool{options.url}, options.variant}, options);
        };
    }};

}  // namespace

}  // namespace torture
