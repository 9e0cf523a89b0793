// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/memory/backend.hpp>
#include <interlock/policies/any_policy.hpp>
#include <interlock/policies/idempotency_keys.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

#include "support/blocking_repository.hpp"
#include "support/catch.hpp"
#include "support/recording_observer.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
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
            service.do_in_transaction(
                "x",
                [](Stock& s) {
                    s.quantity = -1;
                    throw std::runtime_error("mine");
                }),
            std::runtime_error);
        CHECK(service.try_do_in_transaction("none", [](Stock&) {}).errc() == Errc::not_found);
        CHECK(repository.load("x")->value.quantity == 59);
    }
}

TEST_CASE("the settings of the chosen policy stay in force", "[policies][any_policy]")
{
    auto const repository = open<Stock>("memory:", memory::backend);
    TransactionService<Stock> const creating{OptimisticVersioning{.missing = Missing::create}, repository};
    CHECK(creating.do_in_transaction("x", [](Stock& s) { return s.sku; }) == "x");
    TransactionService<Stock> const unfit{SetNxLock{.lock = {.ttl = 1ms}}, repository};
    CHECK(unfit.try_do_in_transaction("x", [](Stock&) {}).errc() == Errc::invalid_argument);
    TransactionService<Stock> const never{OptimisticVersioning{.max_attempts = 0}, repository};
    CHECK(never.try_do_in_transaction("x", [](Stock&) {}).errc() == Errc::invalid_argument);
}

TEST_CASE(
    "a lock policy that is chosen at run time fences, and tells the observer its token",
    "[policies][any_policy]")
{
    memory::StateRepository<Stock> const memory;
    static_cast<void>(memory.insert(Stock{"x", 1}).value());
    interlock_test::RecordingObserver observer;
    TransactionService<Stock> const service{
        SetNxLock{}, StateRepository<Stock>{memory}, {.observer = &observer}};
    FencingToken token;
    auto const outcome = service.try_do_in_transaction("x", [&](Stock& s, TransactionContext& c) {
        token = c.fencing_token();
        static_cast<void>(memory.force_release(Key{std::string("x")}));
        s.quantity = 9;
    });
    CHECK(outcome.errc() == Errc::fenced_out);
    CHECK(token);
    CHECK(memory.load("x")->value.quantity == 1);
    CHECK(observer.fenced_out().size() == 1);
    REQUIRE(observer.transactions().size() == 1);
    CHECK(observer.transactions()[0].policy == "set_nx_lock");
}

TEST_CASE("events have the name of the policy that was chosen", "[policies][any_policy]")
{
    memory::StateRepository<Stock> const memory;
    static_cast<void>(memory.insert(Stock{"x", 1}).value());
    interlock_test::RecordingObserver observer;
    TransactionService<Stock> const service{
        OptimisticVersioning{.max_attempts = 2}, StateRepository<Stock>{memory}, {.observer = &observer}};
    auto const overtaken = [&](Stock& s) {
        static_cast<void>(memory.compare_and_set("x", memory.load("x")->version, Stock{"x", 2}).value());
        s.quantity = 9;
    };
    CHECK(service.try_do_in_transaction("x", overtaken).errc() == Errc::version_conflict);
    REQUIRE(observer.conflicts().size() == 2);
    CHECK(observer.conflicts()[0].policy == "optimistic_versioning");
    REQUIRE(observer.transactions().size() == 1);
    CHECK(observer.transactions()[0].policy == "optimistic_versioning");
}

/// Between the two loads of the first attempt somebody moves one piece from "a" to "b".
auto torn_between_loads(memory::StateRepository<Stock> const& inner)
{
    interlock_test::BlockingRepository<memory::StateRepository<Stock>> repository{inner};
    repository.before_calls([inner, loads = std::make_shared<int>(0)](std::string_view call) {
        if (call == "load" && ++*loads == 2) {
            static_cast<void>(inner.compare_and_set("a", inner.load("a")->version, Stock{"a", 4}).value());
            static_cast<void>(inner.compare_and_set("b", inner.load("b")->version, Stock{"b", 6}).value());
        }
    });
    return repository;
}

