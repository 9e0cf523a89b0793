// SPDX-License-Identifier: BSL-1.0

// Idempotency records in the transaction of the effect (`IdempotencyInTransaction`), and records with a
// lease.
//
// How it works: a real server, a stock of ten, and a service that takes one piece per request. The stock and
// the number of records, both read through a connection of their own, tell whether effect and record came
// together. Duplicates run on threads and from a second pool.

#include <interlock/backends/postgres/idempotency_store.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/idempotency_in_transaction.hpp>
#include <interlock/policies/idempotency_keys.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>

#include "support/catch.hpp"
#include "support/middleman.hpp"
#include "support/postgres_server.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace postgres_idempotency_store_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::fresh_pool;
using interlock_test::postgres_server;
using interlock_test::run_threads;
using interlock_test::Stock;

struct Shop {
    Shop() { static_cast<void>(stock.insert(Stock{"x", 10}).value()); }
    int left() const { return stock.load("x").value().value.quantity; }
    auto service(Duplicates duplicates = Duplicates::wait) const
    {
        return TransactionService{IdempotencyInTransaction{PessimisticRowLock{}, keys, duplicates}, stock};
    }
    int records() const
    {
        return std::stoi(
            postgres_server().command("SELECT count(*) FROM " + pool.options().name_space + "_idempotency"));
    }
    postgres::Pool pool{fresh_pool()};
    postgres::StateRepository<Stock> stock{pool};
    postgres::TransactionalIdempotencyStore keys{pool};
};

IdempotentRequest request(std::string_view key, std::string_view body = "body")
{
    return IdempotentRequest(key, Scope("s"), fingerprint(body));
}

TEST_CASE("claim, effect and answer commit together", "[postgres][idempotency_store]")
{
    Shop const shop;
    auto const service = shop.service();
    int runs = 0;
    auto const take = [&](Stock& s) {
        ++runs;
        return --s.quantity;
    };
    auto const first = service.do_in_transaction(request("k"), "x", take);
    CHECK_FALSE(first.replayed());
    CHECK(first.value() == 9);
    auto const again = service.do_in_transaction(request("k"), "x", take);
    CHECK(again.replayed());
    CHECK(again.value() == 9);
    auto const mismatch = service.try_do_in_transaction(request("k", "another body"), "x", take);
    CHECK(mismatch.errc() == Errc::idempotency_mismatch);
    auto const place = "postgres table \"" + shop.pool.options().name_space + "_idempotency\": ";
    CHECK_THAT(mismatch.detail(), Catch::Matchers::StartsWith(place));
    static_cast<void>(shop.stock.insert(Stock{"y", 1}).value());
    CHECK(
        service.try_do_in_transaction(request("k", "another body"), "y", take).errc() ==
        Errc::idempotency_mismatch);
    CHECK(service.try_do_in_transaction(request(""), "x", take).errc() == Errc::invalid_argument);
    CHECK(runs == 1);
    CHECK(shop.left() == 9);
    CHECK(shop.records() == 1);
}

TEST_CASE(
    "an operation that throws leaves no claim, and one that rejects leaves its rejection",
    "[postgres][idempotency_store]")
{
    Shop const shop;
    auto const service = shop.service();
    CHECK_THROWS_AS(
        service.do_in_transaction(
            request("k"), "x",
            [](Stock& s) -> int {
                --s.quantity;
                throw std::runtime_error("mine");
            }),
        std::runtime_error);
    CHECK(shop.records() == 0);
    CHECK(service.do_in_transaction(request("k"), "x", [](Stock& s) { return --s.quantity; }).value() == 9);
    int runs = 0;
    for (int i = 0; i < 2; ++i)
        CHECK_THROWS_AS(
            service.do_in_transaction(
                request("no"), "x",
                [&](Stock& s) -> int {
                    ++runs;
                    --s.quantity;
                    throw FinalRejection("insufficient funds");
                }),
            FinalRejection);
    CHECK(runs == 1);
    CHECK(shop.left() == 9);
}

