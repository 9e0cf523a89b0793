// SPDX-License-Identifier: BSL-1.0

// Operations on a number of states that is known at run time, in Redis: see support/many_keys.hpp.

#include "support/many_keys.hpp"

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/idempotency_store.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/policies/idempotency_keys.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include "support/redis.hpp"

#include <string>

namespace redis_many_keys_test {

using namespace interlock;
using namespace interlock_test;

TEST_CASE("a range under every policy in Redis", "[redis][many_keys]")
{
    redis::Client const client{redis_options()};
    redis::StateRepository<Stock> const repository{client};
    redis::IdempotencyStore const store{client};
    TransactionService const optimistic{OptimisticVersioning{.max_attempts = 1000}, repository};
    check_ranges(optimistic, repository, 20);
    check_wrong_ranges(optimistic, repository);
    check_runs_again(optimistic, repository);
    check_requests(
        TransactionService{IdempotencyKeys{OptimisticVersioning{}, store}, repository}, repository);
    TransactionService const leases{SetNxLock{}, repository};
    check_ranges(leases, repository, 20);
    check_requests(TransactionService{IdempotencyKeys{SetNxLock{}, store}, repository}, repository);
}

TEST_CASE("a range may have a thousand keys in Redis", "[redis][many_keys]")
{
    redis::Client const client{redis_options()};
    redis::StateRepository<Stock> const repository{client};
    check_most_keys(TransactionService{OptimisticVersioning{}, repository}, repository);
    check_most_keys(TransactionService{SetNxLock{}, repository}, repository);
}

TEST_CASE("the states of a range are loaded in one trip from Redis", "[redis][many_keys]")
{
    RedisServer const server{};
    redis::Client const client{redis_options(server)};
    redis::StateRepository<Stock> const repository{client};
    TransactionService const service{OptimisticVersioning{}, repository};
    auto const skus = many_stocks(repository, 50);
    service.do_in_transaction(skus, TakeOneOfEach{});  // connects
    auto const calls = [&](std::string const& command) {
        auto const all = server.command({"INFO", "commandstats"});
        auto const words = "cmdstat_" + command + ":calls=";
        auto const at = all.find(words);
        return at == std::string::npos ? 0 : std::stoi(all.substr(at + words.size()));
    };
    auto const scripts = calls("evalsha");
    auto const loads = calls("get") + calls("mget");
    service.do_in_transaction(skus, TakeOneOfEach{});
    CHECK(calls("evalsha") - scripts == 1);
    CHECK(calls("get") + calls("mget") - loads < 10);  // of which some are the script's
    CHECK(pieces(repository, skus) == 400);
}

}  // namespace redis_many_keys_test
