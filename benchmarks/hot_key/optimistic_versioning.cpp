// SPDX-License-Identifier: BSL-1.0

#include <interlock/interlock.hpp>

#include "contestants.hpp"

Result optimistic_versioning(Plan const& plan)
{
    interlock::TransactionService service{
        interlock::OptimisticVersioning{}, interlock::memory::StateRepository<Counter>{}};
    return measure_service(plan, service);
}
