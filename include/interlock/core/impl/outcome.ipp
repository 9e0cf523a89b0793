// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_IMPL_OUTCOME_IPP
#define INTERLOCK_CORE_IMPL_OUTCOME_IPP

#include <interlock/core/outcome.hpp>

namespace interlock {
inline namespace v0 {

INTERLOCK_DECL Failure Failure::explained(std::string place) &&
{
    std::string const meaning = explanation_of(code_);
    if (!place.empty() && !meaning.empty())
        place += ": ";
    detail_ = std::make_unique<std::string>(std::move(place) + meaning);
    return std::move(*this);
}

INTERLOCK_DECL std::string Failure::message() const
{
    return detail::message_of(code_, cause_, detail());
}

INTERLOCK_DECL Error Failure::exception() const
{
    return Error(code_, detail(), cause_, retry_after_);
}

INTERLOCK_DECL void Failure::raise() const
{
    throw exception();
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_IMPL_OUTCOME_IPP