TEST_CASE(
    "an exception about states of different moments is not believed, whatever wraps the policy",
    "[policies][any_policy]")
{
    int runs = 0;
    auto const move_one = [&](Stock& a, Stock& b) {
        ++runs;
        if (a.quantity + b.quantity != 10)
            throw std::logic_error("an invariant is broken");
        --a.quantity;
        ++b.quantity;
        return b.quantity;
    };
    memory::StateRepository<Stock> const inner;
    static_cast<void>(inner.insert(Stock{"a", 5}).value());
    static_cast<void>(inner.insert(Stock{"b", 5}).value());
    SECTION("nothing")
    {
        TransactionService const service{OptimisticVersioning{}, torn_between_loads(inner)};
        CHECK(service.do_in_transaction(keys("a", "b"), move_one) == 7);
    }
    SECTION("AnyPolicy")
    {
        TransactionService<Stock> const service{
            OptimisticVersioning{}, StateRepository<Stock>{torn_between_loads(inner)}};
        CHECK(service.do_in_transaction(keys("a", "b"), move_one) == 7);
    }
    SECTION("IdempotencyKeys")
    {
        TransactionService const service{
            IdempotencyKeys{OptimisticVersioning{}, memory::IdempotencyStore{}}, torn_between_loads(inner)};
        IdempotentRequest const request("k", Scope("s"), fingerprint("body"));
        CHECK(service.do_in_transaction(request, keys("a", "b"), move_one).value() == 7);
    }
    CHECK(runs == 2);
    CHECK(inner.load("a")->value.quantity == 3);
}

TEST_CASE(
    "a service that is a data member is named by its policy and its repository", "[policies][any_policy]")
{
    struct Shop {
        memory::StateRepository<Stock> stock{};
        LockStateServiceFor<decltype(stock)> locks{stock};
        TransactionServiceFor<SetNxLock, decltype(stock)> service{{}, locks};
        TransactionServiceFor<
            IdempotencyKeys<OptimisticVersioning, memory::IdempotencyStore>, decltype(stock)>
            payments{{OptimisticVersioning{}, memory::IdempotencyStore{}}, stock};
    };
    Shop shop;
    static_cast<void>(shop.stock.insert(Stock{"x", 3}).value());
    CHECK(shop.service.do_in_transaction("x", [](Stock& s) { return --s.quantity; }) == 2);
    IdempotentRequest const request{"key", Scope("user")};
    for (bool const replayed : {false, true}) {
        auto const outcome =
            shop.payments.try_do_in_transaction(request, "x", [](Stock& s) { return --s.quantity; });
        REQUIRE(outcome);
        CHECK(outcome->value() == 1);
        CHECK(outcome.replayed() == replayed);
        CHECK(outcome->replayed() == replayed);
    }
}

TEST_CASE("an idempotent service is chosen at run time as a whole", "[policies][any_policy]")
{
    auto const repository = open<Stock>("memory:", memory::backend);
    static_cast<void>(repository.insert(Stock{"x", 3}).value());
    IdempotentTransactionService<Stock> const payments{
        IdempotencyKeys{SetNxLock{}, memory::IdempotencyStore{}}, repository};
    IdempotentRequest const request{"key", Scope("user")};
    for (bool const replayed : {false, true}) {
        auto const answer = payments.do_in_transaction(request, "x", [](Stock& s) { return --s.quantity; });
        CHECK(*answer == 2);
        CHECK(answer.replayed() == replayed);
    }
    IdempotentTransactionService<Stock> const other{
        IdempotencyKeys{AnyPolicy{PessimisticRowLock{}}, open_idempotency_store("memory:", memory::backend)},
        repository};
    CHECK(*other.do_in_transaction(IdempotentRequest{"other", Scope("user")}, "x", [](Stock& s) {
        return --s.quantity;
    }) == 1);
}