TEST_CASE(
    "every caller with one key gets the first one's rejection, also a caller that would not reject",
    "[postgres][idempotency_store]")
{
    Shop const shop;
    int rejected = 0;
    int applied = 0;
    for (int round = 0; round < 40; ++round) {
        auto const key = "k" + std::to_string(round);
        auto const before = shop.left();
        std::atomic<int> runs{0};
        std::vector<std::string> told(2);
        run_threads(told.size(), [&](std::size_t i) {
            try {
                auto const answer = shop.service().do_in_transaction(
                    request(key), "x",
                    [&](Stock& s) {
                        --s.quantity;
                        if (runs++ == 0)
                            throw FinalRejection("insufficient funds");
                        return s.quantity;
                    },
                    {.deadline = 30s});
                told[i] = std::to_string(answer.value());
            } catch (FinalRejection const& rejection) {
                told[i] = rejection.what();
            }
        });
        CAPTURE(round);
        CHECK(told[0] == told[1]);
        bool const was_rejected = told[0] == "insufficient funds";
        ++(was_rejected ? rejected : applied);
        CHECK(shop.left() == (was_rejected ? before : before - 1));
        if (shop.left() < 1)
            shop.stock.compare_and_set("x", shop.stock.load("x").value().version, Stock{"x", 10}).value();
    }
    CHECK(rejected + applied == 40);
}

TEST_CASE(
    "a rejection that cannot be stored is not final, and its call ends by the deadline",
    "[postgres][idempotency_store]")
{
    Shop const shop;
    static_cast<void>(shop.stock.insert(Stock{"y", 1}).value());
    std::atomic<bool> locked{false};
    std::atomic<bool> done{false};
    std::thread somebody([&] {
        TransactionService{PessimisticRowLock{}, shop.stock}.do_in_transaction(
            "y",
            [&](Stock&, postgres::Transaction& tx) {
                tx.exec("LOCK TABLE " + shop.pool.options().name_space + "_idempotency IN EXCLUSIVE MODE");
                locked = true;
                while (!done)
                    std::this_thread::sleep_for(1ms);
            },
            {.deadline = 60s});
    });
    while (!locked)
        std::this_thread::sleep_for(1ms);
    int runs = 0;
    auto const begun = std::chrono::steady_clock::now();
    auto const outcome = shop.service().try_do_in_transaction(
        request("k"), "x",
        [&](Stock& s) -> int {
            ++runs;
            --s.quantity;
            throw FinalRejection("insufficient funds");
        },
        {.deadline = 500ms});
    CHECK(std::chrono::steady_clock::now() - begun < 4s);
    done = true;
    somebody.join();
    CHECK(outcome.effect() == Effect::not_applied);
    CHECK(outcome.detail().find("the rejection could not be stored") != std::string::npos);
    CHECK(runs == 1);
    CHECK(shop.left() == 10);
    CHECK(shop.records() == 0);
    CHECK(
        shop.service().do_in_transaction(request("k"), "x", [](Stock& s) { return --s.quantity; }).value() ==
        9);
}

TEST_CASE("of concurrent duplicates one executes, also in another pool", "[postgres][idempotency_store]")
{
    Shop const shop;
    std::atomic<int> runs{0};
    std::vector<std::optional<Outcome<Answer<int>>>> answers(8);
    run_threads(answers.size(), [&](std::size_t i) {
        postgres::Pool const pool{shop.pool.options()};
        postgres::StateRepository<Stock> const stock{pool};
        TransactionService const service{
            IdempotencyInTransaction{PessimisticRowLock{}, postgres::TransactionalIdempotencyStore{pool}},
            stock};
        answers[i] = service.try_do_in_transaction(
            request("k"), "x",
            [&](Stock& s) {
                ++runs;
                return --s.quantity;
            },
            {.deadline = 30s});
    });
    int fresh = 0;
    for (auto const& answer : answers) {
        REQUIRE(*answer);
        CHECK((*answer)->value() == 9);
        fresh += (*answer)->replayed() ? 0 : 1;
    }
    CHECK(fresh == 1);
    CHECK(runs == 1);
    CHECK(shop.left() == 9);
}

