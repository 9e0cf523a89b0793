// SPDX-License-Identifier: BSL-1.0

#include <interlock/core/key.hpp>
#include <interlock/core/kit/commit_refusal.hpp>
#include <interlock/core/outcome.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace outcome_test {

using namespace interlock;
using namespace std::chrono_literals;

TEST_CASE("a failure with the code ok makes an unknown outcome", "[core][outcome]")
{
    Outcome<int> const outcome{Errc::ok};
    CHECK_FALSE(outcome);
    CHECK(outcome.errc() == Errc::outcome_unknown);
    CHECK(outcome.effect() == Effect::unknown);
    static_assert(!std::is_convertible_v<int, Outcome<std::vector<int>>>);
}

TEST_CASE("an outcome as it is made is unknown", "[core][outcome]")
{
    Outcome<int> const outcome;
    CHECK_FALSE(outcome);
    CHECK(outcome.errc() == Errc::outcome_unknown);
    CHECK(outcome.effect() == Effect::unknown);
}

TEST_CASE("an outcome is a value or a failure, and the effect follows", "[core][outcome]")
{
    Outcome<int> const good = 7;
    CHECK(good);
    CHECK(good.has_value());
    CHECK(*good == 7);
    CHECK(good.errc() == Errc::ok);
    CHECK(good.effect() == Effect::applied);
    CHECK(good.detail().empty());
    CHECK_THROWS_AS(good.failure(), std::bad_variant_access);

    Outcome<int> const bad = Failure{Errc::not_found, "sku-1"};
    CHECK_FALSE(bad);
    CHECK(bad.errc() == Errc::not_found);
    CHECK(bad.effect() == Effect::not_applied);
    CHECK(bad.detail() == "sku-1");
    CHECK(bad.failure().errc() == Errc::not_found);

    Outcome<int> const unknown = Failure::unknown(Errc::unavailable, "reply lost");
    CHECK(unknown.errc() == Errc::outcome_unknown);
    CHECK(unknown.cause() == Errc::unavailable);
    CHECK(unknown.effect() == Effect::unknown);
    CHECK(unknown.detail() == "reply lost");
}

// Programs written for version 0.1 are built with a warning, and get the same answers.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
TEST_CASE("the words of version 0.1 for errc() still answer", "[core][outcome]")
{
    Outcome<int> const busy{Failure{Errc::lock_busy}};
    CHECK(busy.error() == Errc::lock_busy);
    CHECK(busy.failure().code() == Errc::lock_busy);
    CHECK(Outcome<int>{1}.error() == Errc::ok);
}
#pragma GCC diagnostic pop

TEST_CASE("value() returns the value or throws the failure", "[core][outcome]")
{
    CHECK(Outcome<int>{7}.value() == 7);
    Outcome<int> const bad = Failure::unknown(Errc::lock_lost, "why");
    try {
        static_cast<void>(bad.value());
        FAIL("no exception");
    } catch (Error const& error) {
        CHECK(error.errc() == Errc::outcome_unknown);
        CHECK(error.cause() == Errc::lock_lost);
        CHECK_THAT(error.what(), Catch::Matchers::ContainsSubstring("why"));
    }
    CHECK_THROWS_AS(Outcome<void>{Errc::cancelled}.value(), Error);
    CHECK_NOTHROW(success().value());
    CHECK(success());
}

TEST_CASE("an outcome holds move-only values and values without a default", "[core][outcome]")
{
    Outcome<std::unique_ptr<int>> outcome = std::make_unique<int>(3);
    CHECK(**outcome == 3);
    auto const moved = std::move(outcome).value();
    CHECK(*moved == 3);

    struct NoDefault {
        explicit NoDefault(int v) : value(v) {}
        int value;
    };
    Outcome<NoDefault> const other = NoDefault{4};
    CHECK(other->value == 4);
}

TEST_CASE("copies of a failure are independent and complete", "[core][outcome]")
{
    auto const busy = Failure::busy(Errc::lock_busy, 20ms);
    CHECK(busy.retry_after() == 20ms);
    Failure first = Failure::unknown(Errc::unavailable, "text");
    Failure second = busy;
    second = first;
    first = Failure{Errc::cancelled};
    CHECK(second.errc() == Errc::outcome_unknown);
    CHECK(second.cause() == Errc::unavailable);
    CHECK(second.detail() == "text");
    CHECK(second.retry_after() == 0ns);
    CHECK(first.detail().empty());
    CHECK(Failure::because(Errc::lock_lost, Errc::not_found).cause() == Errc::not_found);
}

TEST_CASE("a text about a store that does not say which gets its place", "[core][outcome]")
{
    std::string const place = "memory of the shop";
    auto const placed = [&](Failure failure) { return std::move(failure).placed(place).detail(); };
    for (auto code : {Errc::deadline_exceeded, Errc::unavailable, Errc::overloaded, Errc::misconfigured}) {
        CHECK(placed({code, "no connection"}) == place + ": no connection");
        CHECK(placed({code, "no room in memory"}) == "no room in memory");
        CHECK(placed(code).empty());
    }
    CHECK(placed(Failure::unknown(Errc::unavailable, "lost")) == place + ": lost");
    CHECK(placed({Errc::invalid_argument, "key is empty"}) == "key is empty");
    CHECK(Failure{Errc::unavailable, "lost"}.placed("").detail() == "lost");
}

