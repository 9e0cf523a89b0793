// SPDX-License-Identifier: BSL-1.0

// What `do_in_transaction` and its asynchronous twins promise, whatever the policy: one section per promise.
//
// How it works: the store is in memory, and most cases run under all three policies. Lost replies come from a
// store that forgets to answer (`Forgetful`), stores that block from `BlockingRepository`. A case looks at
// three things: what the call returned, what is in the store afterwards, and what an observer was told.

#include "unit/core/transaction_service.hpp"

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include "support/blocking_repository.hpp"
#include "support/catch.hpp"
#include "support/manual_runtime.hpp"
#include "support/recording_observer.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace transaction_service_test {

using namespace std::chrono_literals;
using interlock_test::BlockingRepository;
using interlock_test::ManualRuntime;
using interlock_test::RecordingObserver;
using interlock_test::Response;
using interlock_test::run_threads;

// ---- an operation takes the first list that fits, and returns what it likes ---------------------

struct TakesAll {
    std::string operator()(Stock&) const { return "states"; }
    std::string operator()(Stock&, TransactionContext&) const { return "context"; }
    std::string operator()(Lock<Stock>&) const { return "lock"; }
};

TEST_CASE(
    "the first documented argument list that an operation accepts is used", "[core][transaction_service]")
{
    auto const repository = stocked();
    TransactionService const optimistic{OptimisticVersioning{}, repository};
    TransactionService const rows{PessimisticRowLock{}, repository};
    TransactionService const locks{SetNxLock{}, repository};

    CHECK(locks.do_in_transaction("sku-1", TakesAll{}) == "states");
    CHECK(optimistic.do_in_transaction("sku-1", TakesAll{}) == "states");
    // A generic lambda accepts the first one; its body is instantiated for no other.
    CHECK(locks.do_in_transaction("sku-1", [](auto& state) { return state.quantity; }) == 10);
    CHECK(optimistic.do_in_transaction("sku-1", [](auto& state) { return state.quantity; }) == 10);
    CHECK(locks.do_in_transaction("sku-1", [](auto&&... parts) { return sizeof...(parts); }) == 1);

    CHECK(optimistic.do_in_transaction("sku-1", [](Stock&, TransactionContext& c) {
        return c.attempt();
    }) == 1);
    CHECK(rows.do_in_transaction("sku-1", [](Stock& s, Repository::transaction_type&) {
        return s.quantity;
    }) == 10);
    CHECK(rows.do_in_transaction("sku-1", [](Stock& s, TransactionContext&) { return s.quantity; }) == 10);
    CHECK(locks.do_in_transaction("sku-1", [](Lock<Stock>& l) { return l.fencing_token().value(); }) > 0);
    CHECK(locks.do_in_transaction("sku-1", [](Lock<Stock>& l, TransactionContext& c) {
        return l.fencing_token() == c.fencing_token();
    }));
    CHECK(locks.do_in_transaction("sku-1", [](Stock& s, Lock<Stock>& l) { return l.state() == s; }));
    CHECK(locks.do_in_transaction(
        keys("sku-1", "sku-2"), [](Stock& a, Stock& b, Lock<Stock>& la, Lock<Stock>& lb) {
            return a.sku == la.state().sku && b.sku == lb.state().sku &&
                   la.fencing_token() != lb.fencing_token();
        }));
}

TEST_CASE(
    "an operation may return nothing, a move-only value, and a value without a default",
    "[core][transaction_service]")
{
    auto const repository = stocked();
    TransactionService const service{OptimisticVersioning{}, repository};
    static_assert(
        std::is_void_v<decltype(service.do_in_transaction("sku-1", [](Stock& s) { --s.quantity; }))>);
    service.do_in_transaction("sku-1", [](Stock& s) { --s.quantity; });
    CHECK(service.try_do_in_transaction("sku-1", [](Stock& s) { --s.quantity; }));
    CHECK(
        *service.do_in_transaction("sku-1", [](Stock& s) { return std::make_unique<int>(s.quantity); }) == 8);
    struct NoDefault {
        explicit NoDefault(int v) : value(v) {}
        int value;
    };
    CHECK(service.do_in_transaction("sku-1", [](Stock& s) { return NoDefault{s.quantity}; }).value == 8);
    CHECK(service.do_in_transaction("sku-1", [](Stock const& s) { return s; }) == Stock{"sku-1", 8});
}

