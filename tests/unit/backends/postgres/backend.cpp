// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/postgres/backend.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/any_policy.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"
#include "support/states.hpp"

#include <chrono>
#include <string>

namespace postgres_backend_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::Stock;

TEST_CASE("open knows both schemes of postgres", "[postgres][backend]")
{
    auto const pool = interlock_test::fresh_pool();
    auto const url = interlock_test::postgres_server().url() + "&name_space=" + pool.options().name_space;
    auto const repository = open<Stock>(url, postgres::backend, postgres::short_backend);
    CHECK(repository.store_name() == "postgres");
    CHECK(repository.insert(Stock{"x", 1}));
    CHECK(
        open<Stock>("postgres" + url.substr(url.find(':')), postgres::short_backend)
            .load("x")
            .value()
            .value.quantity == 1);
    CHECK(
        open<Stock>("postgresql://127.0.0.1:1/none", postgres::backend).load("x").errc() ==
        Errc::unavailable);
    CHECK_THROWS_AS(open<Stock>("postgresql://h?no_such_setting=1", postgres::backend), Error);
    TransactionService<Stock> const service{PessimisticRowLock{}, repository};
    CHECK(service.do_in_transaction("x", [](Stock& s) { return ++s.quantity; }) == 2);
    auto const keys = open_idempotency_store(url, postgres::backend);
    CHECK(keys.capabilities().wakes_waiters);
    CHECK(keys.claim(IdempotentRequest("k", Scope("s")), OwnerToken{{1, 2}}, 10s, AfterLease::refuse));
    // Without its tables a name space says what is missing.
    auto const bare =
        open<Stock>(interlock_test::postgres_server().url() + "&name_space=nothing_here", postgres::backend)
            .load("x");
    CHECK(bare.errc() == Errc::misconfigured);
    CHECK_THAT(bare.detail(), Catch::Matchers::ContainsSubstring("nothing_here_state"));
}

}  // namespace postgres_backend_test
