// SPDX-License-Identifier: BSL-1.0

// One request, one effect, one answer: under duplicates, crashes, slow owners, rejections, lost wake-ups and
// full stores.
//
// How it works: `World` has a repository, a store of records and a clock that moves only when a case says so
// (`ManualRuntime`), so that leases and retentions end exactly when the case wants. A crashed owner is a
// claim that the case makes itself and never ends. `runs` counts how often the operation ran, which may be
// more often than it has effects.

#include <interlock/backends/memory/idempotency_store.hpp>
#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/idempotency_keys.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>

#include "support/catch.hpp"
#include "support/manual_runtime.hpp"
#include "support/recording_observer.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace idempotency_keys_test {

namespace asio = boost::asio;
using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::ManualRuntime;
using interlock_test::RecordingObserver;
using interlock_test::Response;
using interlock_test::run_threads;
using interlock_test::Stock;

using Repository = memory::StateRepository<Stock, void, ManualRuntime>;
using Store = memory::BasicIdempotencyStore<ManualRuntime>;

IdempotentRequest request(std::string const& key = "k-1", std::string const& body = "body")
{
    return {key, Scope("tenant"), fingerprint(body)};
}

template <class Inner = OptimisticVersioning>
struct World {
    explicit World(IdempotencyOptions options = {.lease = 10s}, std::chrono::nanoseconds retention = 24h)
        : repository({.retention = 48h}, runtime), store({.retention = retention}, runtime),
          service(IdempotencyKeys{Inner{}, store, options}, repository, {.observer = &observer})
    {
        static_cast<void>(repository.insert(Stock{"x", 10}).value());
    }
    static OperationId service_operation_id()
    {
        return OperationId{"idempotency:" + interlock::detail::request_digest(request().name())};
    }
    int quantity() const { return repository.load("x")->value.quantity; }
    auto take(IdempotentRequest const& which = request())
    {
        return service.try_do_in_transaction(which, "x", [this](Stock& s) {
            ++runs;
            return Response{201, "left " + std::to_string(--s.quantity)};
        });
    }

    ManualRuntime runtime;
    RecordingObserver observer;
    Repository repository;
    Store store;
    TransactionService<Stock, IdempotencyKeys<Inner, Store>, Repository> service;
    int runs{0};
};

TEST_CASE(
    "an operation's effects outside the store are repeated when its claim is taken over",
    "[policies][idempotency_keys]")
{
    // Documented as at least once: only the write made through the library is made once.
    World<> world;
    int outside = 0;
    std::string theirs;
    auto const charge = [&](Stock& s) {
        if (++outside == 1) {
            world.runtime.advance(11s);  // paused for longer than its lease; somebody else comes meanwhile
            run_threads(1, [&](std::size_t) {
                theirs = world.service
                             .do_in_transaction(
                                 request(), "x",
                                 [&](Stock& t) {
                                     ++outside;
                                     return Response{201, "left " + std::to_string(--t.quantity)};
                                 },
                                 {.deadline = 60s})
                             .value()
                             .body;
            });
        }
        return Response{201, "left " + std::to_string(--s.quantity)};
    };
    auto const answer = world.service.try_do_in_transaction(request(), "x", charge, {.deadline = 60s});
    REQUIRE(answer);
    CHECK(answer->value().body == "left 9");
    CHECK(answer->replayed());
    CHECK(theirs == "left 9");
    CHECK(outside == 2);
    CHECK(world.quantity() == 9);
}

TEMPLATE_TEST_CASE(
    "a request is executed once and every retry gets its answer", "[policies][idempotency_keys]",
    OptimisticVersioning, PessimisticRowLock, SetNxLock)
{
    World<TestType> world;
    auto const first = world.take();
    REQUIRE(first);
    CHECK_FALSE(first->replayed());
    auto const second = world.take(request("\"k-1\""));
    REQUIRE(second);
    CHECK(second->replayed());
    CHECK(second->value() == first->value());
    CHECK(world.runs == 1);
    CHECK(world.quantity() == 9);
    CHECK_FALSE(world.take(request("k-2"))->replayed());
    CHECK_FALSE(world.take({"k-1", Scope("another tenant")})->replayed());
    CHECK(world.runs == 3);
    CHECK(world.observer.count(IdempotencyEvent::executed) == 3);
    CHECK(world.observer.count(IdempotencyEvent::replayed) == 1);
}