TEST_CASE(
    "an operation may return a code, a failure or an outcome as its value", "[core][transaction_service]")
{
    auto const repository = stocked();
    TransactionService const service{OptimisticVersioning{}, repository};
    auto const code = service.try_do_in_transaction("sku-1", [](Stock& s) {
        --s.quantity;
        return Errc::lock_busy;
    });
    CHECK(code.has_value());
    CHECK(quantity(repository) == 9);
    auto const inner =
        service.try_do_in_transaction("sku-1", [](Stock&) { return Outcome<int>{Errc::lock_busy}; });
    REQUIRE(inner.has_value());
    CHECK(inner->errc() == Errc::lock_busy);
}

TEST_CASE("a mutable operation is called itself, and not as a copy", "[core][transaction_service]")
{
    auto const repository = stocked();
    TransactionService const service{OptimisticVersioning{}, repository};
    int calls = 0;
    auto operation = [n = 0, &calls](Stock&) mutable { calls = ++n; };
    service.do_in_transaction("sku-1", operation);
    service.do_in_transaction("sku-1", operation);
    CHECK(calls == 2);
}

// ---- whatever goes wrong leaves no trace, and nothing deadlocks ---------------------------------

TEMPLATE_TEST_CASE(
    "an exception of an operation rolls back and arrives unchanged", "[core][transaction_service]",
    OptimisticVersioning, PessimisticRowLock, SetNxLock)
{
    auto const repository = stocked();
    auto const service = service_of(TestType{}, repository);
    auto const before = repository.load("sku-1")->version;
    struct SoldOut {
        std::string sku;
    };
    CHECK_THROWS_AS(service.do_in_transaction("sku-1", [](Stock& s) { throw SoldOut{s.sku}; }), SoldOut);
    CHECK_THROWS_AS(
        service.do_in_transaction(
            "sku-1",
            [](Stock& s) {
                s.quantity = -1;
                throw std::runtime_error("after the change");
            }),
        std::runtime_error);
    int thrown = 0;
    try {
        service.do_in_transaction("sku-1", [](Stock& s) {
            s.quantity = -1;
            throw 42;
        });
    } catch (int value) {
        thrown = value;
    }
    CHECK(thrown == 42);
    // try_ lets them through as well, Error of the library included.
    CHECK_THROWS_AS(service.try_do_in_transaction("sku-1", [](Stock&) { throw SoldOut{}; }), SoldOut);
    CHECK_THROWS_AS(
        service.try_do_in_transaction("sku-1", [](Stock&) { throw Error(Errc::version_conflict); }), Error);
    CHECK(quantity(repository) == 10);
    CHECK(repository.load("sku-1")->version == before);
    // Nothing is left locked.
    CHECK(service.do_in_transaction("sku-1", decrement, {.deadline = 0ms + 5s}) == 9);
    CHECK(repository.key_count() == 2);
}

TEMPLATE_TEST_CASE(
    "an operation that changes the key of its state is refused", "[core][transaction_service]",
    OptimisticVersioning, PessimisticRowLock, SetNxLock)
{
    auto const repository = stocked();
    auto const service = service_of(TestType{}, repository);
    auto const outcome = service.try_do_in_transaction("sku-1", [](Stock& s) { s = Stock{"sku-7", 3}; });
    CHECK(outcome.errc() == Errc::invalid_argument);
    CHECK_THAT(outcome.detail(), Catch::Matchers::ContainsSubstring("key"));
    CHECK(quantity(repository) == 10);
    CHECK(repository.load("sku-7").errc() == Errc::not_found);
}

