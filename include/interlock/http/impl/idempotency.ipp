// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_HTTP_IMPL_IDEMPOTENCY_IPP
#define INTERLOCK_HTTP_IMPL_IDEMPOTENCY_IPP

#include <interlock/core/codec/json.hpp>
#include <interlock/http/idempotency.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace http {

namespace detail {

/// How each sentence of `key_of` begins.
inline constexpr std::string_view about_key = "The Idempotency-Key ";

INTERLOCK_DECL std::string sentence_about_key(std::string_view what)
{
    return std::string(about_key).append(what).append(".");
}

INTERLOCK_DECL Failure bad_key(std::string_view what)
{
    return Failure{Errc::invalid_argument, sentence_about_key(what)};
}

INTERLOCK_DECL bool is_one_of(char c, std::string_view characters) noexcept
{
    return characters.find(c) != std::string_view::npos;
}

INTERLOCK_DECL bool is_alphanumeric(char c) noexcept
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/// Reads a structured field's string (RFC 8941, 4.2.5) off the front of `rest`, without its quotes.
INTERLOCK_DECL Outcome<std::string> take_quoted(std::string_view& rest)
{
    std::string value;
    for (std::size_t i = 1; i < rest.size(); ++i) {
        char c = rest[i];
        if (c == '"') {
            rest.remove_prefix(i + 1);
            return value;
        }
        if (c == '\\') {
            ++i;
            if (i == rest.size() || !is_one_of(rest[i], "\"\\"))
                return bad_key("has a backslash that stands before neither a quote nor a backslash");
            c = rest[i];
        }
        value += c;
    }
    return bad_key("has no closing quote");
}

/// Reads a parameter without its semicolon (RFC 8941, 4.2.3.2) off the front of `rest`.
INTERLOCK_DECL bool take_parameter(std::string_view& rest)
{
    auto const take_while = [&rest](auto belongs) {
        auto const size =
            static_cast<std::size_t>(std::find_if_not(rest.begin(), rest.end(), belongs) - rest.begin());
        rest.remove_prefix(size);
        return size > 0;
    };
    take_while([](char c) { return c == ' '; });
    if (rest.empty() || !((rest[0] >= 'a' && rest[0] <= 'z') || rest[0] == '*'))
        return false;
    take_while(
        [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || is_one_of(c, "_-.*"); });
    if (rest.empty() || rest[0] != '=')
        return true;
    rest.remove_prefix(1);
    if (!rest.empty() && rest[0] == '"')
        return take_quoted(rest).has_value();
    return take_while([](char c) { return is_alphanumeric(c) || is_one_of(c, "!#$%&'*+-.^_`|~:/?="); });
}

/// `header` without the spaces and tabs around it.
INTERLOCK_DECL std::string_view trimmed(std::string_view header) noexcept
{
    auto const first = header.find_first_not_of(" \t");
    if (first == std::string_view::npos)
        return {};
    return header.substr(first, header.find_last_not_of(" \t") - first + 1);
}

/// What `text`, a key or a header with one, has that it must not have; or nothing.
INTERLOCK_DECL char const* foreign_characters(std::string_view text) noexcept
{
    bool control = false;
    bool foreign = false;
    for (char c : text) {
        auto const byte = static_cast<unsigned char>(c);
        control = control || byte < 0x20 || byte == 0x7f;
        foreign = foreign || byte > 0x7f;
    }
    return control ? "has a control character" : foreign ? "has a character that is not ASCII" : nullptr;
}

/// `text` in quotes. Of a text that is no UTF-8, and that no JSON can hold, the bytes that are not ASCII
/// become question marks.
INTERLOCK_DECL std::string json_text(std::string_view text)
{
    std::string known{text};
    if (!interlock::detail::is_utf8(known))
        std::replace_if(
            known.begin(), known.end(), [](char c) { return static_cast<unsigned char>(c) > 0x7f; }, '?');
    std::string json;
    interlock::detail::append_json_text(json, known);
    return json;
}

/// The words of RFC 9110 for the statuses that an API gives; empty for any other.
INTERLOCK_DECL std::string_view phrase_of(int status) noexcept
{
    constexpr std::array<std::pair<int, std::string_view>, 21> phrases{{
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {422, "Unprocessable Content"},
        {423, "Locked"},
        {424, "Failed Dependency"},
        {425, "Too Early"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {500, "Internal Server Error"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {507, "Insufficient Storage"},
    }};
    for (auto const& [known, phrase] : phrases)
        if (known == status)
            return phrase;
    return {};
}

/// What the client is told to do.
INTERLOCK_DECL std::string advice_about(Failure const& failure)
{
    switch (failure.errc()) {
    case Errc::invalid_argument:
        // What a store says about a value names its columns, which is nobody's business outside.
        return failure.detail().starts_with(about_key) ? failure.detail() : "The request is not valid.";
    case Errc::idempotency_mismatch:
        return "This Idempotency-Key was used for a different request before. Send this one with a new key.";
    case Errc::idempotency_in_progress:
        return "A request with this Idempotency-Key is being executed. Ask again later, with the same key.";
    case Errc::not_found: return "There is nothing under this name.";
    case Errc::already_exists: return "This exists already.";
    case Errc::constraint_violated: return "The request breaks a rule about the data. Nothing was changed.";
    case Errc::version_conflict:
    case Errc::lock_busy:
    case Errc::serialization_failure:
    case Errc::deadlock:
    case Errc::superseded:
    case Errc::lock_lost:
    case Errc::fenced_out:
        return "Others changed the same thing. Nothing was changed. Ask again with the same key.";
    case Errc::deadline_exceeded:
        return "The request took too long. Nothing was changed. Ask again with the same key.";
    case Errc::cancelled:
    case Errc::overloaded:
    case Errc::unavailable:
        return "The service is not available. Nothing was changed. Ask again with the same key.";
    case Errc::corrupt_state:
    case Errc::version_exhausted:
    case Errc::would_deadlock:
    case Errc::misconfigured: return "The service has a fault. Nothing was changed.";
    case Errc::ok:
    case Errc::outcome_unknown: break;
    }
    return "It is not known whether the request was executed. Ask again with the same Idempotency-Key, never "
           "with "
           "a new one.";
}

}  // namespace detail

INTERLOCK_DECL Outcome<std::string> key_of(std::string_view header)
{
    auto rest = detail::trimmed(header);
    if (rest.empty())
        return Failure::because(Errc::invalid_argument, Errc::not_found)
            .with_detail(detail::sentence_about_key("is missing"));
    if (auto const* const what = detail::foreign_characters(rest))
        return detail::bad_key(what);
    std::string key;
    if (rest.front() == '"') {
        auto quoted = detail::take_quoted(rest);
        if (!quoted)
            return quoted;
        key = *std::move(quoted);
        while (!rest.empty()) {
            if (detail::trimmed(rest).front() == ',')
                return detail::bad_key("was sent twice");
            if (rest.front() != ';')
                return detail::bad_key("goes on behind its closing quote");
            rest.remove_prefix(1);
            if (!detail::take_parameter(rest))
                return detail::bad_key("has a malformed parameter");
        }
    } else if (rest.find(',') != std::string_view::npos) {
        return detail::bad_key("was sent twice, or has a comma outside of quotes");
    } else if (rest.find_first_of("\"\\; ") != std::string_view::npos) {
        return detail::bad_key("has a space or one of the characters \" \\ ; and must stand in quotes");
    } else {
        key = rest;
    }
    if (key.empty())
        return detail::bad_key("is empty");
    if (key.size() > IdempotentRequest::max_key_size)
        return detail::bad_key(
            "has " + std::to_string(key.size()) + " bytes, and must have no more than " +
            std::to_string(IdempotentRequest::max_key_size));
    return key;
}

INTERLOCK_DECL Outcome<IdempotentRequest> request_of(
    std::string_view header, Scope scope, std::string_view body)
{
    auto key = key_of(header);
    if (!key)
        return std::move(key).failure();
    // In quotes, since the constructor takes a pair of them away, which may be part of the key.
    return IdempotentRequest{'"' + *key + '"', std::move(scope), fingerprint(body)};
}

INTERLOCK_DECL int status_of(Failure const& failure, StatusCodes const& codes) noexcept
{
    switch (failure.errc()) {
    case Errc::invalid_argument:
        return failure.cause() == Errc::not_found ? codes.missing_key : codes.bad_request;
    case Errc::idempotency_mismatch: return codes.mismatch;
    case Errc::idempotency_in_progress: return codes.in_progress;
    case Errc::not_found: return codes.not_found;
    case Errc::already_exists: return codes.already_exists;
    case Errc::constraint_violated: return codes.constraint;
    case Errc::version_conflict:
    case Errc::lock_busy:
    case Errc::serialization_failure:
    case Errc::deadlock:
    case Errc::superseded:
    case Errc::lock_lost:
    case Errc::fenced_out: return codes.conflict;
    case Errc::cancelled:
    case Errc::unavailable: return codes.unavailable;
    case Errc::overloaded: return codes.overloaded;
    case Errc::deadline_exceeded: return codes.deadline_exceeded;
    case Errc::corrupt_state:
    case Errc::version_exhausted:
    case Errc::would_deadlock:
    case Errc::misconfigured: return codes.broken;
    case Errc::ok:
    case Errc::outcome_unknown: break;
    }
    return codes.unknown;
}

INTERLOCK_DECL std::optional<std::chrono::seconds> retry_after(Failure const& failure) noexcept
{
    switch (failure.errc()) {
    case Errc::invalid_argument:
    case Errc::idempotency_mismatch:
    case Errc::not_found:
    case Errc::already_exists:
    case Errc::constraint_violated:
    case Errc::corrupt_state:
    case Errc::version_exhausted:
    case Errc::would_deadlock:
    case Errc::misconfigured: return std::nullopt;
    default: break;
    }
    return std::max(std::chrono::ceil<std::chrono::seconds>(failure.retry_after()), std::chrono::seconds{1});
}

INTERLOCK_DECL std::string Problem::body() const
{
    auto json = "{\"type\":" + detail::json_text(type.empty() ? "about:blank" : std::string_view{type});
    json += ",\"title\":" + detail::json_text(title);
    json += ",\"status\":" + std::to_string(status);
    json += ",\"detail\":" + detail::json_text(detail);
    json += ",\"code\":" + detail::json_text(code);
    return json + '}';
}

INTERLOCK_DECL Problem problem_of(Failure const& failure, StatusCodes const& codes, std::string_view types)
{
    Problem problem;
    problem.status = status_of(failure, codes);
    problem.title = detail::phrase_of(problem.status);
    problem.detail = detail::advice_about(failure);
    problem.code = effect_of(failure.errc()) == Effect::unknown ? name_of(Errc::outcome_unknown)
                                                                : name_of(failure.errc());
    problem.retry_after = retry_after(failure);
    if (!types.empty())
        problem.type = std::string(types) + problem.code;
    return problem;
}

INTERLOCK_DECL Problem problem_of(Error const& error, StatusCodes const& codes, std::string_view types)
{
    auto failure = Failure::because(error.errc(), Failure::busy(error.cause(), error.retry_after()))
                       .with_detail(error.detail());
    return problem_of(failure, codes, types);
}

}  // namespace http
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_HTTP_IMPL_IDEMPOTENCY_IPP
