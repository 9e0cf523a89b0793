// SPDX-License-Identifier: BSL-1.0

#include <interlock/core/codec/json.hpp>
#include <interlock/http/idempotency.hpp>
#include <interlock/interlock.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace http_idempotency_test {

using namespace interlock;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

Scope const scope{"POST /payments"};

struct Row {
    std::string header;
    std::string key;  // or, for a refusal, a part of its sentence
};

TEST_CASE("a key is read as the IETF draft writes it, and bare", "[http]")
{
    auto const row = GENERATE(
        Row{R"("8e03978e-40d5-43e8-bc93-6894a57f9324")", "8e03978e-40d5-43e8-bc93-6894a57f9324"},
        Row{"8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324"},
        Row{"12345", "12345"}, Row{" \t\"12345\"\t ", "12345"}, Row{R"("a b, c; d")", "a b, c; d"},
        Row{R"("a \"b\" \\ c")", R"(a "b" \ c)"}, Row{R"("\"k\"")", R"("k")"}, Row{R"("k";v=1)", "k"},
        Row{R"("k"; a;b=?1; c="x\"y";*d=2.5)", "k"}, Row{"key_1:2/3+4=", "key_1:2/3+4="},
        Row{":YWJj:", ":YWJj:"}, Row{R"("   ")", "   "}, Row{R"("k";v=:YWJj:;w=-1.5)", "k"},
        Row{'"' + std::string(255, 'k') + '"', std::string(255, 'k')});
    CAPTURE(row.header);
    CHECK(http::key_of(row.header).value() == row.key);
    auto const request = http::request_of(row.header, scope, "body").value();
    CHECK(request.key() == row.key);
    CHECK(request.validate().has_value());
    CHECK(request.scope().value() == scope.value());
    CHECK(request.fingerprint() == fingerprint("body"));
}