TEMPLATE_TEST_CASE(
    "a missing value is not_found, or created on request", "[core][transaction_service]",
    OptimisticVersioning, PessimisticRowLock, SetNxLock)
{
    Repository const repository;
    auto const strict = service_of(TestType{}, repository);
    bool run = false;
    CHECK(strict.try_do_in_transaction("sku-9", [&](Stock&) { run = true; }).errc() == Errc::not_found);
    CHECK_FALSE(run);

    TestType creating{};
    creating.missing = Missing::create;
    auto const service = service_of(creating, repository);
    CHECK(service.do_in_transaction("sku-9", [](Stock& s) { return s; }) == Stock{"sku-9", 0});
    CHECK(repository.load("sku-9")->value == Stock{"sku-9", 0});
    CHECK(service.do_in_transaction(Stock{"sku-8", 5}, decrement) == 4);
    CHECK(quantity(repository, "sku-8") == 4);
    CHECK(service.do_in_transaction(Stock{"sku-8", 5}, decrement) == 3);  // what is stored, not what is named
    CHECK_THROWS(service.do_in_transaction("sku-6", [](Stock&) { throw 1; }));
    CHECK(repository.load("sku-6").errc() == Errc::not_found);
    CHECK(repository.key_count() == 2);
}

TEMPLATE_TEST_CASE(
    "arguments and options out of range are refused before anything is run", "[core][transaction_service]",
    OptimisticVersioning, PessimisticRowLock, SetNxLock)
{
    auto const repository = stocked();
    auto const service = service_of(TestType{}, repository);
    int runs = 0;
    auto const count = [&](Stock&) { return ++runs; };
    std::chrono::duration<double> const nan{std::numeric_limits<double>::quiet_NaN()};
    CHECK(service.try_do_in_transaction("sku-1", count, {.deadline = nan}).errc() == Errc::invalid_argument);
    CHECK(service.try_do_in_transaction("sku-1", count, {.deadline = -1s}).errc() == Errc::deadline_exceeded);
    CHECK(service.try_do_in_transaction("sku-1", count, {.deadline = -1h}).errc() == Errc::deadline_exceeded);
    CHECK(service.try_do_in_transaction("", count).errc() == Errc::invalid_argument);
    CHECK(service.try_do_in_transaction(std::string(513, 'k'), count).errc() == Errc::invalid_argument);
    CHECK(service.try_do_in_transaction("a\0b", count).errc() == Errc::invalid_argument);
    CHECK(service.try_do_in_transaction(OperationId{""}, "sku-1", count).errc() == Errc::invalid_argument);
    CHECK(
        service.try_do_in_transaction(OperationId{std::string(256, 'i')}, "sku-1", count).errc() ==
        Errc::invalid_argument);
    CHECK(
        service.try_do_in_transaction(keys("sku-1", "sku-1"), [&](Stock&, Stock&) { ++runs; }).errc() ==
        Errc::invalid_argument);

    TestType none{};
    none.max_attempts = 0;
    CHECK(
        service_of(none, repository).try_do_in_transaction("sku-1", count).errc() == Errc::invalid_argument);
    TestType backwards{};
    backwards.backoff = {.initial = 2s, .cap = 1s};
    CHECK(
        service_of(backwards, repository).try_do_in_transaction("sku-1", count).errc() ==
        Errc::invalid_argument);
    CHECK(runs == 0);
    CHECK(service.try_do_in_transaction("sku-1", count, {.deadline = std::chrono::hours::max()}).has_value());
}

TEMPLATE_TEST_CASE(
    "a transaction may run inside another one on other keys, on the same key it would deadlock",
    "[core][transaction_service]", OptimisticVersioning, PessimisticRowLock, SetNxLock)
{
    auto const repository = stocked();
    auto const service = service_of(TestType{}, repository);
    auto const other = service_of(TestType{}, repository);  // another handle to the same store
    Errc inner{};
    int nested = 0;
    service.do_in_transaction("sku-1", [&](Stock& s) {
        --s.quantity;
        inner = other.try_do_in_transaction("sku-1", decrement, {.deadline = 60s}).errc();
        nested = other.do_in_transaction("sku-2", [&](Stock& t) {
            if (service.try_do_in_transaction("sku-1", decrement).errc() != Errc::would_deadlock)
                return -1;
            return --t.quantity;
        });
    });
    CHECK(inner == Errc::would_deadlock);
    CHECK(nested == 9);
    CHECK(quantity(repository) == 9);
    // A second store may hold the same key.
    auto const elsewhere = stocked(5);
    auto const second = service_of(TestType{}, elsewhere);
    CHECK(service.do_in_transaction("sku-1", [&](Stock&) {
        return second.do_in_transaction("sku-1", decrement);
    }) == 4);
}

