// SPDX-License-Identifier: BSL-1.0

#include <interlock/interlock.hpp>

#include <fmt/core.h>

#include "support/catch.hpp"

#include <set>
#include <stdexcept>
#include <string>
#include <string_view>

namespace format_test {

using namespace interlock;

TEST_CASE("public types are formatted by their names", "[core][format]")
{
    CHECK(fmt::format("{}", Errc::lock_busy) == "lock_busy");
    CHECK(fmt::format("{}", Effect::applied) == "applied");
    CHECK(fmt::format("{}", Effect::not_applied) == "not_applied");
    CHECK(fmt::format("{}", Effect::unknown) == "unknown");
    CHECK(fmt::format("{}", LockStatus::in_doubt) == "in_doubt");
    CHECK(fmt::format("{}", LockStatus::held) == "held");
    CHECK(fmt::format("{}", LockStatus::lost) == "lost");
    CHECK(fmt::format("{}", LostReason::taken) == "taken");
    CHECK(fmt::format("{}", FencingToken{17}) == "17");
    CHECK(fmt::format("{:>12}|{:<4}|", Errc::lock_busy, FencingToken{1}) == "   lock_busy|1   |");
}

TEST_CASE("what only fmt/core.h shows is enough, and a wrong specification is refused", "[core][format]")
{
    // This file includes no other header of fmt.
    CHECK(fmt::format("{:*^10}{:x}", LockStatus::lost, FencingToken{255}) == "***lost***ff");
    auto const token = FencingToken{5};
    auto const code = Errc::ok;
    CHECK_THROWS_AS(fmt::vformat("{:d}", fmt::make_format_args(code)), std::runtime_error);
    CHECK_THROWS_AS(fmt::vformat("{:s}", fmt::make_format_args(token)), std::runtime_error);
    int const width = 5;
    CHECK_THROWS_AS(fmt::vformat("{:{}}", fmt::make_format_args(token, width)), std::runtime_error);
}

TEST_CASE("the reasons of a loss have names of their own", "[core][format]")
{
    std::set<std::string_view> const names{
        name_of(LostReason::none), name_of(LostReason::expired), name_of(LostReason::taken),
        name_of(LostReason::removed), name_of(LostReason::released)};
    CHECK(names.size() == 5);
}

TEST_CASE("an owner token shows no more than its first four bytes", "[core][format]")
{
    OwnerToken const a{{0x1122334455667788, 0x99aabbccddeeff00}};
    OwnerToken const b{{0x0000000055667788, 0x0123456789abcdef}};
    CHECK(fmt::format("{}", a) == "55667788...");
    CHECK(fmt::format("{}", a) == fmt::format("{}", b));
}

TEST_CASE("a failure is its code, its cause and its detail", "[core][format]")
{
    CHECK(fmt::format("{}", Failure{Errc::not_found}) == "not_found");
    CHECK(fmt::format("{}", Failure{Errc::not_found, "sku"}) == "not_found: sku");
    CHECK(fmt::format("{}", Failure::unknown(Errc::lock_lost)) == "outcome_unknown because of lock_lost");
    CHECK(
        fmt::format("{}", Failure::unknown(Errc::lock_lost, "x")) ==
        "outcome_unknown because of lock_lost: x");
    CHECK(fmt::format("{:>16}|", Error{Errc::not_found, "sku"}) == "  not_found: sku|");
}

TEST_CASE("an event says what it is, and nothing of what it is about", "[core][format]")
{
    CHECK(fmt::format("{:>14}", EventType{"stock.sold", 2}) == " stock.sold v2");
    Event event;
    event.id = "e-1";
    event.stream = Key{"alice@example.org"};
    event.number = 3;
    event.partition = 1;
    event.position = 17;
    event.type = "stock.sold";
    event.data = "secret";
    CHECK(fmt::format("{}", event) == "stock.sold v1, number 3, at 1:17, id e-1");
}

}  // namespace format_test
