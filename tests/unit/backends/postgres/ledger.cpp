// SPDX-License-Identifier: BSL-1.0

// The ledger agrees with the table: threads run under operation ids while sessions are ended, servers
// restarted and backends killed. Every id is asked until it is answered. Each answer must be in the table
// once, and each record must name its answer.

#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <signal.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <map>
#include <set>
#include <string>
#include <thread>

namespace postgres_ledger_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::fresh_pool;
using interlock_test::postgres_server;
using interlock_test::PostgresServer;
using interlock_test::run_threads;
using interlock_test::Stock;

/// Many callers under operation ids while `fault` happens again and again; then every id is asked until it is
/// answered.
template <class Policy, class Fault>
void under_load(PostgresServer& server, Policy policy, Fault fault)
{
    auto const pool = fresh_pool(server);
    postgres::StateRepository<Stock> const stock{pool};
    static_cast<void>(stock.insert(Stock{"x", 0}).value());
    TransactionService const service{policy, stock};
    std::atomic<bool> done{false};
    std::atomic<int> faults{0};
    constexpr int each = 60;
    std::array<std::map<std::string, int>, 4> answers;
    // In a thread of its own: the system ends a server with the thread that started it.
    std::thread loading([&] {
        run_threads(4, [&](std::size_t t) {
            for (int i = 0; i < each; ++i) {
                auto const id = std::to_string(t) + "-" + std::to_string(i);
                for (;;) {
                    auto const outcome = service.try_do_in_transaction(
                        OperationId{id}, "x", [](Stock& s) { return ++s.quantity; }, {.deadline = 5s});
                    if (outcome) {
                        answers[t][id] = *outcome;
                        break;
                    }
                    // Whatever it was: the same id may be asked again.
                }
                if (t == 0 && i == each / 2)
                    interlock_test::eventually([&] { return faults >= 2; });
            }
        });
        done = true;
    });
    while (!done) {
        // Long enough for the trips of one transaction, connecting included: else nobody gets anywhere for
        // minutes.
        std::this_thread::sleep_for(100ms);
        fault();
        ++faults;
    }
    loading.join();
    CHECK(faults >= 2);
    // The ledger agrees with the table: every id once, every answer once, nothing lost, nothing twice.
    std::set<int> distinct;
    for (auto const& mine : answers)
        for (auto const& [id, answer] : mine)
            CHECK(distinct.insert(answer).second);
    CHECK(distinct.size() == 4 * each);
    // It may be starting.
    CHECK(interlock_test::eventually([&] { return stock.load(Key{"x"}, 5s).has_value(); }));
    auto const last = stock.load(Key{"x"}, 20s).value();
    CHECK(last.value.quantity == 4 * each);
    std::size_t records = 0;
    CHECK(stock.for_each_operation([&](Key const&, OperationId const& id, OperationRecord const& record) {
        ++records;
        auto const& mine = answers[static_cast<std::size_t>(id.value()[0] - '0')];
        CHECK(std::to_string(mine.at(id.value())) == record.answer);
    }));
    CHECK(records == 4 * each);
}

void end_all_sessions(PostgresServer& server)
{
    server.command(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'interlock'");
}

TEST_CASE("the ledger agrees with the table when sessions are ended under load", "[postgres][faults][load]")
{
    auto& server = postgres_server();
    SECTION("optimistic")
    {
        under_load(server, OptimisticVersioning{}, [&] { end_all_sessions(server); });
    }
    SECTION("row lock")
    {
        under_load(server, PessimisticRowLock{}, [&] { end_all_sessions(server); });
    }
    SECTION("lease")
    {
        under_load(server, SetNxLock{.lock = {.ttl = 1s}}, [&] { end_all_sessions(server); });
    }
}

TEST_CASE(
    "the ledger agrees with the table when the server is restarted without farewell under load",
    "[postgres][faults][load]")
{
    PostgresServer server;
    SECTION("optimistic")
    {
        under_load(server, OptimisticVersioning{}, [&] { server.restart_immediately(); });
    }
    SECTION("row lock")
    {
        under_load(server, PessimisticRowLock{}, [&] { server.restart_immediately(); });
    }
    SECTION("lease")
    {
        under_load(server, SetNxLock{.lock = {.ttl = 1s}}, [&] { server.restart_immediately(); });
    }
}

TEST_CASE(
    "the ledger agrees with the table when a killed backend takes all sessions with it under load",
    "[postgres][faults][load]")
{
    PostgresServer server;
    under_load(server, PessimisticRowLock{}, [&] {
        try {
            auto const pid =
                std::stoi(server.command("SELECT coalesce(min(pid), 0) FROM pg_stat_activity WHERE "
                                         "application_name = 'interlock' AND state <> 'idle'"));
            if (pid > 0)
                ::kill(pid, SIGKILL);
        } catch (std::exception const&) {  // it is still recovering
        }
        std::this_thread::sleep_for(100ms);
    });
}

}  // namespace postgres_ledger_test
