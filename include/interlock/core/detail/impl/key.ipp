// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_IMPL_KEY_IPP
#define INTERLOCK_CORE_DETAIL_IMPL_KEY_IPP

#include <interlock/core/key.hpp>

namespace interlock {
inline namespace v0 {

INTERLOCK_DECL Outcome<void> Key::validate() const
{
    if (valid())
        return success();
    if (bytes_.empty())
        return Failure{Errc::invalid_argument, "key is empty"};
    return Failure{
        Errc::invalid_argument,
        "key has " + std::to_string(bytes_.size()) + " bytes, the limit is " + std::to_string(max_size)};
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_IMPL_KEY_IPP
