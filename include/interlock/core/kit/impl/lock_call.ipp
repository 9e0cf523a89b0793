// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_IMPL_LOCK_CALL_IPP
#define INTERLOCK_CORE_KIT_IMPL_LOCK_CALL_IPP

#include <interlock/core/kit/lock_call.hpp>

namespace interlock {
inline namespace v0 {

INTERLOCK_DECL Outcome<void> validate_lock_call(Key const& key, Ttl ttl, std::string_view holder)
{
    if (holder.size() > HolderName::max_size)
        return Failure{Errc::invalid_argument, "a holder calls itself by at most 112 bytes"};
    if (!ttl.valid())
        return Failure{Errc::invalid_argument, "ttl must be from 50 ms to 24 h"};
    return key.validate();
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_IMPL_LOCK_CALL_IPP
