// SPDX-License-Identifier: BSL-1.0

#include <interlock/core/deadline.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <cstdint>
#include <limits>
#include <random>
#include <ratio>

namespace deadline_test {

using namespace interlock;
using namespace std::chrono_literals;
using std::chrono::nanoseconds;
using Seconds = std::chrono::duration<double>;

constexpr TimePoint start{1'000'000s};

nanoseconds after(Deadline deadline)
{
    return deadline.at(start) - start;
}

TEST_CASE("a deadline is five seconds from the call unless said otherwise", "[core][deadline]")
{
    CHECK(after(Deadline{}) == 5s);
    CHECK_FALSE(Deadline{}.pinned());
}

TEST_CASE("a relative deadline counts from the call and an absolute one does not", "[core][deadline]")
{
    CHECK(after(Deadline{200ms}) == 200ms);
    Deadline const absolute{start + 3s};
    CHECK(absolute.pinned());
    CHECK(absolute.at(start) == start + 3s);
    CHECK(absolute.at(start + 1h) == start + 3s);
}

TEST_CASE("a deadline may have any unit, and may be a fraction of it", "[core][deadline]")
{
    CHECK(after(Deadline{Seconds{0.25}}) == 250ms);
    CHECK(after(Deadline{std::chrono::duration<float, std::milli>{1.5F}}) == 1500us);
    CHECK(after(Deadline{std::chrono::duration<std::int64_t, std::pico>{2500}}) == 2ns);
    CHECK(after(Deadline{std::chrono::duration<unsigned>{2U}}) == 2s);
    CHECK(after(Deadline{0s}) == 0s);
    CHECK(after(Deadline{-1s}) == -1s);
    CHECK(after(Deadline{std::chrono::duration<int, std::ratio<1, 60>>{90}}) == 1500ms);
}

TEST_CASE("a deadline is invalid if it is not a number, and only then", "[core][deadline]")
{
    CHECK_FALSE(Deadline{Seconds{std::numeric_limits<double>::quiet_NaN()}}.valid());
    CHECK(Deadline{Seconds{std::numeric_limits<double>::infinity()}}.valid());
    CHECK(Deadline{Seconds{-std::numeric_limits<double>::infinity()}}.valid());
    CHECK(Deadline{-5s}.valid());
    CHECK(Deadline{nanoseconds::max()}.valid());
}

TEST_CASE("deadlines saturate instead of overflowing", "[core][deadline]")
{
    auto const never = TimePoint::max();
    CHECK(Deadline{nanoseconds::max()}.at(start) == never);
    CHECK(Deadline{std::chrono::hours::max()}.at(start) == never);
    CHECK(Deadline{std::chrono::milliseconds::max()}.at(start) == never);
    CHECK(
        Deadline{std::chrono::duration<std::int64_t, std::milli>{std::numeric_limits<std::int64_t>::max()}}
            .at(start) == never);
    CHECK(Deadline{std::chrono::duration<std::uint64_t>{~std::uint64_t{0}}}.at(start) == never);
    CHECK(Deadline{Seconds::max()}.at(start) == never);
    CHECK(Deadline{Seconds{std::numeric_limits<double>::infinity()}}.at(start) == never);
    CHECK(Deadline{std::chrono::hours::min()}.at(TimePoint{-1s}) == TimePoint::min());
    CHECK(Deadline{nanoseconds::min()}.at(start) < start);
}

TEST_CASE("deadlines whose unit is no whole number of nanoseconds saturate, too", "[core][deadline]")
{
    using Frames = std::chrono::duration<std::int64_t, std::ratio<1, 60>>;
    CHECK(Deadline{Frames::max()}.at(start) == TimePoint::max());
    CHECK(Deadline{Frames::min()}.at(start) < start);
}

TEST_CASE("adding to a point of time stays at the ends of the time line", "[core][deadline]")
{
    std::mt19937_64 random(3);
    for (int i = 0; i < 100'000; ++i) {
        auto const a = static_cast<std::int64_t>(random());
        auto const b = static_cast<std::int64_t>(random());
        auto const exact = static_cast<__int128_t>(a) + b;
        auto const sum = static_cast<__int128_t>(
            detail::add(TimePoint{nanoseconds{a}}, nanoseconds{b}).time_since_epoch().count());
        constexpr auto max = static_cast<__int128_t>(std::numeric_limits<std::int64_t>::max());
        constexpr auto min = static_cast<__int128_t>(std::numeric_limits<std::int64_t>::min());
        if (sum != (exact > max ? max : exact < min ? min : exact))
            FAIL("wrong sum of " << a << " and " << b);
    }
    CHECK(detail::add(TimePoint::max(), 1ns) == TimePoint::max());
    CHECK(detail::add(TimePoint::min(), -1ns) == TimePoint::min());
}

TEST_CASE("a lease lives from 50 milliseconds to 24 hours", "[core][deadline]")
{
    CHECK(Ttl{}.valid());
    CHECK(Ttl{50ms}.valid());
    CHECK(Ttl{24h}.valid());
    CHECK(Ttl{Seconds{0.05}}.valid());
    CHECK(Ttl{10s}.value() == 10s);
    CHECK_FALSE(Ttl{50ms - 1ns}.valid());
    CHECK_FALSE(Ttl{24h + 1ns}.valid());
    CHECK_FALSE(Ttl{0s}.valid());
    CHECK_FALSE(Ttl{-1s}.valid());
    CHECK_FALSE(Ttl{500us}.valid());
    CHECK_FALSE(Ttl{1ns}.valid());
    CHECK_FALSE(Ttl{Seconds{std::numeric_limits<double>::quiet_NaN()}}.valid());
    CHECK_FALSE(Ttl{Seconds{std::numeric_limits<double>::infinity()}}.valid());
    CHECK_FALSE(Ttl{-Seconds{std::numeric_limits<double>::infinity()}}.valid());
    CHECK_FALSE(Ttl{nanoseconds::max()}.valid());
    CHECK_FALSE(Ttl{std::chrono::milliseconds::max()}.valid());
    CHECK_FALSE(Ttl{std::chrono::duration<std::int64_t, std::milli>{std::numeric_limits<std::int64_t>::max()}}
                    .valid());
    CHECK_FALSE(Ttl{std::chrono::hours::min()}.valid());
}

}  // namespace deadline_test
