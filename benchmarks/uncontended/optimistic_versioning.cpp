// SPDX-License-Identifier: BSL-1.0

#include "contestants.hpp"

#include <interlock/interlock.hpp>

double optimistic_versioning(Plan const& plan)
{
    interlock::TransactionService service{interlock::OptimisticVersioning{}, interlock::memory::StateRepository<Stock>{}};
    return measure_service(plan, service);
}
