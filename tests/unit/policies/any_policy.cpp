// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/memory/backend.hpp>
#include <interlock/policies/any_policy.hpp>

#include "support/catch.hpp"
#include "support/recording_observer.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

namespace any_policy_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::run_threads;
using interlock_test::Stock;

std::vector<AnyPolicy> const policies{OptimisticVersioning{}, PessimisticRowLock{}, SetNxLock{}};

TEST_CASE("each policy does its work when chosen at run time", "[policies][any_policy]")
{
    for (auto const& policy : policies) {
        auto const repository = open<Stock>("memory:", memory::backend);
        static_cast<void>(repository.insert(Stock{"x", 100}).value());
        static_cast<void>(repository.insert(Stock{"y", 100}).value());
        TransactionService<Stock> const service{policy, repository};
        run_threads(4, [&](std::size_t) {
            for (int i = 0; i < 10; ++i)
                service.do_in_transaction("x", [](Stock& s) { --s.quantity; }, {.deadline = 60s});
        });
        CHECK(repository.load("x")->value.quantity == 60);
        CHECK(service.do_in_transaction(keys("y", "x"), [](Stock& y, Stock& x, TransactionContext& c) {
            return y.quantity - x.quantity + c.attempt();
        }) == 41);
        CHECK(service.do_in_transaction(OperationId{"op"}, "x", [](Stock& s) { return --s.quantity; }) == 59);
        CHECK(service.do_in_transaction(OperationId{"op"}, "x", [](Stock& s) { return --s.quantity; }) == 59);
        CHECK_THROWS_AS(
            service.do_in_transaction("x", [](Stock& s) {
                s.quantity = -1;
                throw std::runtime_error("mine");
            }), std::runtime_error);
        CHECK(service.try_do_in_transaction("none", [](Stock&) {}).error() == Errc::not_found);
        CHECK(repository.load("x")->value.quantity == 59);
    }
}

TEST_CASE("the policy's own settings stay in force", "[policies][any_policy]")
{
    auto const repository = open<Stock>("memory:", memory::backend);
    TransactionService<Stock> const creating{OptimisticVersioning{.missing = Missing::create}, repository};
    CHECK(creating.do_in_transaction("x", [](Stock& s) { return s.sku; }) == "x");
    TransactionService<Stock> const unfit{SetNxLock{.lock = {.ttl = 1ms}}, repository};
    CHECK(unfit.try_do_in_transaction("x", [](Stock&) {}).error() == Errc::invalid_argument);
    TransactionService<Stock> const never{OptimisticVersioning{.max_attempts = 0}, repository};
    CHECK(never.try_do_in_transaction("x", [](Stock&) {}).error() == Errc::invalid_argument);
}

TEST_CASE("a run-time lock fences, and tells its token and its observer", "[policies][any_policy]")
{
    memory::StateRepository<Stock> const memory;
    static_cast<void>(memory.insert(Stock{"x", 1}).value());
    interlock_test::RecordingObserver observer;
    TransactionService<Stock> const service{SetNxLock{}, StateRepository<Stock>{memory}, {.observer = &observer}};
    FencingToken token;
    auto const outcome = service.try_do_in_transaction("x", [&](Stock& s, TransactionContext& c) {
        token = c.fencing_token();
        static_cast<void>(memory.force_release(Key{std::string("x")}));
        s.quantity = 9;
    });
    CHECK(outcome.error() == Errc::fenced_out);
    CHECK(token);
    CHECK(memory.load("x")->value.quantity == 1);
    CHECK(observer.fenced_out().size() == 1);
    CHECK(observer.transactions().size() == 1);
}

}  // namespace any_policy_test