TEST_CASE("a key that is neither form is refused in a sentence for its client", "[http]")
{
    auto const row = GENERATE(
        Row{"", "is missing"}, Row{" \t", "is missing"}, Row{R"("")", "is empty"},
        Row{std::string(256, 'k'), "256 bytes"}, Row{'"' + std::string(256, 'k') + '"', "no more than 255"},
        Row{"a\nb", "control character"}, Row{std::string("\"a\0b\"", 5), "control character"},
        Row{"a\x7f", "control character"}, Row{"\"\xc3\xa4\"", "not ASCII"}, Row{"\xc3\xa4", "not ASCII"},
        Row{R"("a)", "no closing quote"}, Row{R"("a\")", "no closing quote"}, Row{"\"", "no closing quote"},
        Row{R"("a\n")", "backslash"}, Row{"\"a\\", "backslash"}, Row{R"("a" "b")", "goes on"},
        Row{R"("a"b)", "goes on"}, Row{R"("a", "b")", "sent twice"}, Row{R"("a" , "b")", "sent twice"},
        Row{R"("a" ;v=1)", "goes on"}, Row{R"("a";;v=1)", "parameter"},
        Row{R"(("a"))", "must stand in quotes"}, Row{"\xef\xbb\xbf\"a\"", "not ASCII"},
        Row{"a, b", "sent twice"}, Row{"a,b", "sent twice"}, Row{"a b", "must stand in quotes"},
        Row{R"(a"b")", "must stand in quotes"}, Row{"a;v=1", "must stand in quotes"},
        Row{R"("a";)", "parameter"}, Row{R"("a";V=1)", "parameter"}, Row{R"("a";v=)", "parameter"},
        Row{R"("a";v="x)", "parameter"});
    CAPTURE(row.header);
    auto const refused = http::request_of(row.header, scope, "body");
    REQUIRE_FALSE(refused);
    CHECK(refused.errc() == Errc::invalid_argument);
    CHECK_THAT(refused.detail(), ContainsSubstring(row.key));
    auto const problem = http::problem_of(refused.failure());
    CHECK(problem.status == 400);
    CHECK(problem.detail == refused.detail());
    CHECK_FALSE(problem.retry_after);
}

TEST_CASE("a quoted key and a bare one are one request, and keys in quotes of their own are not", "[http]")
{
    auto const name = [](std::string_view header) {
        return http::request_of(header, scope, "").value().name();
    };
    CHECK(name("k") == name("\"k\""));
    CHECK(name("k") == name("\"k\";v=1"));
    CHECK(name("k") != name(R"("\"k\"")"));
}

TEST_CASE("each failure has one status, which can be changed", "[http]")
{
    struct Status {
        Errc code;
        int status;
        int http::StatusCodes::* member;
        bool again;
    };
    using C = http::StatusCodes;
    auto const row = GENERATE(
        Status{Errc::invalid_argument, 400, &C::bad_request, false},
        Status{Errc::idempotency_mismatch, 422, &C::mismatch, false},
        Status{Errc::idempotency_in_progress, 409, &C::in_progress, true},
        Status{Errc::not_found, 404, &C::not_found, false},
        Status{Errc::already_exists, 409, &C::already_exists, false},
        Status{Errc::constraint_violated, 409, &C::constraint, false},
        Status{Errc::version_conflict, 409, &C::conflict, true},
        Status{Errc::lock_busy, 409, &C::conflict, true},
        Status{Errc::serialization_failure, 409, &C::conflict, true},
        Status{Errc::deadlock, 409, &C::conflict, true}, Status{Errc::superseded, 409, &C::conflict, true},
        Status{Errc::lock_lost, 409, &C::conflict, true}, Status{Errc::fenced_out, 409, &C::conflict, true},
        Status{Errc::unavailable, 503, &C::unavailable, true},
        Status{Errc::cancelled, 503, &C::unavailable, true},
        Status{Errc::overloaded, 503, &C::overloaded, true},
        Status{Errc::deadline_exceeded, 504, &C::deadline_exceeded, true},
        Status{Errc::outcome_unknown, 500, &C::unknown, true},
        Status{static_cast<Errc>(999), 500, &C::unknown, true},
        Status{Errc::corrupt_state, 500, &C::broken, false},
        Status{Errc::version_exhausted, 500, &C::broken, false},
        Status{Errc::would_deadlock, 500, &C::broken, false},
        Status{Errc::misconfigured, 500, &C::broken, false});
    CAPTURE(name_of(row.code));
    Failure const failure{row.code, "postgres: relation accounts, column secret"};
    CHECK(http::status_of(failure) == row.status);
    http::StatusCodes changed;
    changed.*row.member = 299;
    CHECK(http::status_of(failure, changed) == 299);
    CHECK(http::retry_after(failure).has_value() == row.again);

    auto const problem = http::problem_of(failure);
    CHECK(problem.status == row.status);
    CHECK_FALSE(problem.title.empty());
    CHECK_FALSE(problem.detail.empty());
    CHECK(problem.retry_after == http::retry_after(failure));
    CHECK(problem.body().find("secret") == std::string::npos);
    auto const thrown = http::problem_of(failure.exception());
    CHECK(thrown.body() == problem.body());
    CHECK(thrown.retry_after == problem.retry_after);
}

TEST_CASE("a key that is missing has a status of its own", "[http]")
{
    auto const missing = http::request_of("", scope, "");
    CHECK(http::status_of(missing.failure()) == 400);
    CHECK(http::status_of(missing.failure(), {.missing_key = 428}) == 428);
    CHECK(http::problem_of(missing.failure(), {.missing_key = 428}).title == "Precondition Required");
    auto const malformed = http::request_of("a b", scope, "");
    CHECK(http::status_of(malformed.failure(), {.missing_key = 428}) == 400);
    CHECK(http::problem_of(missing.failure().exception(), {.missing_key = 428}).status == 428);
    CHECK(http::problem_of(missing.failure().exception()).detail == missing.detail());
}

TEST_CASE("retry_after is whole seconds, rounded up, and at least one", "[http]")
{
    auto const after = [](std::chrono::nanoseconds time) {
        return http::retry_after(Failure::busy(Errc::idempotency_in_progress, time));
    };
    CHECK(after(0s) == 1s);
    CHECK(after(1ns) == 1s);
    CHECK(after(1s) == 1s);
    CHECK(after(1001ms) == 2s);
    CHECK(after(30s) == 30s);
    auto const busy = Failure::busy(Errc::idempotency_in_progress, 30s);
    CHECK(http::problem_of(busy.exception()).retry_after == 30s);
}

TEST_CASE("what is unknown is advised to come again under the same key", "[http]")
{
    auto const problem = http::problem_of(Failure::unknown(Errc::unavailable, "tcp: reset"));
    CHECK(problem.status == 500);
    CHECK(problem.code == "outcome_unknown");
    CHECK(problem.retry_after == 1s);
    CHECK_THAT(problem.detail, ContainsSubstring("same Idempotency-Key, never with a new one"));
}

TEST_CASE("a problem is the JSON of RFC 9457", "[http]")
{
    CHECK(
        http::problem_of(Failure{Errc::idempotency_mismatch}).body() ==
        R"({"type":"about:blank","title":"Unprocessable Content","status":422,)"
        R"("detail":"This Idempotency-Key was used for a different request before. Send this one with a new )"
        R"(key.","code":"idempotency_mismatch"})");
    auto const typed = http::problem_of(Failure{Errc::lock_busy}, {}, "https://api.example.com/problems/");
    CHECK(typed.type == "https://api.example.com/problems/lock_busy");
    CHECK_THAT(typed.body(), ContainsSubstring(R"({"type":"https://api.example.com/problems/lock_busy",)"));
    http::Problem const quotes{
        .title = "a \"b\" \\ \n", .detail = {}, .code = {}, .retry_after = {}, .type = {}};
    CHECK_THAT(quotes.body(), ContainsSubstring(R"("title":"a \"b\" \\ \u000a")"));
    http::Problem const bytes{
        .title = "K\xc3\xb6ln", .detail = "K\xf6ln", .code = {}, .retry_after = {}, .type = {}};
    CHECK_THAT(bytes.body(), ContainsSubstring("K\xc3\xb6ln") && ContainsSubstring("K?ln"));
    CHECK(detail::JsonReader{bytes.body()}.read());
}

TEST_CASE("a request from a header goes through a service as any other", "[http]")
{
    memory::StateRepository<int, std::string> const accounts;
    REQUIRE(accounts.insert(std::string("alice"), 100).has_value());
    TransactionService const payments{
        IdempotencyKeys{OptimisticVersioning{}, memory::IdempotencyStore{}}, accounts};
    auto const pay = [&](std::string_view header, std::string_view body) {
        auto const request = http::request_of(header, scope, body).value();
        return payments.try_do_in_transaction(request, "alice", [](int& balance) { return balance -= 30; });
    };
    CHECK(pay("\"12345\"", "30").value() == 70);
    auto const again = pay("12345", "30");
    CHECK(again.value() == 70);
    CHECK(again->replayed());
    auto const other = pay("12345", "31");
    REQUIRE_FALSE(other);
    CHECK(http::status_of(other.failure()) == 422);
}

}  // namespace http_idempotency_test
