// SPDX-License-Identifier: BSL-1.0

#include <interlock/core/counter.hpp>

#include "support/catch.hpp"

#include <cstdint>
#include <limits>

namespace counter_test {

using namespace interlock;

TEST_CASE("a change of a counter is checked before it is sent", "[core][counter]")
{
    CHECK(increment(1).validate());
    CHECK(decrement(1, 0).amount == -1);
    CHECK(*decrement(1, 0).at_least == 0);
    CHECK(increment(CounterChange::limit).validate());
    CHECK(increment(CounterChange::limit + 1).validate().error() == Errc::invalid_argument);
    CHECK(increment(std::numeric_limits<std::int64_t>::min()).validate().error() == Errc::invalid_argument);
    CHECK(decrement(1, -CounterChange::limit - 1).validate().error() == Errc::invalid_argument);
    CHECK(CounterChange{.amount = 0, .at_least = 1, .at_most = 0}.validate().error() == Errc::invalid_argument);
}

}  // namespace counter_test
