// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/counters.hpp>
#include <interlock/backends/redis/idempotency_store.hpp>
#include <interlock/backends/redis/state_repository.hpp>

#include "torture/run_worker.hpp"
#include "torture/worker.hpp"

namespace torture {

namespace {

struct RedisStore {
    explicit RedisStore(il::redis::Client const& client) : repository(client), keys(client), counters(client)
    {}
    il::redis::StateRepository<Account> repository;
    il::redis::IdempotencyStore keys;
    il::redis::Counters counters;
};

JoiningStore const joining{
    "redis", [](TorturedStore& store) {
        store.work = [](WorkerOptions const& options) {
            auto client = il::redis::Options::parse(options.url).value();
            client.reply_timeout = 2s;  // a connection that has fallen silent is noticed
            return run_worker(RedisStore{il::redis::Client{std::move(client)}}, options);
        };
    }};

}  // namespace

}  // namespace torture
