// SPDX-License-Identifier: BSL-1.0

#include <interlock/core/backoff.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <cstdint>
#include <limits>
#include <random>

namespace backoff_test {

using namespace interlock;
using namespace std::chrono_literals;
using std::chrono::nanoseconds;

constexpr auto lowest = std::uint64_t{0};
constexpr auto highest = std::numeric_limits<std::uint64_t>::max();

TEST_CASE("the first retries do not wait and the limit doubles up to the cap", "[core][backoff]")
{
    Backoff const backoff{.initial = 1ms, .cap = 10ms, .immediate = 2};
    CHECK(backoff.limit(1) == 0ns);
    CHECK(backoff.limit(2) == 0ns);
    CHECK(backoff.limit(3) == 1ms);
    CHECK(backoff.limit(4) == 2ms);
    CHECK(backoff.limit(5) == 4ms);
    CHECK(backoff.limit(6) == 8ms);
    CHECK(backoff.limit(7) == 10ms);
    CHECK(backoff.limit(8) == 10ms);
}

TEST_CASE("a wait lies between zero and the cap, however many retries there were", "[core][backoff]")
{
    Backoff const wide{.initial = 1ns, .cap = nanoseconds::max(), .immediate = 0};
    Backoff const usual{};
    nanoseconds before{0};
    for (int n = 1; n <= 1'000'000; n = n < 200 ? n + 1 : n * 7) {
        CHECK(wide.limit(n) >= before);
        before = wide.limit(n);
        for (auto bits : {lowest, highest, highest / 2}) {
            CHECK(wide.delay(n, bits) >= 0ns);
            CHECK(wide.delay(n, bits) <= wide.limit(n));
            CHECK(usual.delay(n, bits) <= usual.cap);
        }
    }
    CHECK(wide.limit(1'000'000) == nanoseconds::max());
    CHECK(wide.delay(1'000'000, highest) == nanoseconds::max());
    CHECK(usual.limit(1'000'000) == usual.cap);
    CHECK(usual.limit(std::numeric_limits<int>::max()) == usual.cap);
    CHECK(usual.limit(std::numeric_limits<int>::min()) == 0ns);
}

TEST_CASE("waits that have reached the cap are still spread over the whole range", "[core][backoff]")
{
    Backoff const backoff{.initial = 1ms, .cap = 8ms, .immediate = 0};
    std::mt19937_64 random(4);
    int buckets[8] = {};
    for (int i = 0; i < 80'000; ++i)
        ++buckets[static_cast<std::size_t>(backoff.delay(100, random()).count() / 1'000'001)];
    // Drawn before capping, nearly all draws of the hundredth retry would be the cap itself.
    for (auto count : buckets) {
        CHECK(count > 9'000);
        CHECK(count < 11'000);
    }
}

TEST_CASE("the same random bits make the same wait", "[core][backoff]")
{
    Backoff const backoff{};
    CHECK(backoff.delay(5, 12345) == backoff.delay(5, 12345));
    CHECK(backoff.delay(20, lowest) == 0ns);
    CHECK(backoff.delay(20, highest) == backoff.cap);
    static_assert(Backoff{}.delay(3, 0) == nanoseconds{0});
}

TEST_CASE("settings out of range are recognised", "[core][backoff]")
{
    CHECK(Backoff{}.valid());
    CHECK(Backoff{.initial = 0ns, .cap = 0ns}.valid());
    CHECK_FALSE(Backoff{.initial = -1ns}.valid());
    CHECK_FALSE(Backoff{.initial = 2ms, .cap = 1ms}.valid());
    CHECK_FALSE(Backoff{.immediate = -1}.valid());
    CHECK(Backoff{.initial = 0ns, .cap = 1s}.limit(100) == 0ns);
}

}  // namespace backoff_test
