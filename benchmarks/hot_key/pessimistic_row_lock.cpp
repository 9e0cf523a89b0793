// SPDX-License-Identifier: BSL-1.0

#include "contestants.hpp"

#include <interlock/interlock.hpp>

Result pessimistic_row_lock(Plan const& plan)
{
    interlock::TransactionService service{interlock::PessimisticRowLock{}, interlock::memory::StateRepository<Counter>{}};
    return measure_service(plan, service);
}