TEST_CASE("a missing, overlong or malformed key is refused", "[policies][idempotency_keys]")
{
    World<> world;
    for (auto const& bad : {std::string(), std::string(256, 'k'), std::string("a\nb")})
        CHECK(world.take(request(bad)).errc() == Errc::invalid_argument);
    CHECK(world.runs == 0);
    CHECK(world.store.size() == 0);
    World<> unfit(IdempotencyOptions{.lease = 1ms});
    CHECK(unfit.take().errc() == Errc::invalid_argument);
}

TEST_CASE(
    "the same key with another fingerprint is refused, also while the first request is in progress",
    "[policies][idempotency_keys]")
{
    World<> world;
    std::optional<Errc> during;
    world.service.do_in_transaction(request(), "x", [&](Stock& s) {
        run_threads(1, [&](std::size_t) { during = world.take(request("k-1", "another body")).errc(); });
        return Response{200, std::to_string(--s.quantity)};
    });
    CHECK(during == Errc::idempotency_mismatch);
    CHECK(world.take(request("k-1", "another body")).errc() == Errc::idempotency_mismatch);
    CHECK(world.runs == 0);
    CHECK(world.take()->value().body == "9");
    CHECK(world.observer.count(IdempotencyEvent::mismatch) == 2);
}

TEST_CASE(
    "a duplicate is refused during the execution, and is told the rest of the lease",
    "[policies][idempotency_keys]")
{
    World<> world;
    static_cast<void>(world.store.claim(request(), OwnerToken{{1, 1}}, 10s, AfterLease::take_over).value());
    world.runtime.advance(4s);
    auto const refused = world.take();
    CHECK(refused.errc() == Errc::idempotency_in_progress);
    CHECK(refused.failure().retry_after() == 6s);
    CHECK(world.runs == 0);
    CHECK(world.observer.count(IdempotencyEvent::in_progress) == 1);
}

TEST_CASE("a duplicate that waits gets the answer, or ends by its deadline", "[policies][idempotency_keys]")
{
    World<> world(IdempotencyOptions{.lease = 1min, .duplicates = Duplicates::wait});
    OwnerToken const other{{1, 1}};
    static_cast<void>(world.store.claim(request(), other, 1min, AfterLease::take_over).value());
    world.runtime.waits_advance(true);
    CHECK(world.take().errc() == Errc::deadline_exceeded);
    world.runtime.waits_advance(false);
    std::optional<Outcome<Answer<Response>>> answer;
    run_threads(2, [&](std::size_t i) {
        if (i == 0)
            answer = world.take();
        else
            static_cast<void>(world.store.complete(
                request(), other, interlock::detail::encode_answer(Response{200, "theirs"}), false));
    });
    REQUIRE(answer);
    REQUIRE(*answer);
    CHECK((*answer)->replayed());
    CHECK((*answer)->value().body == "theirs");
    CHECK(world.runs == 0);
}

/// Wakes nobody, though it says so: every wake-up is lost.
class DeafStore : public memory::IdempotencyStore {
public:
    using memory::IdempotencyStore::IdempotencyStore;
    void subscribe(IdempotentRequest const&, Waiter&) const {}
    void unsubscribe(IdempotentRequest const&, Waiter&) const noexcept {}
};

TEST_CASE(
    "a duplicate that waits gets the answer although every wake-up is lost", "[policies][idempotency_keys]")
{
    memory::StateRepository<Stock> const repository;
    static_cast<void>(repository.insert(Stock{"x", 10}).value());
    DeafStore const store;
    OwnerToken const other{{1, 1}};
    static_cast<void>(store.claim(request(), other, 1min, AfterLease::take_over).value());
    TransactionService const service{
        IdempotencyKeys{OptimisticVersioning{}, store, {.duplicates = Duplicates::wait}}, repository};
    std::optional<Outcome<Answer<Response>>> answer;
    run_threads(2, [&](std::size_t i) {
        if (i == 0) {
            answer = service.try_do_in_transaction(
                request(), "x", [](Stock&) { return Response{}; }, {.deadline = 20s});
        } else {
            std::this_thread::sleep_for(100ms);  // it waits by now, or else gets the answer at once
            static_cast<void>(store.complete(
                request(), other, interlock::detail::encode_answer(Response{200, "theirs"}), false));
        }
    });
    REQUIRE(answer);
    REQUIRE(*answer);
    CHECK((*answer)->value().body == "theirs");
}

