// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_COUNTER_LAWS_HPP
#define INTERLOCK_TESTS_SUPPORT_COUNTER_LAWS_HPP

/// @file
/// What the counters of every store keep. Each law takes counters that nobody used before.

#include <interlock/core/counter.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/operation_id.hpp>

#include "support/catch.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <string>
#include <thread>

namespace interlock_test {

template <class Counters>
void counters_change_once_per_operation_id(Counters const& counters)
{
    using namespace interlock;
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
    CHECK(
        counters.atomic_once(OperationId{"a"}, seats, decrement(2, 0)).errc() == Errc::idempotency_mismatch);
    // Another operation.
    CHECK(counters.atomic_once(OperationId{"a"}, Key{"others"}, increment(1)).value().value == 1);
}

template <class Counters>
void bounds_of_counters_are_answers(Counters const& counters)
{
    using namespace interlock;
    Key const k{std::string("a\0b", 3)};
    CHECK(counters.atomic_once(OperationId{"1"}, k, increment(2)).value().value == 2);
    auto const refused = counters.atomic_once(OperationId{"2"}, k, decrement(3, 0)).value();
    CHECK_FALSE(refused);
    CHECK(refused.value == 2);
    CHECK(counters.atomic_once(OperationId{"3"}, k, increment(5, 7)).value().value == 7);
    CHECK_FALSE(counters.atomic_once(OperationId{"4"}, k, increment(1, 7)).value());
    // Though it would fit now.
    CHECK_FALSE(counters.atomic_once(OperationId{"2"}, k, decrement(3, 0)).value());
    CHECK(counters.load(k).value() == 7);
    CHECK(counters.load(Key{std::string("a\0c", 3)}).value() == 0);
}

template <class Counters>
void counters_refuse_what_they_cannot_hold(Counters const& counters)
{
    using namespace interlock;
    auto const most = CounterChange::limit;
    CHECK(
        counters.atomic_once(OperationId{"1"}, Key{"k"}, increment(most + 1)).errc() ==
        Errc::invalid_argument);
    CHECK(counters.atomic_once(OperationId{"2"}, Key{"k"}, increment(most)).value().value == most);
    CHECK(counters.atomic_once(OperationId{"3"}, Key{"k"}, increment(1)).errc() == Errc::invalid_argument);
    CHECK(counters.load(Key{"k"}).value() == most);
    CHECK(counters.atomic_once(OperationId{"3"}, Key{"k"}, increment(-1)).value().value == most - 1);
    CHECK(counters.atomic_once(OperationId{""}, Key{"k"}, increment(1)).errc() == Errc::invalid_argument);
    CHECK(counters.atomic_once(OperationId{"4"}, Key{""}, increment(1)).errc() == Errc::invalid_argument);
    CounterChange const empty{.amount = 1, .at_least = 2, .at_most = 1};
    CHECK(counters.atomic_once(OperationId{"5"}, Key{"k"}, empty).errc() == Errc::invalid_argument);
}

template <class Counters>
void counters_never_go_below_their_floor(Counters const& counters)
{
    using namespace interlock;
    using namespace std::chrono_literals;
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

/// `cut` breaks the connections of `counters`, and is called again and again while changes are under way.
template <class Counters, class Cut>
void counters_survive_lost_replies(Counters const& counters, Cut cut)
{
    using namespace interlock;
    using namespace std::chrono_literals;
    CHECK(counters.atomic_once(OperationId{"warm"}, Key{"k"}, increment(1)).value().value == 1);
    std::atomic<bool> stop{false};
    std::thread cutter([&] {
        while (!stop)
            cut();
    });
    int failed = 0;
    for (int i = 0; i < 300;) {
        auto const answer =
            counters.atomic_once(OperationId{std::to_string(i)}, Key{"k"}, increment(1), {60s});
        if (answer.errc() == Errc::unavailable)
            continue;  // cut while it connected: not applied
        failed += answer ? 0 : 1;
        ++i;
    }
    stop = true;
    cutter.join();
    CHECK(failed == 0);
    CHECK(counters.load(Key{"k"}).value() == 301);
}

/// A change whose reply is lost while nobody can be asked again is unknown, and its id tells later that it
/// was applied. `counters` go through the proxy, `direct` around it.
template <class Counters, class Proxy>
void check_a_change_without_reply(Counters const& counters, Counters const& direct, Proxy& proxy)
{
    using namespace interlock;
    using namespace std::chrono_literals;
    proxy.cut(Proxy::Cut::reply, "op-lost");
    proxy.close_the_door(true);
    auto const answer = counters.atomic_once(OperationId{"op-lost"}, Key{"seats"}, increment(1), {1s});
    CHECK(proxy.cuts() == 1);
    CHECK(direct.load(Key{"seats"}).value() == 1);
    CHECK(answer.effect() == Effect::unknown);
    proxy.close_the_door(false);
    auto const again = counters.atomic_once(OperationId{"op-lost"}, Key{"seats"}, increment(1), {20s});
    REQUIRE(again);
    CHECK(again->replayed);
    CHECK(again->value == 1);
}

}  // namespace interlock_test

#endif  // INTERLOCK_TESTS_SUPPORT_COUNTER_LAWS_HPP
