// SPDX-License-Identifier: BSL-1.0

#include "contestants.hpp"

#include <interlock/interlock.hpp>

double set_nx_lock(Plan const& plan)
{
    interlock::TransactionService service{interlock::SetNxLock{}, interlock::memory::StateRepository<Stock>{}};
    return measure_service(plan, service);
}