TEST_CASE(
    "a crashed owner's claim is taken over when its lease ends, to the millisecond",
    "[policies][idempotency_keys]")
{
    World<> world;
    OwnerToken const crashed{{1, 1}};
    static_cast<void>(world.store.claim(request(), crashed, 10s, AfterLease::take_over).value());
    world.runtime.advance(10s - 1ms);
    CHECK(world.take().errc() == Errc::idempotency_in_progress);
    world.runtime.advance(1ms);
    CHECK(world.take());
    CHECK(world.runs == 1);
    CHECK(world.store.complete(request(), crashed, "late", false).errc() == Errc::fenced_out);
    CHECK(world.observer.count(IdempotencyEvent::taken_over) == 1);

    World<> strict(IdempotencyOptions{.lease = 10s, .after_lease = AfterLease::refuse});
    static_cast<void>(strict.store.claim(request(), crashed, 10s, AfterLease::take_over).value());
    strict.runtime.advance(1h);
    CHECK(strict.take().errc() == Errc::idempotency_in_progress);
    CHECK(strict.runs == 0);
}

TEMPLATE_TEST_CASE(
    "a slow owner and its successor have one effect and one answer", "[policies][idempotency_keys]",
    OptimisticVersioning, SetNxLock)
{
    // The slow one loses its claim while it runs; its successor is applied first.
    World<TestType> world;
    World<TestType>* const w = &world;
    std::optional<Outcome<Answer<Response>>> successor;
    auto const other_key = Key{std::string("x")};
    auto const slow = world.service.try_do_in_transaction(request(), "x", [&](Stock& s) {
        if (!successor) {
            w->runtime.advance(11s);
            if constexpr (std::is_same_v<TestType, SetNxLock>)
                static_cast<void>(w->repository.force_release(other_key));
            // On another thread, as another process would: this one's operation holds the key.
            run_threads(1, [&](std::size_t) {
                World<TestType>& other = *w;
                TransactionService const fresh{
                    IdempotencyKeys{TestType{}, other.store, {.lease = 10s}}, other.repository};
                successor = fresh.try_do_in_transaction(request(), "x", [](Stock& t) {
                    return Response{201, "successor " + std::to_string(--t.quantity)};
                });
            });
        }
        return Response{201, "slow " + std::to_string(--s.quantity)};
    });
    REQUIRE(successor);
    REQUIRE(*successor);
    CHECK((*successor)->value().body == "successor 9");
    CHECK(world.quantity() == 9);
    if (slow) {
        CHECK(slow->value() == (*successor)->value());
    } else {
        CHECK(slow.effect() == Effect::not_applied);  // fenced out, or conflicting
    }
    CHECK(world.take()->value().body == "successor 9");
}

TEST_CASE(
    "an operation that throws gives its claim back, while a final rejection is kept as the answer",
    "[policies][idempotency_keys]")
{
    World<> world;
    CHECK_THROWS_AS(
        world.service.do_in_transaction(
            request(), "x",
            [](Stock& s) -> int {
                s.quantity = -1;
                throw std::runtime_error("try again");
            }),
        std::runtime_error);
    CHECK(world.store.size() == 0);
    CHECK(world.quantity() == 10);
    CHECK(world.observer.count(IdempotencyEvent::given_back) == 1);
    int runs = 0;
    auto const reject = [&](Stock& s) -> int {
        ++runs;
        s.quantity = -1;
        throw FinalRejection("insufficient funds");
    };
    for (int i = 0; i < 3; ++i) {
        std::string text;
        try {
            world.service.do_in_transaction(request(), "x", reject);
        } catch (FinalRejection const& rejection) {
            text = rejection.what();
        }
        CHECK(text == "insufficient funds");
    }
    CHECK(runs == 1);
    CHECK(world.quantity() == 10);
    // What was not applied for other reasons is not stored either.
    CHECK(
        world.service.try_do_in_transaction(request("k-9"), "missing", [](Stock&) { return 1; }).errc() ==
        Errc::not_found);
    CHECK(world.store.size() == 1);
}

