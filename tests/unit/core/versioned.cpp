// SPDX-License-Identifier: BSL-1.0

#include <interlock/core/versioned.hpp>

#include "support/catch.hpp"

#include <limits>
#include <type_traits>

namespace versioned_test {

using namespace interlock;

TEST_CASE("a version has 63 bits, and no_version is below all of them", "[core][versioned]")
{
    static_assert(std::is_same_v<Version, std::int64_t>);
    CHECK(no_version < 1);
    CHECK(last_version == std::numeric_limits<std::int64_t>::max());
    CHECK(Versioned<int>{}.version == no_version);
}

TEST_CASE("versioned values differ by value and by version", "[core][versioned]")
{
    CHECK(Versioned<int>{1, 2} == Versioned<int>{1, 2});
    CHECK_FALSE(Versioned<int>{1, 2} == Versioned<int>{1, 3});
    CHECK_FALSE(Versioned<int>{1, 2} == Versioned<int>{2, 2});
}

}  // namespace versioned_test
