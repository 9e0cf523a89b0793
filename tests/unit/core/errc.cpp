// SPDX-License-Identifier: BSL-1.0

#include <interlock/core/errc.hpp>

#include <boost/asio/error.hpp>

#include "support/catch.hpp"

#include <set>
#include <string>
#include <type_traits>
#include <vector>

namespace errc_test {

using namespace interlock;

std::vector<Errc> const all{
    Errc::ok,
    Errc::invalid_argument,
    Errc::not_found,
    Errc::already_exists,
    Errc::corrupt_state,
    Errc::version_exhausted,
    Errc::would_deadlock,
    Errc::constraint_violated,
    Errc::version_conflict,
    Errc::lock_busy,
    Errc::serialization_failure,
    Errc::deadlock,
    Errc::idempotency_in_progress,
    Errc::idempotency_mismatch,
    Errc::superseded,
    Errc::lock_lost,
    Errc::fenced_out,
    Errc::deadline_exceeded,
    Errc::cancelled,
    Errc::overloaded,
    Errc::unavailable,
    Errc::misconfigured,
    Errc::outcome_unknown,
};

TEST_CASE("the list of codes in this test is complete", "[core][errc]")
{
    // A value that the library names and the list lacks would make the cases below incomplete.
    std::set<int> listed;
    for (auto code : all)
        listed.insert(static_cast<int>(code));
    for (int value = -100; value < 1000; ++value)
        CHECK((std::string(name_of(static_cast<Errc>(value))) != "?") == (listed.count(value) == 1));
}

TEST_CASE("each code has exactly one effect and only outcome_unknown is unknown", "[core][errc]")
{
    for (auto code : all) {
        INFO(name_of(code));
        if (code == Errc::ok)
            CHECK(effect_of(code) == Effect::applied);
        else if (code == Errc::outcome_unknown)
            CHECK(effect_of(code) == Effect::unknown);
        else
            CHECK(effect_of(code) == Effect::not_applied);
        CHECK(effect_of(make_error_code(code)) == effect_of(code));
        CHECK(Error(code).effect() == effect_of(code));
    }
}

TEST_CASE("a value that is no enumerator is unknown, never applied or not applied", "[core][errc]")
{
    CHECK(effect_of(static_cast<Errc>(4711)) == Effect::unknown);
    CHECK(effect_of(static_cast<Errc>(-1)) == Effect::unknown);
    CHECK(std::string(name_of(static_cast<Errc>(4711))) == "?");
}

TEST_CASE("a foreign error code is unknown and no error is applied", "[core][errc]")
{
    CHECK(effect_of(error_code(boost::asio::error::connection_reset)) == Effect::unknown);
    CHECK(
        effect_of(error_code(static_cast<int>(Errc::lock_busy), boost::system::generic_category())) ==
        Effect::unknown);
    CHECK(effect_of(error_code{}) == Effect::applied);
}

TEST_CASE("names are unique", "[core][errc]")
{
    std::set<std::string> names;
    for (auto code : all)
        names.insert(name_of(code));
    CHECK(names.size() == all.size());
}

TEST_CASE("a code converts to an error code of the library's category", "[core][errc]")
{
    static_assert(boost::system::is_error_code_enum<Errc>::value);
    error_code const code = Errc::fenced_out;
    CHECK(code == Errc::fenced_out);
    CHECK(&code.category() == &error_category());
    CHECK(std::string(code.category().name()) == "interlock");
    CHECK(code.message() == "fenced_out");
    CHECK(code.failed());
    CHECK_FALSE(make_error_code(Errc::ok).failed());
}

TEST_CASE("an error carries code, text and cause", "[core][errc]")
{
    Error const error(Errc::outcome_unknown, "while saving", Errc::lock_lost);
    CHECK(error.errc() == Errc::outcome_unknown);
    CHECK(error.cause() == Errc::lock_lost);
    CHECK(error.effect() == Effect::unknown);
    CHECK_THAT(error.what(), Catch::Matchers::ContainsSubstring("while saving"));
    CHECK_THAT(error.what(), Catch::Matchers::ContainsSubstring("outcome_unknown"));
    static_assert(std::is_base_of_v<boost::system::system_error, Error>);
}

}  // namespace errc_test