TEST_CASE(
    "a slow owner's rejection gives way to the answer of the successor that was applied",
    "[policies][idempotency_keys]")
{
    World<> world(IdempotencyOptions{.lease = 10s});
    auto const slow = world.service.try_do_in_transaction(
        request(), "x",
        [&](Stock&) -> Response {
            world.runtime.advance(11s);
            std::thread([&] { CHECK(world.take()); }).join();
            throw FinalRejection("insufficient funds");
        },
        {.deadline = 60s});
    REQUIRE(slow);
    CHECK(slow->replayed());
    CHECK(slow->value().body == "left 9");  // what the other one was told
    CHECK(world.take()->replayed());
    CHECK(world.quantity() == 9);
}

TEST_CASE("a rejection is not final if the claim was taken over meanwhile", "[policies][idempotency_keys]")
{
    World<> world(IdempotencyOptions{.lease = 10s});
    auto const slow = world.service.try_do_in_transaction(
        request(), "x",
        [&](Stock&) -> Response {
            world.runtime.advance(11s);
            static_cast<void>(
                world.store.claim(request(), OwnerToken{{1, 1}}, 10s, AfterLease::take_over).value());
            throw FinalRejection("insufficient funds");
        },
        {.deadline = 60s});
    CHECK(slow.errc() == Errc::idempotency_in_progress);
    CHECK(slow.effect() == Effect::not_applied);
    CHECK(world.quantity() == 10);
}

TEST_CASE(
    "a slow owner cannot apply a request that its successor has rejected", "[policies][idempotency_keys]")
{
    World<> world(IdempotencyOptions{.lease = 10s});
    bool once = false;
    std::string slow;
    auto const reject = [](Stock&) -> Response { throw FinalRejection("limit reached"); };
    try {
        static_cast<void>(world.service.do_in_transaction(
            request(), "x",
            [&](Stock& s) {
                if (!std::exchange(once, true)) {
                    world.runtime.advance(11s);
                    run_threads(1, [&](std::size_t) {
                        CHECK_THROWS_AS(
                            world.service.do_in_transaction(request(), "x", reject), FinalRejection);
                    });
                }
                return Response{201, "left " + std::to_string(--s.quantity)};
            },
            {.deadline = 60s}));
    } catch (FinalRejection const& rejection) {
        slow = rejection.what();
    }
    CHECK(slow == "limit reached");
    CHECK(world.quantity() == 10);
    CHECK_THROWS_AS(
        world.service.do_in_transaction(request(), "x", [](Stock&) { return Response{}; }), FinalRejection);
}

TEMPLATE_TEST_CASE(
    "a request whose retry names another state has one effect, whoever comes first",
    "[policies][idempotency_keys]", OptimisticVersioning, SetNxLock)
{
    for (bool const slow_first : {false, true}) {
        World<TestType> world(IdempotencyOptions{.lease = 10s});
        static_cast<void>(world.repository.insert(Stock{"y", 10}).value());
        std::optional<Outcome<Answer<Response>>> successor;
        auto const other = [&] {
            run_threads(1, [&](std::size_t) {
                successor = world.service.try_do_in_transaction(
                    request(), "y",
                    [](Stock& s) { return Response{201, "y " + std::to_string(--s.quantity)}; },
                    {.deadline = 60s});
            });
        };
        bool once = slow_first;
        auto const slow = world.service.try_do_in_transaction(
            request(), "x",
            [&](Stock& s) {
                if (!std::exchange(once, true)) {
                    world.runtime.advance(11s);
                    other();
                }
                return Response{201, "x " + std::to_string(--s.quantity)};
            },
            {.deadline = 60s});
        if (slow_first) {
            // As if it had died before it completed its claim.
            world.runtime.advance(11s);
            other();
        }
        REQUIRE(successor);
        REQUIRE(*successor);
        CHECK(world.quantity() + world.repository.load("y")->value.quantity == 19);
        if (slow)
            CHECK(slow->value() == (*successor)->value());
        else
            CHECK(slow.effect() == Effect::not_applied);
        CHECK(world.take()->value() == (*successor)->value());
    }
}

