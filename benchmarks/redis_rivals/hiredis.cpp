// SPDX-License-Identifier: BSL-1.0

// The two commands of a lock and nothing else: the contestant of redis_pipeline, here in a process of its
// own.

#include "../redis_pipeline/contestants.hpp"
#include "contestants.hpp"

#include <cstdio>

void distinct_bare(Plan const& plan, Arguments const&)
{
    Meter meter{1, plan.seconds};
    meter.start_when_told();
    std::printf("sections %.6g\n", bare_batches(plan));
    std::printf("cpu %.6g\n", Meter::cpu_seconds());
}
