// SPDX-License-Identifier: BSL-1.0

#include <interlock/core/kit/doubt.hpp>

#include "support/catch.hpp"

#include <string>

using interlock::Effect;
using interlock::Errc;
using interlock::Failure;
using interlock::Outcome;
using interlock::detail::Doubt;

TEST_CASE("while no attempt may have been applied, a failure is reported as it is", "[core][doubt]")
{
    Doubt doubt;
    Outcome<int> refused{Failure{Errc::unavailable, "no connection"}};
    doubt.settle(refused);
    CHECK(refused.errc() == Errc::unavailable);
    CHECK(refused.detail() == "no connection");
    CHECK_FALSE(doubt.open());
}

TEST_CASE("a failure of a later attempt does not end the doubt about an earlier one", "[core][doubt]")
{
    for (auto const code :
         {Errc::unavailable, Errc::deadline_exceeded, Errc::cancelled, Errc::overloaded, Errc::misconfigured,
          Errc::lock_busy, Errc::version_conflict}) {
        Doubt doubt;
        Outcome<int> lost{Failure::unknown(Errc::unavailable)};
        doubt.settle(lost);
        CHECK(lost.cause() == Errc::unavailable);
        Outcome<int> later{Failure{code, "a reason of its own"}};
        doubt.settle(later);
        CHECK(later.effect() == Effect::unknown);
        CHECK(later.cause() == code);
        CHECK(later.detail() == "a reason of its own");
        Outcome<int> last{code};
        doubt.settle(last);
        CHECK(last.effect() == Effect::unknown);  // however many follow
        CHECK(doubt.open());
    }
}

TEST_CASE("an answer of the store about all attempts ends the doubt", "[core][doubt]")
{
    SECTION("a value")
    {
        Doubt doubt;
        Outcome<int> lost{Errc::outcome_unknown};
        doubt.settle(lost);
        Outcome<int> value{7};
        doubt.settle(value);
        CHECK(value);
        CHECK_FALSE(doubt.open());
    }
    SECTION("a failure that the verb counts among its answers")
    {
        Doubt doubt;
        Outcome<int> lost{Errc::outcome_unknown};
        doubt.settle(lost);
        Outcome<int> mismatch{Errc::idempotency_mismatch};
        doubt.settle(mismatch, {Errc::invalid_argument, Errc::idempotency_mismatch});
        CHECK(mismatch.errc() == Errc::idempotency_mismatch);
        CHECK_FALSE(doubt.open());
    }
    SECTION("what was found out in another way")
    {
        Doubt doubt;
        doubt.came(Errc::outcome_unknown, false);
        doubt.answered();
        CHECK_FALSE(doubt.open());
    }
    SECTION("unknown is never an answer")
    {
        Doubt doubt;
        doubt.came(Errc::outcome_unknown, true);
        CHECK(doubt.open());
    }
}

TEST_CASE("an attempt that is under way may be applied", "[core][doubt]")
{
    Doubt doubt;
    doubt.sent();
    CHECK(doubt.open());
    doubt.came(Errc::unavailable, false);
    CHECK_FALSE(doubt.open());
    doubt.sent();
    doubt.came(Errc::outcome_unknown, false);
    doubt.sent();
    doubt.came(Errc::lock_busy, false);
    CHECK(doubt.open());
    doubt.came(Errc::ok, true);
    CHECK_FALSE(doubt.open());
}