TEST_CASE(
    "a retry that names another state finds the effect of an owner that died", "[policies][idempotency_keys]")
{
    World<> world(IdempotencyOptions{.lease = 10s});
    static_cast<void>(world.repository.insert(Stock{"y", 10}).value());
    OwnerToken const dead{{1, 1}};
    auto const id = world.service_operation_id();
    Key const home{std::string("x")};
    static_cast<void>(
        world.store.claim(request(), dead, 10s, AfterLease::take_over, {}, NamedAttempt{&home, 1}).value());
    auto const version = world.repository.load("x")->version;
    Stock const changed{"x", 9};
    Change<Stock> change{.key = &home, .kind = ChangeKind::write, .version = version, .value = &changed};
    auto const answer = interlock::detail::encode_answer(Response{201, "theirs"});
    OperationCommit const operation{&home, &id, 1, answer};
    REQUIRE(world.repository.commit(std::span{&change, 1}, &operation));
    world.runtime.advance(11s);
    auto const retry = world.service.try_do_in_transaction(
        request(), "y", [](Stock& s) { return Response{201, "mine " + std::to_string(--s.quantity)}; });
    REQUIRE(retry);
    CHECK(retry->replayed());
    CHECK(retry->value().body == "theirs");
    CHECK(world.repository.load("y")->value.quantity == 10);
    CHECK(world.take(request("k-1", "another body")).errc() == Errc::idempotency_mismatch);
}

TEST_CASE(
    "a tombstone of an earlier call does not keep a request from being run", "[policies][idempotency_keys]")
{
    World<> world;
    auto const id = world.service_operation_id();
    Key const home{std::string("x")};
    static_cast<void>(world.repository.forbid_operation(home, id, 7).value());
    auto const first = world.take();
    REQUIRE(first);
    CHECK(world.runs == 1);
    CHECK(world.quantity() == 9);
    // The claim named the attempt that was made, so that whoever takes over could settle it.
    auto const record = world.repository.find_operation(home, id).value();
    REQUIRE(record);
    CHECK(record->attempt == 8);
}

TEST_CASE("a claim that is given back unsettled still names its attempt", "[policies][idempotency_keys]")
{
    // The owner takes over and then cannot end: as if its call had been destroyed.
    World<> world;
    Key const home{std::string("x")};
    OwnerToken const dead{{1, 1}};
    OwnerToken const second{{2, 2}};
    static_cast<void>(
        world.store.claim(request(), dead, 10s, AfterLease::take_over, {}, NamedAttempt{&home, 1}).value());
    world.runtime.advance(11s);
    CHECK(
        world.store.claim(request(), second, 10s, AfterLease::take_over).value().state ==
        ClaimState::taken_over);
    CHECK(world.store.give_back(request(), second));
    CHECK(world.take(request("k-1", "another body")).errc() == Errc::idempotency_mismatch);
    CHECK(world.take());  // at once
    CHECK(world.quantity() == 9);
    CHECK(world.observer.count(IdempotencyEvent::taken_over) == 1);
}

TEST_CASE(
    "an operation record is kept as long as its request's, whatever the repository's retention is",
    "[policies][idempotency_keys]")
{
    ManualRuntime const runtime;
    Repository const repository{{.retention = 1s}, runtime};
    Store const store{{.retention = 24h}, runtime};
    static_cast<void>(repository.insert(Stock{"x", 10}).value());
    TransactionService const service{
        IdempotencyKeys{OptimisticVersioning{}, store, IdempotencyOptions{.lease = 10s}}, repository};
    OwnerToken const dead{{1, 1}};
    Key const home{std::string("x")};
    auto const take = [](Stock& s) { return Response{201, "left " + std::to_string(--s.quantity)}; };
    REQUIRE(service.do_in_transaction(request(), "x", take).value().body == "left 9");
    // A record of the same request without its answer, as an owner leaves it that dies before it completes
    // it.
    Store const fresh{{.retention = 24h}, runtime};
    static_cast<void>(
        fresh.claim(request(), dead, 10s, AfterLease::take_over, {}, NamedAttempt{&home, 1}).value());
    TransactionService const again{
        IdempotencyKeys{OptimisticVersioning{}, fresh, IdempotencyOptions{.lease = 10s}}, repository};
    runtime.advance(23h);
    auto const answer = again.try_do_in_transaction(request(), "x", take);
    REQUIRE(answer);
    CHECK(answer->replayed());
    CHECK(repository.load("x")->value.quantity == 9);
    // Other operations are kept for the repository's time, as before.
    OperationId const other{"other"};
    static_cast<void>(repository.forbid_operation(home, other, 1).value());
    runtime.advance(1s);
    CHECK_FALSE(repository.find_operation(home, other).value());
}

