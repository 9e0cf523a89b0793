// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_IMPL_ERRC_IPP
#define INTERLOCK_CORE_DETAIL_IMPL_ERRC_IPP

#include <interlock/core/errc.hpp>

namespace interlock {
inline namespace v0 {

namespace detail {

INTERLOCK_DECL std::string message_of(Errc code, Errc cause, std::string const& detail)
{
    std::string text = name_of(code);
    if (cause != Errc::ok)
        (text += " because of ") += name_of(cause);
    if (!detail.empty())
        (text += ": ") += detail;
    return text;
}

}  // namespace detail

INTERLOCK_DECL Error::Error(Errc code, std::string detail, Errc cause, std::chrono::nanoseconds retry_after)
    : boost::system::system_error(make_error_code(code)), cause_(cause), retry_after_(retry_after),
      text_(std::make_shared<Text const>(detail::message_of(code, cause, detail), std::move(detail)))
{}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_IMPL_ERRC_IPP
