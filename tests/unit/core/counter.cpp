// SPDX-License-Identifier: BSL-1.0

#include <interlock/core/counter.hpp>
#include <interlock/core/kit/counter_call.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <cstdint>
#include <limits>

namespace counter_test {

using namespace interlock;
using namespace std::chrono_literals;

TEST_CASE("a change of a counter is checked before it is sent", "[core][counter]")
{
    CHECK(increment(1).validate());
    CHECK(decrement(1, 0).amount == -1);
    CHECK(*decrement(1, 0).at_least == 0);
    CHECK(increment(CounterChange::limit).validate());
    CHECK(increment(CounterChange::limit + 1).validate().errc() == Errc::invalid_argument);
    CHECK(increment(std::numeric_limits<std::int64_t>::min()).validate().errc() == Errc::invalid_argument);
    CHECK(decrement(INT64_MIN, 0).validate().errc() == Errc::invalid_argument);
    CHECK(decrement(1, -CounterChange::limit - 1).validate().errc() == Errc::invalid_argument);
    CHECK(
        CounterChange{.amount = 0, .at_least = 1, .at_most = 0}.validate().errc() == Errc::invalid_argument);
}

TEST_CASE(
    "a change that may have been made stays unknown when the later questions fail", "[core][counter][doubt]")
{
    auto const until = [] { return detail::add(SystemRuntime::now(), 300ms); };
    for (auto const code :
         {Errc::unavailable, Errc::overloaded, Errc::deadline_exceeded, Errc::misconfigured}) {
        int asked = 0;
        auto const answer = ask_until_known(until(), [&]() -> Outcome<CounterAnswer> {
            return ++asked == 1 ? Failure::unknown(Errc::unavailable) : Failure{code};
        });
        CHECK(asked > 1);
        CHECK(answer.effect() == Effect::unknown);
        CHECK(answer.cause() == code);
    }
    // The next question that gets through ends it.
    int asked = 0;
    auto const answer =
        ask_until_known(detail::add(SystemRuntime::now(), 60s), [&]() -> Outcome<CounterAnswer> {
            switch (++asked) {
            case 1: return Errc::outcome_unknown;
            case 2: return Errc::unavailable;
            default: return CounterAnswer{.value = 7, .changed = true, .replayed = true};
            }
        });
    CHECK(asked == 3);
    REQUIRE(answer);
    CHECK(answer->value == 7);
    // So does a refusal that the store gives after having looked.
    asked = 0;
    auto const mismatch = ask_until_known(until(), [&]() -> Outcome<CounterAnswer> {
        return ++asked == 1 ? Errc::outcome_unknown : Errc::idempotency_mismatch;
    });
    CHECK(mismatch.errc() == Errc::idempotency_mismatch);
    // Without any doubt a failure is told at once.
    asked = 0;
    auto const refused =
        ask_until_known(detail::add(SystemRuntime::now(), 60s), [&]() -> Outcome<CounterAnswer> {
            ++asked;
            return Errc::unavailable;
        });
    CHECK(asked == 1);
    CHECK(refused.errc() == Errc::unavailable);
}

}  // namespace counter_test
