// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/redis/idempotency_store.hpp>

#include "support/catch.hpp"
#include "support/redis.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>

namespace redis_idempotency_store_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::CountingWaiter;
using interlock_test::eventually;
using interlock_test::owner;
using interlock_test::redis_options;

TEST_CASE("a claim's waiters are woken by its end, from another client", "[redis][idempotency_store]")
{
    auto const o = redis_options();
    redis::IdempotencyStore const first{redis::Client{o}};
    redis::IdempotencyStore const second{redis::Client{o}};
    for (bool const completes : {true, false}) {
        IdempotentRequest const request(completes ? "a" : "b", Scope("s"));
        CountingWaiter waiter;
        CHECK(first.claim(request, owner(1), 10s, AfterLease::refuse).value().state == ClaimState::claimed);
        auto const busy = second.claim(request, owner(2), 10s, AfterLease::refuse).value();
        CHECK(busy.state == ClaimState::in_progress);
        CHECK(busy.retry_after > 5s);
        CHECK(busy.retry_after <= 10001ms);
        second.subscribe(request, waiter);
        CHECK(eventually([&] { return waiter.count() > 0; }));
        auto const before = waiter.count();
        if (completes) {
            CHECK(first.complete(request, owner(1), "answer", false));
            CHECK(first.complete(request, owner(1), "answer", false));  // a lost reply, asked again
            CHECK(first.complete(request, owner(1), "another", false).error() == Errc::fenced_out);
        } else {
            CHECK(first.give_back(request, owner(1)));
        }
        CHECK(eventually([&] { return waiter.count() > before; }));
        second.unsubscribe(request, waiter);
        auto const after = second.claim(request, owner(2), 10s, AfterLease::refuse).value();
        CHECK(after.state == (completes ? ClaimState::completed : ClaimState::claimed));
    }
}

TEST_CASE("an answer is kept for its retention and then runs again", "[redis][idempotency_store]")
{
    redis::IdempotencyStore const store{redis::Client{redis_options()}, {.retention = 1s}};
    IdempotentRequest const request("k", Scope("s"), fingerprint("body"));
    CHECK(store.claim(request, owner(1), 10s, AfterLease::refuse).value().state == ClaimState::claimed);
    CHECK(store.complete(request, owner(1), "answer", false));
    CHECK(store.claim(request, owner(2), 10s, AfterLease::refuse).value().answer == "answer");
    // Versions of the algorithm are not compared with each other, nor is a request without a fingerprint.
    CHECK(store.claim(IdempotentRequest("k", Scope("s"), Fingerprint{7, 2}), owner(2), 10s, AfterLease::refuse).value().state ==
          ClaimState::completed);
    CHECK(store.claim(IdempotentRequest("k", Scope("s")), owner(2), 10s, AfterLease::refuse).value().state ==
          ClaimState::completed);
    CHECK(store.claim(IdempotentRequest("k", Scope("s"), fingerprint("x")), owner(2), 10s, AfterLease::refuse).value().state ==
          ClaimState::mismatch);
    CHECK(eventually([&] {
        return store.claim(request, owner(2), 10s, AfterLease::refuse).value().state == ClaimState::claimed;
    }));
}

}  // namespace redis_idempotency_store_test
