// SPDX-License-Identifier: BSL-1.0

#include <interlock/interlock.hpp>

#include "contestants.hpp"

Result set_nx_lock(Plan const& plan)
{
    interlock::TransactionService service{
        interlock::SetNxLock{}, interlock::memory::StateRepository<Counter>{}};
    return measure_service(plan, service);
}