TEMPLATE_TEST_CASE(
    "two keys named in both orders by many threads never deadlock and keep the sum",
    "[core][transaction_service]", OptimisticVersioning, PessimisticRowLock, SetNxLock)
{
    auto const repository = stocked(1000);
    auto const service = service_of(TestType{}, repository);
    std::atomic<int> failed{0};
    run_threads(6, [&](std::size_t i) {
        for (int n = 0; n < 50; ++n) {
            auto const move_one = [](Stock& from, Stock& to) {
                --from.quantity;
                ++to.quantity;
            };
            auto const outcome =
                i % 2 == 0
                    ? service.try_do_in_transaction(keys("sku-1", "sku-2"), move_one, {.deadline = 60s})
                    : service.try_do_in_transaction(keys("sku-2", "sku-1"), move_one, {.deadline = 60s});
            failed += outcome ? 0 : 1;
        }
    });
    CHECK(failed == 0);
    CHECK(quantity(repository, "sku-1") == 1000);
    CHECK(quantity(repository, "sku-2") == 1000);
}

TEMPLATE_TEST_CASE(
    "the result of one transaction can be used in the next one", "[core][transaction_service]",
    OptimisticVersioning, PessimisticRowLock, SetNxLock)
{
    auto const repository = stocked();
    auto const service = service_of(TestType{}, repository);
    auto const taken = service.do_in_transaction(
        "sku-1", [](Stock& s) { return std::exchange(s.quantity, s.quantity - 3), 3; });
    service.do_in_transaction("sku-2", [&](Stock& s) { s.quantity += taken; });
    CHECK(quantity(repository, "sku-1") == 7);
    CHECK(quantity(repository, "sku-2") == 13);
}

// ---- law P4: one operation id has one effect and one answer -------------------------------------

TEMPLATE_TEST_CASE(
    "the same operation id gets the first answer and has one effect", "[core][transaction_service]",
    OptimisticVersioning, PessimisticRowLock, SetNxLock)
{
    auto const repository = stocked();
    auto const service = service_of(TestType{}, repository);
    int runs = 0;
    auto const take = [&](Stock& s) {
        ++runs;
        --s.quantity;
        return Response{200, "left " + std::to_string(s.quantity)};
    };
    auto const first = service.try_do_in_transaction(OperationId{"op-1"}, "sku-1", take);
    auto const second = service.try_do_in_transaction(OperationId{"op-1"}, "sku-1", take);
    REQUIRE(first);
    REQUIRE(second);
    CHECK(*first == *second);
    CHECK_FALSE(first.replayed());
    CHECK(second.replayed());
    CHECK(runs == 1);
    CHECK(quantity(repository) == 9);
    CHECK(service.do_in_transaction(OperationId{"op-2"}, "sku-1", take).body == "left 8");
    // Another key: another one.
    CHECK(service.do_in_transaction(OperationId{"op-1"}, "sku-2", take).body == "left 9");

    // No result is an answer as well, and so is a result without a change; a throw is none.
    service.do_in_transaction(OperationId{"op-3"}, "sku-1", [](Stock& s) { --s.quantity; });
    service.do_in_transaction(OperationId{"op-3"}, "sku-1", [](Stock& s) { --s.quantity; });
    CHECK(quantity(repository) == 7);
    auto const look = [](Stock& s) { return s.quantity; };
    CHECK(service.do_in_transaction(OperationId{"op-4"}, "sku-1", look) == 7);
    service.do_in_transaction("sku-1", [](Stock& s) { --s.quantity; });
    CHECK(service.do_in_transaction(OperationId{"op-4"}, "sku-1", look) == 7);
    CHECK_THROWS(service.do_in_transaction(OperationId{"op-5"}, "sku-1", [](Stock&) -> int { throw 1; }));
    CHECK(service.do_in_transaction(OperationId{"op-5"}, "sku-1", look) == 6);
}