TEST_CASE("a bare code is a failure, and an outcome says whether it was replayed", "[core][outcome]")
{
    Outcome<std::string> outcome = Errc::lock_busy;
    CHECK(outcome.errc() == Errc::lock_busy);
    CHECK(outcome.cause() == Errc::ok);
    Outcome<std::string> value = std::string("x");
    CHECK_FALSE(value.replayed());
    value.mark_replayed();
    CHECK(value.replayed());
    CHECK(value->size() == 1);
    static_assert(!std::is_convertible_v<Outcome<int>, bool>);
}

TEST_CASE("error, failure and outcome answer the same questions by the same names", "[core][outcome]")
{
    auto const check = [](auto const& told, Errc errc, Errc cause, std::chrono::nanoseconds retry_after,
                          std::string message) {
        CHECK(told.errc() == errc);
        CHECK(told.cause() == cause);
        CHECK(told.effect() == effect_of(errc));
        CHECK(told.retry_after() == retry_after);
        CHECK(told.message() == message);
    };
    auto const check_all = [&](Failure const& failure, std::chrono::nanoseconds retry_after,
                               std::string const& message) {
        check(failure, failure.errc(), failure.cause(), retry_after, message);
        check(Outcome<int>{failure}, failure.errc(), failure.cause(), retry_after, message);
        check(Outcome<void>{failure}, failure.errc(), failure.cause(), retry_after, message);
        check(Error{failure}, failure.errc(), failure.cause(), retry_after, message);
        try {
            failure.raise();
        } catch (Error const& error) {
            check(error, failure.errc(), failure.cause(), retry_after, message);
            CHECK(error.what() == message);
            CHECK(error.detail() == failure.detail());
        }
    };
    check_all(Errc::not_found, 0ns, "not_found");
    check_all({Errc::not_found, "memory: no sku-1"}, 0ns, "not_found: memory: no sku-1");
    check_all(Failure::busy(Errc::idempotency_in_progress, 20ms), 20ms, "idempotency_in_progress");
    check_all(
        Failure::unknown(Errc::unavailable, "redis: reply lost"), 0ns,
        "outcome_unknown because of unavailable: redis: reply lost");
    check(Outcome<int>{1}, Errc::ok, Errc::ok, 0ns, "ok");
}

TEST_CASE("a text that names one of several keys gets the place of the store", "[core][outcome]")
{
    auto const placed = [](Errc code, std::string text) {
        return Failure{code, std::move(text)}.placed("tapes shelf \"shop\"").detail();
    };
    for (auto code : {Errc::not_found, Errc::already_exists, Errc::version_conflict, Errc::fenced_out})
        CHECK(placed(code, "A9: gone") == "tapes shelf \"shop\": A9: gone");
    // One that has a place already keeps it: of two places, it is the nearer one.
    CHECK(placed(Errc::not_found, "tapes shelf \"a\": A9: gone") == "tapes shelf \"a\": A9: gone");
    CHECK(placed(Errc::not_found, "tapes: no such reel") == "tapes: no such reel");
    CHECK(placed(Errc::invalid_argument, "key is empty") == "key is empty");
    CommitRefusal refusal{3};
    refusal.add("tapes a", "x", Errc::version_conflict);
    refusal.add("tapes a", "y", Errc::not_found);
    refusal.add("tapes b", "z", Errc::fenced_out);
    auto const failure = std::move(refusal).failure();
    CHECK(
        failure.message() ==
        "version_conflict: tapes a: x: version_conflict, y: not_found, tapes b: z: fenced_out");
}

TEST_CASE("a key that is a number is shown as one", "[core][outcome]")
{
    auto const shown = [](auto key) { return printable_key(KeyTraits<decltype(key)>::encode(key)); };
    CHECK(shown(0) == "0");
    CHECK(shown(-5) == "-5");
    CHECK(shown(42U) == "42");
    CHECK(shown((std::int64_t{1} << 48) - 1) == "281474976710655");
    CHECK(shown(-(std::int64_t{1} << 48)) == "-281474976710656");
    // Beyond that a key might be a text of eight bytes.
    CHECK(shown(std::int64_t{1} << 48) == "????????");
    CHECK(shown(std::string("order-17")) == "order-17");
    CHECK(shown(std::string("a\nb")) == "a?b");
}

TEST_CASE("a copy of an error says the same after the original is gone", "[core][outcome]")
{
    static_assert(std::is_nothrow_copy_constructible_v<Error>);
    auto first = std::make_unique<Error>(Errc::lock_lost, "redis: the lease ended", Errc::not_found, 5ms);
    Error const second = *first;
    first.reset();
    CHECK(std::string(second.what()) == "lock_lost because of not_found: redis: the lease ended");
    CHECK(second.retry_after() == 5ms);
}

TEST_CASE("a text is cut between its characters", "[core][outcome]")
{
    using detail::beginning_of;
    static_assert(beginning_of("short", 5) == "short");
    static_assert(beginning_of("shorter", 5) == "short");
    std::string const mixed = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z";  // 1, 2, 3, 4 and 1 bytes
    std::vector<std::size_t> sizes;
    for (std::size_t most = 0; most <= mixed.size(); ++most)
        sizes.push_back(beginning_of(mixed, most).size());
    CHECK(sizes == std::vector<std::size_t>{0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11});
    // What is no UTF-8 is cut where it is.
    CHECK(beginning_of(std::string(9, '\x80'), 7).size() == 7);
    CHECK(beginning_of(std::string(9, '\xc3'), 7).size() == 7);
    CHECK(beginning_of("\x80\x80\x80", 0).empty());
}

TEST_CASE("a boolean outcome tells its value from its success", "[core][outcome]")
{
    Outcome<bool> const no = false;
    CHECK(no.has_value());
    CHECK_FALSE(*no);
}

}  // namespace outcome_test
