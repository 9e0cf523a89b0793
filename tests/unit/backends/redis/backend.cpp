// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/redis/backend.hpp>

#include "support/catch.hpp"
#include "support/redis_server.hpp"
#include "support/states.hpp"

#include <array>
#include <chrono>

namespace redis_backend_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::fresh_name_space;
using interlock_test::redis_server;
using interlock_test::Stock;

OwnerToken const me{{1, 2}};
Key const x{"x"};

TEST_CASE("open knows every scheme of redis", "[redis][backend]")
{
    auto const url = redis_server().url() + "?name_space=" + fresh_name_space();
    auto const repository = open<Stock>(url, redis::backend, redis::tls_backend, redis::unix_backend);
    CHECK(repository.store_name() == "redis");
    CHECK(repository.insert(Stock{"x", 1}));
    CHECK(open<Stock>(url, redis::unix_backend).load("x").value().value.quantity == 1);
    CHECK(open<Stock>("rediss://h", redis::tls_backend).load("x").errc() == Errc::misconfigured);
    CHECK(open<Stock>("redis://127.0.0.1:1", redis::backend).load("x").errc() == Errc::unavailable);
    CHECK_THROWS_AS(open<Stock>("redis://h:x", redis::backend), Error);
    auto const keys = open_idempotency_store(url, redis::unix_backend);
    CHECK(keys.capabilities().wakes_waiters);
    CHECK(keys.claim(IdempotentRequest("k", Scope("s")), me, 10s, AfterLease::refuse));
    std::array const rows{&x};
    CHECK(repository.load_for_update(rows, Wait::no).errc() == Errc::misconfigured);
}

}  // namespace redis_backend_test
