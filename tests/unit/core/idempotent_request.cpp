// SPDX-License-Identifier: BSL-1.0

#include <interlock/core/idempotent_request.hpp>

#include "support/catch.hpp"

#include <map>
#include <random>
#include <string>
#include <utility>

namespace idempotent_request_test {

using namespace interlock;
using namespace std::string_literals;

TEST_CASE(
    "an answer that is a temporary gives its value and no reference to it", "[core][idempotent_request]")
{
    static_assert(std::is_same_v<decltype(std::declval<Answer<std::string>>().value()), std::string>);
    static_assert(std::is_same_v<decltype(*std::declval<Answer<std::string>>()), std::string>);
    auto const& kept = Answer<std::string>{"long enough to live on the heap, and to be missed", true}.value();
    CHECK(kept == "long enough to live on the heap, and to be missed");
}

TEST_CASE("a key in double quotes is the same key as the one without", "[core][idempotent_request]")
{
    IdempotentRequest const plain("k-1", Scope("tenant"));
    IdempotentRequest const quoted("\"k-1\"", Scope("tenant"));
    CHECK(plain.name() == quoted.name());
    CHECK(quoted.key() == "k-1");
    CHECK(IdempotentRequest("\"", Scope("t")).key() == "\"");
    CHECK(IdempotentRequest("\"a", Scope("t")).key() == "\"a");
    CHECK(IdempotentRequest("\"\"", Scope("t")).validate().errc() == Errc::invalid_argument);
}

TEST_CASE("an idempotency key has 1 to 255 bytes without control characters", "[core][idempotent_request]")
{
    auto const valid = [](std::string const& key) {
        return IdempotentRequest(key, Scope("t")).validate().has_value();
    };
    CHECK_FALSE(valid(""));
    CHECK(valid("k"));
    CHECK(valid(std::string(255, 'k')));
    CHECK_FALSE(valid(std::string(256, 'k')));
    CHECK(valid("\"" + std::string(255, 'k') + "\""));
    for (int c = 0; c < 256; ++c) {
        bool const control = c < 0x20 || c == 0x7f;
        INFO(c);
        CHECK(valid("k"s + static_cast<char>(c)) == !control);
    }
}

TEST_CASE("two scopes never share a name, however scope and key are cut", "[core][idempotent_request]")
{
    CHECK(IdempotentRequest("bc", Scope("a")).name() != IdempotentRequest("c", Scope("ab")).name());
    CHECK(IdempotentRequest("a", Scope("")).name() != IdempotentRequest("", Scope("a")).name());
    std::mt19937_64 random(5);
    auto const text = [&] {
        std::string out(random() % 5, '\0');
        for (auto& c : out)
            c = "\0\1\2ab"[random() % 5];
        return out;
    };
    std::map<std::string, std::pair<std::string, std::string>> seen;
    for (int i = 0; i < 100'000; ++i) {
        std::pair const parts{text(), text()};
        auto const [it, fresh] =
            seen.try_emplace(IdempotentRequest(parts.second, Scope(parts.first)).name(), parts);
        if (!fresh && it->second != parts)
            FAIL("two requests have one name");
    }
    CHECK(seen.size() > 1000);
}

TEST_CASE(
    "fingerprints of one version tell bodies apart, and those of two versions are not compared",
    "[core][idempotent_request]")
{
    CHECK(mismatch(fingerprint("a"), fingerprint("b")));
    CHECK_FALSE(mismatch(fingerprint("a"), fingerprint("a")));
    CHECK_FALSE(mismatch(fingerprint("a"), Fingerprint{}));
    CHECK_FALSE(mismatch(Fingerprint{}, fingerprint("a")));
    CHECK_FALSE(mismatch(Fingerprint{1, 1}, Fingerprint{2, 2}));
    CHECK(mismatch(Fingerprint{1, 2}, Fingerprint{2, 2}));
    CHECK(fingerprint("a").version() == 1);
    CHECK(fingerprint("") == fingerprint(""));
    CHECK(mismatch(fingerprint(""), fingerprint("\0"s)));
    CHECK(mismatch(fingerprint("ab"), fingerprint("ba")));
}

TEST_CASE("a request is fixed when it is made", "[core][idempotent_request]")
{
    std::string key = "k-1";
    IdempotentRequest const request(key, Scope("t"), fingerprint("body"));
    key = "other";
    CHECK(request.key() == "k-1");
    CHECK(request.scope().value() == "t");
    CHECK(request.fingerprint() == fingerprint("body"));
}

TEST_CASE("the phases of a request are requests of their own", "[core][idempotent_request]")
{
    IdempotentRequest const request("k", Scope("t"), fingerprint("body"));
    auto const ride = request.phase("ride");
    CHECK(ride.validate());
    CHECK(ride.name() != request.name());
    CHECK(ride.name() == IdempotentRequest("\"k\"", Scope("t")).phase("ride").name());
    CHECK(ride.name() != request.phase("charge").name());
    CHECK(ride.name() != IdempotentRequest("k2", Scope("t")).phase("ride").name());
    CHECK(ride.name() != IdempotentRequest("kride", Scope("t")).name());
    CHECK(ride.fingerprint() == request.fingerprint());
    CHECK(request.phase("a").phase("b").validate());
    CHECK(request.phase("a").phase("b").name() != request.phase("ab").name());
    for (auto const& name : {""s, std::string(65, 'a'), "a\nb"s, "a\0b"s, "\0"s}) {
        INFO(name);
        CHECK(request.phase(name).validate().errc() == Errc::invalid_argument);
        CHECK(request.phase(name).phase("good").validate().errc() == Errc::invalid_argument);
    }
    CHECK(request.phase(std::string(64, 'a')).validate());
}

TEST_CASE(
    "a derived key is the same in every process, and differs for each request and phase",
    "[core][idempotent_request]")
{
    IdempotentRequest const request("k", Scope("t"), fingerprint("body"));
    auto const charge = request.phase("charge");
    auto const key = charge.derived_key();
    // A UUID of version 5, made by another library of the same name.
    CHECK(key == "d045a615-d61a-531d-8ca2-e18ba69aaf2e");
    CHECK(request.derived_key() == "aad84de5-c077-5e8d-800b-d632272d118f");
    CHECK(key == IdempotentRequest("k", Scope("t")).phase("charge").derived_key());
    // As version 0.1 made it.
    CHECK(
        charge.derived_key(DerivedKey::digits) ==
        "8cf8abb51a11ef3337e3162625c17efe424f4a728fb2dd0fa6609408e05b2d43");
    CHECK(key != request.derived_key());
    CHECK(key != request.phase("refund").derived_key());
    CHECK(key != IdempotentRequest("k", Scope("u")).phase("charge").derived_key());
}

TEST_CASE("an answer has its value and says whether it was given before", "[core][idempotent_request]")
{
    Answer<std::string> const answer{"paid", true};
    CHECK(*answer == "paid");
    CHECK(answer->size() == 4);
    CHECK(answer.value() == "paid");
    CHECK(answer.replayed());
    std::string const& converted = answer;
    CHECK(converted == "paid");
    CHECK_FALSE(Answer<int>{1, false}.replayed());
}

}  // namespace idempotent_request_test
