// SPDX-License-Identifier: BSL-1.0

// A component that needs no library.
//
// Is not linked with libhiredis libssl libpqxx.

#include <interlock/observability/timeline.hpp>
#include <interlock/version.hpp>

#include <cstdio>

int main()
{
    interlock::TimelineObserver const timeline;
    if (timeline.json().empty())
        return 1;
    std::printf(
        "interlock %d.%d.%d\n", INTERLOCK_VERSION_MAJOR, INTERLOCK_VERSION_MINOR, INTERLOCK_VERSION_PATCH);
    return 0;
}
