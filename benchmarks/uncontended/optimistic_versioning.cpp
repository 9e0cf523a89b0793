// SPDX-License-Identifier: BSL-1.0

#include <interlock/interlock.hpp>

#include "contestants.hpp"

double optimistic_versioning(Plan const& plan)
{
    interlock::TransactionService service{
        interlock::OptimisticVersioning{}, interlock::memory::StateRepository<Stock>{}};
    return measure_service(plan, service);
}