TEST_CASE(
    "a duplicate whose snapshot is older than the answer runs again, and gets the answer",
    "[postgres][idempotency_store]")
{
    Shop const shop;
    static_cast<void>(shop.stock.insert(Stock{"y", 1}).value());
    auto const isolation = GENERATE(postgres::Isolation::repeatable_read, postgres::Isolation::serializable);
    auto const changes = GENERATE(false, true);
    CAPTURE(static_cast<int>(isolation), changes);
    postgres::StateRepository<Stock> const stock{shop.pool, {.isolation = isolation}};
    TransactionService const service{IdempotencyInTransaction{PessimisticRowLock{}, shop.keys}, stock};
    auto const waiting = [] {
        return postgres_server().command(
                   "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") != "0";
    };
    auto const first = [&](Stock& s) {
        for (int i = 0; i < 1000 && !waiting(); ++i)
            std::this_thread::sleep_for(10ms);
        s.quantity -= changes ? 1 : 0;
        return s.quantity;
    };
    auto const left = changes ? 9 : 10;
    auto const several = GENERATE(false, true);
    CAPTURE(several);
    std::atomic<int> runs{0};
    auto const run = [&](Stock& s) { return runs++ == 0 ? first(s) : s.quantity; };
    std::vector<std::optional<Outcome<Answer<int>>>> answers(2);
    run_threads(answers.size(), [&](std::size_t i) {
        auto const of_both = [&](Stock& s, Stock const&) { return run(s); };
        answers[i] =
            several ? service.try_do_in_transaction(request("k"), keys("x", "y"), of_both, {.deadline = 30s})
                    : service.try_do_in_transaction(request("k"), "x", run, {.deadline = 30s});
    });
    for (auto const& answer : answers) {
        INFO(answer->detail());
        REQUIRE(*answer);
        CHECK((*answer)->value() == left);
    }
    CHECK((*answers[0])->replayed() != (*answers[1])->replayed());
    CHECK(shop.left() == left);
    CHECK(shop.records() == 1);
}

/// What the request "k" comes to on another thread, where duplicates are refused.
Errc end_of_duplicate(Shop const& shop)
{
    Errc end{};
    run_threads(1, [&](std::size_t) {
        end = shop.service(Duplicates::refuse)
                  .try_do_in_transaction(
                      request("k"), "x", [](Stock& s) { return --s.quantity; }, {.deadline = 10s})
                  .errc();
    });
    return end;
}

TEST_CASE(
    "of two equal requests one is executed, also where one pool names the schema and one does not",
    "[postgres][idempotency_store]")
{
    Shop const shop;
    auto options = shop.pool.options();
    options.schema = "public";
    postgres::Pool const pool{options};
    TransactionService const there{
        IdempotencyInTransaction{PessimisticRowLock{}, postgres::TransactionalIdempotencyStore{pool}},
        postgres::StateRepository<Stock>{pool}};
    static_cast<void>(shop.stock.insert(Stock{"y", 1}).value());
    std::optional<Errc> duplicate;
    // For another state, whose row it could have.
    auto const answer = there.do_in_transaction(request("k"), "y", [&](Stock& s) {
        duplicate = end_of_duplicate(shop);
        return --s.quantity;
    });
    CHECK(duplicate == Errc::idempotency_in_progress);
    CHECK(answer.value() == 0);
    CHECK(shop.left() == 10);
}

TEST_CASE("a duplicate is refused at once where that is wanted", "[postgres][idempotency_store]")
{
    Shop const shop;
    std::optional<Errc> duplicate;
    auto const answer = shop.service().do_in_transaction(request("k"), "x", [&](Stock& s) {
        duplicate = end_of_duplicate(shop);
        return --s.quantity;
    });
    CHECK(duplicate == Errc::idempotency_in_progress);
    CHECK(answer.value() == 9);
    CHECK(shop.service(Duplicates::refuse)
              .do_in_transaction(request("k"), "x", [](Stock& t) { return --t.quantity; })
              .replayed());
}