TEMPLATE_TEST_CASE(
    "an answer that was stored as another type is unknown because of corrupt_state",
    "[core][transaction_service]", OptimisticVersioning, PessimisticRowLock, SetNxLock)
{
    auto const repository = stocked();
    auto const service = service_of(TestType{}, repository);
    service.do_in_transaction(
        OperationId{"op-1"}, "sku-1", [](Stock& s) { return Response{200, std::to_string(--s.quantity)}; });
    auto const outcome = service.try_do_in_transaction(
        OperationId{"op-1"}, "sku-1", [](Stock& s) { return std::vector<int>{--s.quantity}; });
    CHECK(outcome.errc() == Errc::outcome_unknown);
    CHECK(outcome.cause() == Errc::corrupt_state);
    CHECK(quantity(repository) == 9);
}

TEMPLATE_TEST_CASE(
    "concurrent duplicates of one operation have one effect and equal answers", "[core][transaction_service]",
    OptimisticVersioning, PessimisticRowLock, SetNxLock)
{
    auto const repository = stocked(1000);
    auto const service = service_of(TestType{}, repository);
    constexpr std::size_t threads = 64;
    std::vector<std::optional<Outcome<Response>>> answers(threads);
    run_threads(threads, [&](std::size_t i) {
        answers[i] = service.try_do_in_transaction(
            OperationId{"op-1"}, "sku-1",
            [i](Stock& s) { return Response{--s.quantity, "by " + std::to_string(i)}; }, {.deadline = 60s});
    });
    CHECK(quantity(repository) == 999);
    int executed = 0;
    for (auto const& answer : answers) {
        REQUIRE(*answer);
        CHECK(**answer == **answers[0]);
        executed += answer->replayed() ? 0 : 1;
    }
    CHECK(executed == 1);
}

TEMPLATE_TEST_CASE(
    "a result too large to be recorded is refused before the effect", "[core][transaction_service]",
    OptimisticVersioning, PessimisticRowLock, SetNxLock)
{
    auto const repository = stocked();
    auto const service = service_of(TestType{}, repository);
    auto const answer_of = [](std::size_t size) {
        return [size](Stock& s) {
            --s.quantity;
            return std::string(size, 'x');
        };
    };
    auto const refused =
        service.try_do_in_transaction(OperationId{"op-1"}, "sku-1", answer_of((std::size_t{1} << 20) + 1));
    CHECK(refused.errc() == Errc::invalid_argument);
    CHECK(quantity(repository) == 10);
    CHECK_FALSE(*repository.find_operation(Key{std::string("sku-1")}, OperationId{"op-1"}));
    CHECK(service.try_do_in_transaction(OperationId{"op-1"}, "sku-1", answer_of(std::size_t{1} << 20)));
    CHECK(quantity(repository) == 9);
}

TEMPLATE_TEST_CASE(
    "an operation's answer is kept until its retention ends, to the millisecond",
    "[core][transaction_service]", OptimisticVersioning, PessimisticRowLock, SetNxLock)
{
    ManualRuntime const runtime;
    memory::StateRepository<Stock, void, ManualRuntime> const repository{{.retention = 1h}, runtime};
    static_cast<void>(repository.insert(Stock{"sku-1", 10}).value());
    TransactionService const service{TestType{}, repository};
    OperationId const id{"op-1"};
    CHECK(service.do_in_transaction(id, "sku-1", decrement) == 9);
    runtime.advance(1h - 1ms);
    CHECK(service.do_in_transaction(id, "sku-1", decrement) == 9);
    runtime.advance(1ms);
    CHECK(service.do_in_transaction(id, "sku-1", decrement) == 8);
    CHECK(service.do_in_transaction(id, "sku-1", decrement) == 8);
}

TEST_CASE("several keys share one operation record, at the smallest of them", "[core][transaction_service]")
{
    auto const repository = stocked();
    TransactionService const service{OptimisticVersioning{}, repository};
    auto const both = [](Stock& a, Stock& b) { return --a.quantity + --b.quantity; };
    CHECK(service.do_in_transaction(OperationId{"op"}, keys("sku-2", "sku-1"), both) == 18);
    CHECK(service.do_in_transaction(OperationId{"op"}, keys("sku-1", "sku-2"), both) == 18);
    CHECK(*repository.find_operation(Key{std::string("sku-1")}, OperationId{"op"}));
    CHECK_FALSE(*repository.find_operation(Key{std::string("sku-2")}, OperationId{"op"}));
}

