// SPDX-License-Identifier: BSL-1.0

// Work of several transactions: whoever comes again goes on behind the last phase that was stored.

#include <interlock/backends/postgres/idempotency_store.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/idempotency_in_transaction.hpp>
#include <interlock/policies/idempotency_keys.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

namespace postgres_recovery_points_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::fresh_pool;
using interlock_test::postgres_server;
using interlock_test::run_threads;
using interlock_test::Stock;
using postgres::Transaction;

std::string const end_this_session = "SELECT pg_terminate_backend(pg_backend_pid())";

/// A ride: money is taken from a purse, a seat from a car, and a journal notes it. Between the first two a
/// bank is called.
struct Rides {
    Rides()
    {
        postgres_server().command("CREATE TABLE " + journal + " (request text, what text)");
        static_cast<void>(stock.insert(Stock{"purse", 1000}).value());
        static_cast<void>(stock.insert(Stock{"car", 1000}).value());
    }
    int left(std::string const& what) const { return stock.load(what).value().value.quantity; }
    auto in_transaction() const
    {
        return TransactionService{
            IdempotencyInTransaction{PessimisticRowLock{.max_attempts = 1}, keys}, stock};
    }
    auto leased() const
    {
        IdempotencyOptions const options{.lease = Ttl{100ms}, .duplicates = Duplicates::wait};
        return TransactionService{IdempotencyKeys{OptimisticVersioning{}, leases, options}, stock};
    }

    /// The whole request, as its caller would write it. `crash(n)` is asked at four places.
    template <class Service, class Crash>
    int run(Service const& service, IdempotentRequest const& request, Crash crash)
    {
        crash(0);
        auto const paid = service.do_in_transaction(
            request.phase("pay"), "purse",
            [&](Stock& s) {
                note("pay");
                s.quantity -= 3;
                return s.quantity;
            },
            {.deadline = 30s});
        crash(1);
        {
            std::lock_guard const lock(mutex);
            ++bank[request.phase("charge").derived_key()];  // as a bank with idempotency keys would see it
        }
        crash(2);
        auto const seat = service.do_in_transaction(
            request.phase("seat"), "car",
            [&](Stock& s) {
                note("seat");
                return --s.quantity;
            },
            {.deadline = 30s});
        crash(3);
        return paid.value() * 10000 + seat.value();
    }

    void note(std::string const& what)
    {
        std::lock_guard const lock(mutex);
        ++runs[what];
    }

    postgres::Pool pool{fresh_pool()};
    std::string journal{pool.options().name_space + "_journal"};
    postgres::StateRepository<Stock> stock{pool};
    postgres::TransactionalIdempotencyStore keys{pool};
    postgres::IdempotencyStore leases{pool};
    std::mutex mutex;
    std::map<std::string, int> bank;
    std::map<std::string, int> runs;
};

IdempotentRequest request(std::string_view key, std::string_view body = "body")
{
    return IdempotentRequest(key, Scope("rides"), fingerprint(body));
}

template <class Service>
void resumes(Rides& rides, Service const& service)
{
    for (int place = 0; place < 4; ++place) {
        CAPTURE(place);
        auto const purse = rides.left("purse");
        auto const car = rides.left("car");
        rides.runs.clear();
        rides.bank.clear();
        auto const ride = request("k" + std::to_string(place));
        CHECK_THROWS_AS(
            rides.run(
                service, ride,
                [&](int here) {
                    if (here == place)
                        throw std::runtime_error("the process ends here");
                }),
            std::runtime_error);
        auto const answer = rides.run(service, ride, [](int) {});
        CHECK(answer == (purse - 3) * 10000 + car - 1);
        CHECK(rides.run(service, ride, [](int) {}) == answer);
        CHECK(rides.left("purse") == purse - 3);
        CHECK(rides.left("car") == car - 1);
        CHECK(rides.runs == std::map<std::string, int>{{"pay", 1}, {"seat", 1}});
        CHECK(rides.bank.size() == 1);  // one key, however often it was called
    }
    auto const ride = request("k0", "another body");
    CHECK_THROWS_AS(rides.run(service, ride, [](int) {}), Error);
    auto const look = [](Stock& s) { return s.quantity; };
    auto const nameless = service.try_do_in_transaction(request("k9").phase(""), "car", look);
    CHECK(nameless.errc() == Errc::invalid_argument);
}