TEST_CASE("an answer too large to be kept is refused before the effect", "[policies][idempotency_keys]")
{
    World<> world;
    auto const refused = world.service.try_do_in_transaction(request(), "x", [](Stock& s) {
        --s.quantity;
        return std::string((std::size_t{1} << 20) + 1, 'x');
    });
    CHECK(refused.errc() == Errc::invalid_argument);
    CHECK(world.quantity() == 10);
    CHECK(world.take());
}

TEST_CASE(
    "the answer to a request is kept until the store's retention ends, to the millisecond",
    "[policies][idempotency_keys]")
{
    // The operation records are kept longer here, so that a purged claim alone repeats nothing.
    World<> world(IdempotencyOptions{.lease = 10s}, 1h);
    CHECK(world.take());
    world.runtime.advance(1h - 1ms);
    CHECK(world.take()->replayed());
    world.runtime.advance(1ms);
    CHECK(world.take()->replayed());
    CHECK(world.runs == 1);
    world.runtime.advance(48h);
    CHECK_FALSE(world.take()->replayed());
    CHECK(world.runs == 2);
    CHECK(world.quantity() == 8);
}

TEST_CASE(
    "a store that is full fails the request and never runs it unguarded", "[policies][idempotency_keys]")
{
    Repository const repository;
    static_cast<void>(repository.insert(Stock{"x", 10}).value());
    Store const store{{.max_records = 1}};
    TransactionService const service{IdempotencyKeys{OptimisticVersioning{}, store}, repository};
    auto const take = [](Stock& s) { return --s.quantity; };
    CHECK(service.try_do_in_transaction(request("1"), "x", take));
    CHECK(service.try_do_in_transaction(request("2"), "x", take).errc() == Errc::overloaded);
    CHECK(repository.load("x")->value.quantity == 9);
}

TEMPLATE_TEST_CASE(
    "64 duplicates at once have one effect and one answer", "[policies][idempotency_keys]",
    OptimisticVersioning, PessimisticRowLock, SetNxLock)
{
    memory::StateRepository<Stock> const repository;
    static_cast<void>(repository.insert(Stock{"x", 1000}).value());
    memory::IdempotencyStore const store;
    TransactionService const service{
        IdempotencyKeys{TestType{}, store, {.duplicates = Duplicates::wait}}, repository};
    constexpr std::size_t threads = 64;
    std::atomic<int> executions{0};
    std::vector<std::optional<Outcome<Answer<Response>>>> answers(threads);
    run_threads(threads, [&](std::size_t i) {
        answers[i] = service.try_do_in_transaction(
            request(), "x",
            [&](Stock& s) {
                ++executions;
                --s.quantity;
                return Response{201, "by " + std::to_string(i)};
            },
            {.deadline = 60s});
    });
    CHECK(executions == 1);
    CHECK(repository.load("x")->value.quantity == 999);
    int fresh = 0;
    for (auto const& answer : answers) {
        REQUIRE(*answer);
        CHECK((*answer)->value() == (*answers[0])->value());
        fresh += (*answer)->replayed() ? 0 : 1;
    }
    CHECK(fresh == 1);
}

TEST_CASE("asynchronous duplicates that wait get one answer", "[policies][idempotency_keys]")
{
    memory::StateRepository<Stock> const repository;
    static_cast<void>(repository.insert(Stock{"x", 10}).value());
    TransactionService const service{
        IdempotencyKeys{SetNxLock{}, memory::IdempotencyStore{}, {.duplicates = Duplicates::wait}},
        repository};
    asio::io_context io;
    auto const take = [](Stock& s) { return --s.quantity; };
    int replayed = 0;
    int answered = 0;
    for (int i = 0; i < 10; ++i)
        service.async_do_in_transaction(
            request(), "x", take, asio::bind_executor(io, [&](std::exception_ptr e, Answer<int> answer) {
                answered += !e && *answer == 9 ? 1 : 0;
                replayed += answer.replayed() ? 1 : 0;
            }));
    io.run();
    CHECK(answered == 10);
    CHECK(replayed == 9);
    CHECK(repository.load("x")->value.quantity == 9);
}

}  // namespace idempotency_keys_test