// ---- law P5: a lost reply is unknown, or found out ----------------------------------------------

/// A store that loses the reply of its next commit, before or after it was applied.
class Forgetful : public BlockingRepository<Repository> {
public:
    enum class Lose { nothing, before, after };
    explicit Forgetful(Repository inner)
        : BlockingRepository(std::move(inner)), lose_(std::make_shared<std::atomic<Lose>>(Lose::nothing))
    {}
    using BlockingRepository::carry_out;
    Outcome<CommitResult> carry_out(verb::Commit<Stock> const& commit, Deadline deadline) const
    {
        auto const lose = lose_->exchange(Lose::nothing);
        if (lose == Lose::before)
            return Failure::unknown(Errc::unavailable);
        auto result = BlockingRepository::carry_out(commit, deadline);
        if (lose == Lose::after)
            return Failure::unknown(Errc::unavailable);
        return result;
    }
    void lose_next(Lose what) const { *lose_ = what; }

private:
    std::shared_ptr<std::atomic<Lose>> lose_;
};

TEST_CASE(
    "a lost reply to a commit is unknown, or found out by the operation id", "[core][transaction_service]")
{
    using enum Forgetful::Lose;
    Forgetful const repository{stocked()};
    RecordingObserver observer;
    TransactionService const service{SetNxLock{}, repository, {.observer = &observer}};
    int runs = 0;
    auto const take = [&](Stock& s) {
        ++runs;
        return --s.quantity;
    };

    repository.lose_next(after);
    auto const unknown = service.try_do_in_transaction("sku-1", take);
    CHECK(unknown.errc() == Errc::outcome_unknown);
    CHECK(unknown.cause() == Errc::unavailable);
    CHECK(runs == 1);  // never again without an id

    repository.lose_next(after);
    auto const applied = service.try_do_in_transaction(OperationId{"op-1"}, "sku-1", take);
    REQUIRE(applied);
    CHECK(*applied == 8);
    CHECK(runs == 2);

    repository.lose_next(before);
    auto const again = service.try_do_in_transaction(OperationId{"op-2"}, "sku-1", take);
    REQUIRE(again);
    CHECK(*again == 7);
    CHECK(runs == 4);
    CHECK(quantity(repository.inner()) == 7);

    auto const events = observer.unknown();
    REQUIRE(events.size() == 3);
    CHECK(events[0].resolved == Effect::unknown);
    CHECK(events[0].cause == Errc::unavailable);
    CHECK(events[1].resolved == Effect::applied);
    CHECK(events[2].resolved == Effect::not_applied);
}

// ---- an observer is told of every end -----------------------------------------------------------

TEST_CASE("an observer is told of every end of a transaction", "[core][transaction_service]")
{
    auto const repository = stocked();
    RecordingObserver observer;
    TransactionService const service{OptimisticVersioning{}, repository, {.observer = &observer}};
    service.do_in_transaction("sku-1", decrement);
    service.do_in_transaction(OperationId{"op"}, "sku-1", decrement);
    service.do_in_transaction(OperationId{"op"}, "sku-1", decrement);
    CHECK_THROWS(service.do_in_transaction("sku-1", [](Stock&) { throw 1; }));
    CHECK(service.try_do_in_transaction("sku-0", decrement).errc() == Errc::not_found);
    auto const events = observer.transactions();
    REQUIRE(events.size() == 5);
    for (auto const& event : events) {
        CHECK(event.policy == "optimistic_versioning");
        CHECK(event.duration >= 0ns);
        CHECK(event.duration < 1min);
    }
    CHECK(events[0].result == Errc::ok);
    CHECK(events[0].attempts == 1);
    CHECK_FALSE(events[0].replayed);
    CHECK(events[2].replayed);
    CHECK(events[2].attempts == 0);
    CHECK(events[3].user_exception);
    CHECK(events[3].result != Errc::ok);
    CHECK(events[4].result == Errc::not_found);
    CHECK_FALSE(events[4].user_exception);
}