TEST_CASE(
    "a retry goes on behind the last stored phase when records are part of the transactions",
    "[postgres][recovery_points]")
{
    Rides rides;
    resumes(rides, rides.in_transaction());
}

TEST_CASE(
    "a retry goes on behind the last stored phase when records have leases", "[postgres][recovery_points]")
{
    Rides rides;
    resumes(rides, rides.leased());
}

TEST_CASE("a phase whose session is killed leaves no record", "[postgres][recovery_points]")
{
    Rides rides;
    auto const service = rides.in_transaction();
    auto const ride = request("k");
    auto const pay = [&](Stock& s, Transaction& tx) {
        rides.note("pay");
        tx.exec("INSERT INTO " + rides.journal + " VALUES ('k', 'pay')");
        return --s.quantity;
    };
    CHECK(service.do_in_transaction(ride.phase("pay"), "purse", pay) == 999);
    auto const seat = [&](bool dies) {
        return service.try_do_in_transaction(ride.phase("seat"), "car", [&](Stock& s, Transaction& tx) {
            rides.note("seat");
            tx.exec("INSERT INTO " + rides.journal + " VALUES ('k', 'seat')");
            if (dies)
                tx.exec(end_this_session);
            return --s.quantity;
        });
    };
    CHECK_THROWS_AS(seat(true), Error);
    CHECK(rides.left("car") == 1000);
    auto const again = service.do_in_transaction(ride.phase("pay"), "purse", pay);
    CHECK(again.replayed());
    CHECK(again == 999);
    CHECK(seat(false).value() == 999);
    CHECK(rides.runs == std::map<std::string, int>{{"pay", 1}, {"seat", 2}});
    CHECK(
        postgres_server().command("SELECT string_agg(what, ' ' ORDER BY what) FROM " + rides.journal) ==
        "pay seat");
}

TEST_CASE(
    "a final rejection ends the request at its phase each time the request comes",
    "[postgres][recovery_points]")
{
    Rides rides;
    auto const service = rides.in_transaction();
    for (int n = 0; n < 2; ++n) {
        auto const pay = [](Stock& s) { return --s.quantity; };
        CHECK(service.do_in_transaction(request("k").phase("pay"), "purse", pay) == 999);
        CHECK_THROWS_AS(
            service.do_in_transaction(
                request("k").phase("seat"), "car",
                [&](Stock&) -> int {
                    rides.note("seat");
                    throw FinalRejection("no seat");
                }),
            FinalRejection);
    }
    CHECK(rides.runs["seat"] == 1);
}

TEST_CASE(
    "every phase is applied once when sessions are killed under load", "[postgres][recovery_points][load]")
{
    Rides rides;
    auto const service = rides.in_transaction();
    std::atomic<bool> done{false};
    int killed = 0;
    std::thread killer([&] {
        while (!done) {
            std::this_thread::sleep_for(10ms);
            killed +=
                std::stoi(postgres_server().command("SELECT count(pg_terminate_backend(pid)) FROM "
                                                    "pg_stat_activity WHERE application_name = 'interlock' "
                                                    "AND pid <> pg_backend_pid() AND random() < 0.3"));
        }
    });
    run_threads(4, [&](std::size_t i) {
        for (int n = 0; n < 20; ++n) {
            // Two clients each come with the same requests at the same time.
            auto const ride = request(std::to_string(i / 2) + "-" + std::to_string(n));
            for (;;) {
                try {
                    rides.run(service, ride, [](int) {});
                    break;
                } catch (Error const&) {  // not applied, or unknown: come again
                }
            }
        }
    });
    done = true;
    killer.join();
    CHECK(killed > 0);
    CHECK(rides.left("purse") == 1000 - 3 * 40);
    CHECK(rides.left("car") == 1000 - 40);
    CHECK(rides.bank.size() == 40);
}

}  // namespace postgres_recovery_points_test
