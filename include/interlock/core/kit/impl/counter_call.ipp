// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_IMPL_COUNTER_CALL_IPP
#define INTERLOCK_CORE_KIT_IMPL_COUNTER_CALL_IPP

#include <interlock/core/kit/counter_call.hpp>

namespace interlock {
inline namespace v0 {

INTERLOCK_DECL Outcome<void> validate_counter_call(
    OperationId const& id, Key const& key, CounterChange const& change, Deadline deadline)
{
    if (auto valid = id.validate(); !valid)
        return valid;
    if (auto valid = key.validate(); !valid)
        return valid;
    if (auto valid = change.validate(); !valid)
        return valid;
    if (!deadline.valid())
        return Failure{Errc::invalid_argument, "the deadline is not a number"};
    return success();
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_IMPL_COUNTER_CALL_IPP