TEST_CASE(
    "an observer is told of conflicts, and a run that throws after one was not applied",
    "[core][transaction_service]")
{
    auto const repository = stocked();
    RecordingObserver observer;
    TransactionService const service{OptimisticVersioning{}, repository, {.observer = &observer}};
    auto const interfere = [&] {
        auto const now = repository.load("sku-1").value();
        static_cast<void>(
            repository.compare_and_set("sku-1", now.version, Stock{"sku-1", now.value.quantity + 5}));
    };
    CHECK_THROWS_AS(
        service.do_in_transaction(
            "sku-1",
            [&](Stock& s, TransactionContext& c) {
                if (c.attempt() == 2)
                    throw std::runtime_error("second run");
                interfere();
                return --s.quantity;
            }),
        std::runtime_error);
    REQUIRE(observer.conflicts().size() == 1);
    CHECK(observer.conflicts()[0].reason == Errc::version_conflict);
    CHECK(observer.conflicts()[0].attempt == 1);
    CHECK(observer.conflicts()[0].policy == "optimistic_versioning");
    REQUIRE(observer.retries().size() == 1);
    CHECK(observer.retries()[0].delay >= 0ns);
    REQUIRE(observer.transactions().size() == 1);
    CHECK(observer.transactions()[0].attempts == 2);
    CHECK(observer.transactions()[0].user_exception);
    CHECK(observer.transactions()[0].result != Errc::ok);  // nothing was applied
    CHECK(quantity(repository) == 15);
}

// ---- the deadline ends a call of several attempts -----------------------------------------------

/// A store that refuses its first loads with a reason, and has no answer to the next one when the deadline
/// comes.
struct Refusing {
    using value_type = Stock;
    using key_type = std::string;
    using runtime_type = ManualRuntime;
    ManualRuntime runtime() const { return time; }
    void const* identity() const { return refused.get(); }
    Outcome<Versioned<Stock>> carry_out(verb::Load<Stock> const&, Deadline deadline) const
    {
        if (++*refused <= refusals)
            return Failure{Errc::unavailable, "the server runs a script"};
        time.advance_to(deadline.at(time.now()));
        Failure last{Errc::unavailable, "no reply"};
        return says_deadline ? Failure::because(Errc::deadline_exceeded, std::move(last)) : std::move(last);
    }
    Outcome<Version> carry_out(verb::Insert<Stock> const&, Deadline) const { return Errc::misconfigured; }
    Outcome<Version> carry_out(verb::CompareAndSet<Stock> const&, Deadline) const
    {
        return Errc::misconfigured;
    }
    Outcome<Version> carry_out(verb::Erase const&, Deadline) const { return Errc::misconfigured; }

    int refusals;
    bool says_deadline{false};  // of the attempt that it cuts
    std::shared_ptr<int> refused{std::make_shared<int>(0)};
    ManualRuntime time{};
};

TEST_CASE(
    "what the store said is told, although the deadline cut the last attempt", "[core][transaction_service]")
{
    auto const message_after = [](int refusals, bool says_deadline = false) {
        TransactionService const service{OptimisticVersioning{}, Refusing{refusals, says_deadline}};
        auto const outcome = service.try_do_in_transaction("x", [](Stock&) {}, {.deadline = 1h});
        CHECK(outcome.errc() == Errc::deadline_exceeded);
        CHECK(outcome.cause() == Errc::unavailable);
        return outcome.message();
    };
    CHECK_THAT(
        message_after(2),
        Catch::Matchers::EndsWith("after 3 attempts, the last ended with unavailable: no reply; before that: "
                                  "the server runs a script"));
    CHECK_THAT(
        message_after(0),
        Catch::Matchers::EndsWith("after 1 attempts, the last ended with unavailable: no reply"));
    CHECK_THAT(
        message_after(2, true), Catch::Matchers::EndsWith("no reply; before that: the server runs a script"));
    CHECK_THAT(message_after(0, true), Catch::Matchers::EndsWith("no reply"));
}

}  // namespace transaction_service_test
