// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/postgres/counters.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <string>
#include <thread>

namespace postgres_counters_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::run_threads;

TEST_CASE("a counter is changed once per operation id, and everybody gets the first answer", "[postgres][counters]")
{
    postgres::Counters const counters{interlock_test::fresh_pool()};
    Key const seats{"seats"};
    CHECK(counters.load(seats).value() == 0);
    CHECK(counters.atomic_once(OperationId{"fill"}, seats, increment(10)).value().value == 10);
    auto const first = counters.atomic_once(OperationId{"a"}, seats, decrement(3, 0)).value();
    CHECK(first.changed);
    CHECK_FALSE(first.replayed);
    CHECK(first.value == 7);
    CHECK(counters.atomic_once(OperationId{"b"}, seats, decrement(3, 0)).value().value == 4);
    auto const again = counters.atomic_once(OperationId{"a"}, seats, decrement(3, 0)).value();
    CHECK(again.replayed);
    CHECK(again.changed);
    CHECK(again.value == 7);
    CHECK(counters.load(seats).value() == 4);
    CHECK(counters.atomic_once(OperationId{"a"}, seats, decrement(2, 0)).error() == Errc::idempotency_mismatch);
    CHECK(counters.atomic_once(OperationId{"a"}, Key{"others"}, increment(1)).value().value == 1);  // another operation
}

TEST_CASE("a bound in the way is an answer, and stays the answer", "[postgres][counters]")
{
    postgres::Counters const counters{interlock_test::fresh_pool()};
    Key const k{std::string("a\0b", 3)};
    CHECK(counters.atomic_once(OperationId{"1"}, k, increment(2)).value().value == 2);
    auto const refused = counters.atomic_once(OperationId{"2"}, k, decrement(3, 0)).value();
    CHECK_FALSE(refused);
    CHECK(refused.value == 2);
    CHECK(counters.atomic_once(OperationId{"3"}, k, increment(5, 7)).value().value == 7);
    CHECK_FALSE(counters.atomic_once(OperationId{"4"}, k, increment(1, 7)).value());
    CHECK_FALSE(counters.atomic_once(OperationId{"2"}, k, decrement(3, 0)).value());  // though it would fit now
    CHECK(counters.load(k).value() == 7);
    CHECK(counters.load(Key{std::string("a\0c", 3)}).value() == 0);
}

TEST_CASE("numbers that a counter cannot hold exactly are refused", "[postgres][counters]")
{
    postgres::Counters const counters{interlock_test::fresh_pool()};
    auto const most = CounterChange::limit;
    CHECK(counters.atomic_once(OperationId{"1"}, Key{"k"}, increment(most + 1)).error() == Errc::invalid_argument);
    CHECK(counters.atomic_once(OperationId{"2"}, Key{"k"}, increment(most)).value().value == most);
    CHECK(counters.atomic_once(OperationId{"3"}, Key{"k"}, increment(1)).error() == Errc::invalid_argument);
    CHECK(counters.load(Key{"k"}).value() == most);
    CHECK(counters.atomic_once(OperationId{"3"}, Key{"k"}, increment(-1)).value().value == most - 1);
    CHECK(counters.atomic_once(OperationId{""}, Key{"k"}, increment(1)).error() == Errc::invalid_argument);
    CHECK(counters.atomic_once(OperationId{"4"}, Key{""}, increment(1)).error() == Errc::invalid_argument);
    CounterChange const empty{.amount = 1, .at_least = 2, .at_most = 1};
    CHECK(counters.atomic_once(OperationId{"5"}, Key{"k"}, empty).error() == Errc::invalid_argument);
}

TEST_CASE("many buyers never sell below the floor, each retry included", "[postgres][counters]")
{
    postgres::Counters const counters{interlock_test::fresh_pool()};
    Key const stock{"stock"};
    static_cast<void>(counters.atomic_once(OperationId{"fill"}, stock, increment(50)).value());
    std::atomic<int> sold{0};
    run_threads(8, [&](std::size_t t) {
        for (int i = 0; i < 20; ++i) {
            OperationId const id{std::to_string(t) + "-" + std::to_string(i)};
            auto const answer = counters.atomic_once(id, stock, decrement(1, 0), {60s});
            auto const again = counters.atomic_once(id, stock, decrement(1, 0), {60s});
            sold += answer && answer->changed && again && again->changed && again->replayed ? 1 : 0;
        }
    });
    CHECK(sold == 50);
    CHECK(counters.load(stock).value() == 0);
}

TEST_CASE("a lost reply is asked for again and changes nothing twice", "[postgres][counters]")
{
    auto const pool = interlock_test::fresh_pool();
    postgres::Counters const counters{pool};
    CHECK(counters.atomic_once(OperationId{"warm"}, Key{"k"}, increment(1)).value().value == 1);
    std::atomic<bool> stop{false};
    // Sessions are ended again and again while changes are under way.
    std::thread cutter([&] {
        while (!stop) {
            interlock_test::postgres_server().command(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'interlock'");
            std::this_thread::sleep_for(3ms);
        }
    });
    int failed = 0;
    for (int i = 0; i < 300;) {
        auto const answer = counters.atomic_once(OperationId{std::to_string(i)}, Key{"k"}, increment(1), {60s});
        if (answer.error() == Errc::unavailable)
            continue;  // cut while it connected: not applied
        failed += answer ? 0 : 1;
        ++i;
    }
    stop = true;
    cutter.join();
    CHECK(failed == 0);
    CHECK(counters.load(Key{"k"}).value() == 301);
}

}  // namespace postgres_counters_test
