// SPDX-License-Identifier: BSL-1.0

#include <interlock/interlock.hpp>

#include "contestants.hpp"

double pessimistic_row_lock(Plan const& plan)
{
    interlock::TransactionService service{
        interlock::PessimisticRowLock{}, interlock::memory::StateRepository<Stock>{}};
    return measure_service(plan, service);
}
