// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_HTTP_IDEMPOTENCY_HPP
#define INTERLOCK_HTTP_IDEMPOTENCY_HPP

/// @file
/// An HTTP server takes a request with an `Idempotency-Key`, and has to say in HTTP what became of it. This
/// header is the way in and the way out, for any web framework: texts and numbers, and no type of a
/// framework.
///
///     auto const request = http::request_of(headers["Idempotency-Key"], Scope{"POST /payments"}, body);
///     if (!request)
///         return reply(http::problem_of(request.failure()));  // 400: no key, or a bad one
///     auto const answer = payments.try_do_in_transaction(*request, "alice", charge);
///     return answer ? reply(answer->value()) : reply(http::problem_of(answer.failure()));
///
/// It follows the draft "The Idempotency-Key HTTP Header Field" of the IETF (draft-ietf-httpapi-
/// idempotency-key-header-07), structured fields (RFC 8941) and problem details (RFC 9457).

#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/separate_compilation.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {

/// What a server that speaks HTTP needs.
namespace http {

/// The header field in which a client sends its key.
inline constexpr char const* idempotency_key_field = "Idempotency-Key";
/// The header field of an answer that was stored before; its value is `true`. The draft names no such field;
/// this one is what the field's users know.
inline constexpr char const* replayed_field = "Idempotent-Replayed";
/// The media type of `Problem::body()`.
inline constexpr char const* problem_type = "application/problem+json";

/// The request that came with the field `Idempotency-Key: <header>`. Of `body` it keeps the fingerprint, so
/// that another body under the same key is refused. `scope` says whose key it is and what it is for, such as
/// the user together with the method and the path.
///
/// A field that is not there is an empty `header`. The draft asks for a string in double quotes (`"8e03…"`),
/// in which `\"` and `\\` stand for a quote and a backslash; its parameters (`"8e03…";v=1`) are passed over,
/// as RFC 8941 has it. Many clients send the key bare (`8e03…`): printable ASCII without spaces, quotes,
/// commas, semicolons and backslashes. A bare key is the same key as the one in quotes.
///
/// **Outcome.** `invalid_argument` with a sentence for the client: the key is missing (its `cause()` is then
/// `not_found`), empty, longer than `IdempotentRequest::max_key_size` bytes, has control characters or
/// others than ASCII, comes twice, or is neither of the two forms. Nothing was claimed or run.
Outcome<IdempotentRequest> request_of(std::string_view header, Scope scope, std::string_view body);

/// The key in the field `Idempotency-Key: <header>`, without its quotes. Fails as `request_of` does.
Outcome<std::string> key_of(std::string_view header);

/// Which status each kind of failure gets. The first four are those of the draft; change what your API
/// already says otherwise:
///
///     constexpr http::StatusCodes codes{.in_progress = 425};
struct StatusCodes {
    int missing_key{400};        ///< `invalid_argument` because the key is missing
    int mismatch{422};           ///< `idempotency_mismatch`: the key came with another body
    int in_progress{409};        ///< `idempotency_in_progress`: the first request is being executed
    int bad_request{400};        ///< `invalid_argument` otherwise, a malformed key too
    int not_found{404};          ///< `not_found`
    int already_exists{409};     ///< `already_exists`
    int constraint{409};         ///< `constraint_violated`
    int conflict{409};           ///< somebody else was there, or the lock is gone; nothing was changed
    int unavailable{503};        ///< `unavailable`, `cancelled`
    int overloaded{503};         ///< `overloaded`; some say 429
    int deadline_exceeded{504};  ///< `deadline_exceeded`: nothing was changed
    int unknown{500};            ///< `outcome_unknown`: the same key must be used again
    int broken{500};             ///< what an operator or a programmer has to mend
};

/// The status for `failure`. A number that is no `Errc` is treated as unknown.
int status_of(Failure const& failure, StatusCodes const& codes = {}) noexcept;

/// What to write into the field `Retry-After`, in whole seconds and at least one; nothing where asking again
/// is of no use. The time that the failure names is rounded up; a failure that names none gets one second.
std::optional<std::chrono::seconds> retry_after(Failure const& failure) noexcept;

/// An answer about a failure, as RFC 9457 describes it.
struct Problem {
    int status{500};
    /// The status in words, such as "Conflict".
    std::string title;
    /// A sentence for whoever wrote the client: what was wrong with the key, or what to do now. It never has
    /// the failure's own text about the store, which is for the log.
    std::string detail;
    /// The name of the `Errc`, for programs: `idempotency_in_progress`.
    std::string code;
    /// For the field `Retry-After`.
    std::optional<std::chrono::seconds> retry_after;
    /// A URI that names the kind of the problem. Empty: `about:blank`, which the standard has for problems
    /// that say no more than their status.
    std::string type;

    /// The JSON of it, to be sent as `problem_type`: the members of RFC 9457 and `code`.
    std::string body() const;
};

/// What to answer about `failure`. `types`, if not empty, is what the URIs of your API's problems begin with:
/// `https://api.example.com/problems/` gives `https://api.example.com/problems/idempotency_mismatch`.
Problem problem_of(Failure const& failure, StatusCodes const& codes = {}, std::string_view types = {});

/// The same for what a call threw. The `try_` forms throw an `Error`, too, where the operation itself did,
/// such as a statement in it that came too late.
Problem problem_of(Error const& error, StatusCodes const& codes = {}, std::string_view types = {});

}  // namespace http

}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/http/impl/idempotency.ipp>
#endif

#endif  // INTERLOCK_HTTP_IDEMPOTENCY_HPP
