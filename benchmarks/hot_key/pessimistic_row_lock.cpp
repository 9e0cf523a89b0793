// SPDX-License-Identifier: BSL-1.0

#include <interlock/interlock.hpp>

#include "contestants.hpp"

Result pessimistic_row_lock(Plan const& plan)
{
    interlock::TransactionService service{
        interlock::PessimisticRowLock{}, interlock::memory::StateRepository<Counter>{}};
    return measure_service(plan, service);
}