TEST_CASE(
    "a duplicate does not wait behind a request that waits for its row itself",
    "[postgres][idempotency_store]")
{
    Shop const shop;
    auto const take = [](Stock& s) { return --s.quantity; };
    auto const wait_for_locks = [&](char const* type, int count) {
        for (int i = 0; i < 1000; ++i) {
            if (postgres_server().command(
                    std::string(
                        "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE ") +
                    "a.wait_event_type = 'Lock' AND NOT l.granted AND l.locktype = '" + type + "'") ==
                std::to_string(count))
                return true;
            std::this_thread::sleep_for(10ms);
        }
        return false;
    };
    TransactionService const rows{PessimisticRowLock{}, shop.stock};
    std::thread first;
    std::thread second;
    std::optional<Outcome<Answer<int>>> answer;
    std::optional<Outcome<Answer<int>>> waiting;
    rows.do_in_transaction("x", [&](Stock&) {
        first = std::thread{[&] {
            answer = shop.service(Duplicates::refuse)
                         .try_do_in_transaction(request("k"), "x", take, {.deadline = 60s});
        }};
        CHECK(wait_for_locks("transactionid", 1));
        // On a thread of its own: this one works on the row.
        auto const ask = [&](Duplicates duplicates, char const* key, Deadline deadline) {
            std::optional<Outcome<Answer<int>>> asked;
            run_threads(1, [&](std::size_t) {
                asked = shop.service(duplicates)
                            .try_do_in_transaction(request(key), "x", take, {.deadline = deadline});
            });
            return asked->errc();
        };
        auto const begun = std::chrono::steady_clock::now();
        CHECK(ask(Duplicates::refuse, "k", 30s) == Errc::idempotency_in_progress);
        CHECK(std::chrono::steady_clock::now() - begun < 20s);
        // One that may wait does, until its own deadline.
        CHECK(ask(Duplicates::wait, "k", 300ms) == Errc::deadline_exceeded);
        // Another request of the same row waits for nothing but the row.
        CHECK(ask(Duplicates::refuse, "other", 300ms) == Errc::deadline_exceeded);
        second = std::thread{[&] {
            waiting = shop.service().try_do_in_transaction(request("k"), "x", take, {.deadline = 60s});
        }};
        CHECK(wait_for_locks("advisory", 1));
    });
    first.join();
    second.join();
    REQUIRE(*answer);
    CHECK((*answer)->value() == 9);
    REQUIRE(*waiting);
    CHECK((*waiting)->replayed());
    CHECK((*waiting)->value() == 9);
    CHECK(shop.left() == 9);
}

TEST_CASE("a claim costs no trip of its own", "[postgres][idempotency_store]")
{
    Shop const shop;
    interlock_test::Middleman const between{postgres_server().port()};
    postgres::Pool const pool{
        "postgresql://interlock@127.0.0.1:" + std::to_string(between.port()) +
        "/postgres?sslmode=disable&name_space=" + shop.pool.options().name_space};
    postgres::StateRepository<Stock> const stock{pool};
    postgres::TransactionalIdempotencyStore const keys{pool};
    // A trip ends with the message Sync.
    auto const trips = [&](auto const& call) {
        auto const sent = [&] {
            auto const heard = between.heard();
            int syncs = 0;
            for (std::size_t at = 0; (at = heard.find(std::string{"S\0\0\0\4", 5}, at)) != heard.npos; ++at)
                ++syncs;
            return syncs;
        };
        call();  // connected and prepared
        auto const before = sent();
        call();
        return sent() - before;
    };
    auto const take = [](Stock& s) { return --s.quantity; };
    TransactionService const plain{PessimisticRowLock{}, stock};
    auto const expected = trips([&] { plain.do_in_transaction("x", take); });
    CHECK(expected == 2);
    int key = 0;
    for (auto const duplicates : {Duplicates::wait, Duplicates::refuse}) {
        TransactionService const service{
            IdempotencyInTransaction{PessimisticRowLock{}, keys, duplicates}, stock};
        CHECK(
            trips([&] { service.do_in_transaction(request(std::to_string(++key)), "x", take); }) == expected);
    }
}

TEST_CASE("requests of one name in two schemas do not wait for each other", "[postgres][idempotency_store]")
{
    Shop const shop;
    // Of two tenants of one database, each has a schema, and all have one name space.
    auto const service_of = [&](std::string const& schema) {
        postgres_server().command("CREATE SCHEMA " + schema);
        auto options = shop.pool.options();
        options.schema = schema;
        postgres::Pool const pool{options};
        postgres::create_schema(pool).value();
        postgres::StateRepository<Stock> const stock{pool};
        stock.insert(Stock{"x", 10}).value();
        postgres::TransactionalIdempotencyStore const keys{pool};
        return TransactionService{
            IdempotencyInTransaction{PessimisticRowLock{}, keys, Duplicates::refuse}, stock};
    };
    auto const name = shop.pool.options().name_space;
    auto const a = service_of(name + "_a");
    auto const b = service_of(name + "_b");
    auto const take = [](Stock& s) { return --s.quantity; };
    int runs = 0;
    a.do_in_transaction(request("k"), "x", [&](Stock& s) {
        ++runs;
        auto const other = b.try_do_in_transaction(request("k"), "x", take, {.deadline = 5s});
        REQUIRE(other);
        CHECK_FALSE((*other).replayed());
        return --s.quantity;
    });
    CHECK(runs == 1);
}

