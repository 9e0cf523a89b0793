// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_IMPL_OUTCOME_IPP
#define INTERLOCK_CORE_DETAIL_IMPL_OUTCOME_IPP

#include <interlock/core/outcome.hpp>

namespace interlock {
inline namespace v0 {

INTERLOCK_DECL Failure Failure::unknown(Errc cause, std::string detail)
{
    Failure f{Errc::outcome_unknown};
    f.cause_ = cause;
    if (!detail.empty())
        f.words().detail = std::move(detail);
    return f;
}

INTERLOCK_DECL Failure::Failure(Failure const& other)
    : code_(other.code_), cause_(other.cause_), retry_after_(other.retry_after_),
      words_(other.words_ ? std::make_unique<Words>(*other.words_) : nullptr)
{}

INTERLOCK_DECL Failure& Failure::operator=(Failure const& other)
{
    if (this != &other)
        *this = Failure(other);
    return *this;
}

INTERLOCK_DECL Failure Failure::explained(std::string place) &&
{
    bool const waited = code_ == Errc::deadline_exceeded && cause_ != Errc::ok;
    std::string const meaning = explanation_of(waited ? cause_ : code_);
    if (!place.empty() && !meaning.empty())
        place += ": ";
    words().detail = std::move(place) + meaning;
    return std::move(*this);
}

INTERLOCK_DECL Failure Failure::placed(std::string const& place) &&
{
    bool const of_store = code_ == Errc::deadline_exceeded || code_ == Errc::unavailable ||
                          code_ == Errc::overloaded || code_ == Errc::misconfigured ||
                          code_ == Errc::outcome_unknown || code_ == Errc::idempotency_mismatch;
    bool const of_keys = code_ == Errc::not_found || code_ == Errc::already_exists ||
                         code_ == Errc::version_conflict || code_ == Errc::fenced_out;
    auto const kind = place.substr(0, place.find(' '));
    if (!has_detail() || kind.empty())
        return std::move(*this);
    auto& detail = words_->detail;
    if (of_store && detail.find(kind) == std::string::npos)
        detail = place + ": " + detail;
    if (of_keys && !detail.starts_with(kind + ": ") && !detail.starts_with(kind + ' '))
        detail = place + ": " + detail;
    // Who mends what is stored must know in which of the store's places it is.
    if (code_ == Errc::corrupt_state && detail.starts_with(kind + ": "))
        detail.replace(0, kind.size(), place);
    return std::move(*this);
}

INTERLOCK_DECL Failure Failure::with_detail(std::string detail) &&
{
    words().detail = std::move(detail);
    return std::move(*this);
}

INTERLOCK_DECL Failure Failure::with_store_code(std::string_view code) &&
{
    if (!code.empty())
        words().store_code = code;
    return std::move(*this);
}

INTERLOCK_DECL Failure::Words& Failure::words()
{
    if (!words_)
        words_ = std::make_unique<Words>();
    return *words_;
}

INTERLOCK_DECL std::string Failure::message() const
{
    return detail::message_of(code_, cause_, detail());
}

INTERLOCK_DECL Error Failure::exception() const
{
    return Error(code_, detail(), cause_, retry_after_);
}

INTERLOCK_DECL Error::Error(Failure const& failure) : Error(failure.exception()) {}

INTERLOCK_DECL void Failure::raise() const
{
    throw exception();
}

namespace detail {

INTERLOCK_DECL void throw_no_failure()
{
    throw std::bad_variant_access();
}

}  // namespace detail

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_IMPL_OUTCOME_IPP
