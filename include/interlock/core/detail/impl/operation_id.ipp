// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_IMPL_OPERATION_ID_IPP
#define INTERLOCK_CORE_DETAIL_IMPL_OPERATION_ID_IPP

#include <interlock/core/operation_id.hpp>

namespace interlock {
inline namespace v0 {

INTERLOCK_DECL Outcome<void> OperationId::validate() const
{
    if (value_.empty())
        return Failure{Errc::invalid_argument, "operation id is empty"};
    if (value_.size() > max_size)
        return Failure{
            Errc::invalid_argument, "operation id has " + std::to_string(value_.size()) +
                                        " bytes, the limit is " + std::to_string(max_size)};
    return success();
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_IMPL_OPERATION_ID_IPP