TEST_CASE(
    "an answer outlives the state that it is about, and is forgotten after its retention",
    "[postgres][idempotency_store]")
{
    Shop const shop;
    postgres::TransactionalIdempotencyStore const brief{shop.pool, {.retention = 1s}};
    postgres::StateRepository<Stock> const stock{shop.pool, {.retention = 1s}};
    TransactionService const service{IdempotencyInTransaction{PessimisticRowLock{}, brief}, stock};
    auto const take = [](Stock& s) { return --s.quantity; };
    CHECK(service.do_in_transaction(request("k"), "x", take).value() == 9);
    auto const now = stock.load("x").value();
    REQUIRE(stock.erase("x", now.version));
    auto const replay = service.do_in_transaction(request("k"), "x", take);
    CHECK(replay.replayed());
    CHECK(replay.value() == 9);
    CHECK(service.try_do_in_transaction(request("new"), "x", take).errc() == Errc::not_found);
    REQUIRE(stock.insert(Stock{"x", 5}));
    std::this_thread::sleep_for(1100ms);
    auto const anew = service.do_in_transaction(request("k"), "x", take);
    CHECK_FALSE(anew.replayed());
    CHECK(anew.value() == 4);
}

TEST_CASE(
    "sessions that are ended under load leave no claim without an effect, and no effect without a claim",
    "[postgres][idempotency_store]")
{
    Shop const shop;
    auto const service = shop.service();
    std::atomic<bool> stop{false};
    std::thread breaking([&] {
        while (!stop) {
            postgres_server().command(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = "
                "'interlock'");
            std::this_thread::sleep_for(5ms);
        }
    });
    run_threads(4, [&](std::size_t t) {
        for (int i = 0; i < 25; ++i) {
            auto const key = std::to_string(t) + "-" + std::to_string(i);
            while (!service.try_do_in_transaction(
                request(key), "x", [](Stock& s) { return --s.quantity; }, {.deadline = 5s})) {
            }
        }
    });
    stop = true;
    breaking.join();
    CHECK(interlock_test::eventually([&] { return shop.stock.load("x").has_value(); }));
    CHECK(shop.left() == 10 - 100);
    CHECK(shop.records() == 100);
}

TEST_CASE("a leased claim is kept at least as long as its lease", "[postgres][idempotency_store]")
{
    auto const pool = fresh_pool();
    postgres::IdempotencyStore const store{pool, {.retention = 1s}};
    OwnerToken const me{{1, 2}};
    OwnerToken const other{{3, 4}};
    CHECK(store.claim(request("k"), me, 10s, AfterLease::take_over).value().state == ClaimState::claimed);
    std::this_thread::sleep_for(1100ms);
    CHECK(
        store.claim(request("k"), other, 10s, AfterLease::take_over).value().state ==
        ClaimState::in_progress);
    CHECK(store.complete(request("k"), me, "a", false));
    CHECK(store.complete(request("k"), me, "a", false));  // asked again after a lost reply
    CHECK(store.complete(request("k"), me, "b", false).errc() == Errc::fenced_out);
    CHECK(store.claim(request("k"), other, 10s, AfterLease::take_over).value().answer == "a");
    std::this_thread::sleep_for(1100ms);
    CHECK(store.claim(request("k"), other, 10s, AfterLease::take_over).value().state == ClaimState::claimed);
    CHECK_THROWS_AS((postgres::IdempotencyStore{pool, {.retention = 1ms}}), Error);
    CHECK_THROWS_AS((postgres::TransactionalIdempotencyStore{pool, {.retention = 1ms}}), Error);
}

}  // namespace postgres_idempotency_store_test