TEST_CASE("the run-time form executes requests under an idempotent policy", "[policies][any_policy]")
{
    for (auto const& policy : policies) {
        auto const repository = open<Stock>("memory:", memory::backend);
        static_cast<void>(repository.insert(Stock{"x", 3}).value());
        interlock_test::RecordingObserver observer;
        TransactionService<Stock> const service{
            IdempotencyKeys{policy, memory::IdempotencyStore{}}, repository, {.observer = &observer}};
        IdempotentRequest const request{"key", Scope("user")};
        int runs = 0;
        auto const take = [&](Stock& s) { return ++runs, --s.quantity; };
        for (bool const replayed : {false, true}) {
            Answer<int> const answer = service.do_in_transaction(request, "x", take);
            CHECK(*answer == 2);
            CHECK(answer.replayed() == replayed);
        }
        boost::asio::io_context io;
        auto future = service.async_try_do_in_transaction(
            request, "x", take, boost::asio::bind_executor(io, boost::asio::use_future));
        io.run();
        auto const outcome = future.get();
        REQUIRE(outcome);
        CHECK(outcome->value() == 2);
        CHECK(outcome.replayed());
        CHECK(runs == 1);
        CHECK(
            observer.idempotency() ==
            std::vector{IdempotencyEvent::executed, IdempotencyEvent::replayed, IdempotencyEvent::replayed});
        IdempotentRequest const refused{"refused", Scope("user")};
        auto const reject = [](Stock&) -> int { throw FinalRejection("out of stock"); };
        CHECK_THROWS_AS(service.do_in_transaction(refused, "x", reject), FinalRejection);
        CHECK_THROWS_AS(service.do_in_transaction(refused, "x", take), FinalRejection);
        CHECK(observer.transactions()[0].policy == "idempotency_keys");
        CHECK(repository.load("x")->value.quantity == 2);
    }
}

TEST_CASE(
    "a call that does not fit the policy that was chosen is refused before it sends anything",
    "[policies][any_policy]")
{
    memory::StateRepository<Stock> const memory;
    static_cast<void>(memory.insert(Stock{"x", 3}).value());
    interlock_test::BlockingRepository<memory::StateRepository<Stock>> counted{memory};
    int calls = 0;
    counted.before_calls([&](std::string_view) { ++calls; });
    StateRepository<Stock> const repository{counted};
    auto const take = [](Stock& s) { return --s.quantity; };
    IdempotentRequest const request{"key", Scope("user")};
    IdempotencyKeys const idempotent{OptimisticVersioning{}, memory::IdempotencyStore{}};

    TransactionService<Stock> const payments{idempotent, repository};
    auto const without = payments.try_do_in_transaction("x", take);
    CHECK(without.errc() == Errc::misconfigured);
    CHECK(without.detail().find("pass an IdempotentRequest first") != std::string::npos);
    auto const with_id = payments.try_do_in_transaction(OperationId{"id"}, "x", take);
    CHECK(with_id.errc() == Errc::misconfigured);

    TransactionService<Stock> const plain{OptimisticVersioning{}, repository};
    auto const with_request = plain.try_do_in_transaction(request, "x", take);
    CHECK(with_request.errc() == Errc::misconfigured);
    CHECK(with_request.detail().find("IdempotencyKeys{policy, store}") != std::string::npos);
    boost::asio::io_context io;
    auto future = plain.async_try_do_in_transaction(
        request, "x", take, boost::asio::bind_executor(io, boost::asio::use_future));
    io.run();
    CHECK(future.get().errc() == Errc::misconfigured);

    IdempotencyKeys const twice{AnyPolicy{idempotent}, memory::IdempotencyStore{}};
    CHECK(
        TransactionService<Stock>{twice, repository}.try_do_in_transaction(request, "x", take).errc() ==
        Errc::misconfigured);
    CHECK(
        TransactionService{twice, repository}.try_do_in_transaction(request, "x", take).errc() ==
        Errc::misconfigured);
    CHECK(calls == 0);
    CHECK(memory.load("x")->value.quantity == 3);
}

}  // namespace any_policy_test
