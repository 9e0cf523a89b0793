// SPDX-License-Identifier: BSL-1.0

// A component that needs no library.
//
// Is not linked with libhiredis libssl libpqxx.

#include <interlock/observability/log.hpp>
#include <interlock/version.hpp>

#include <cstdio>

int main()
{
    interlock::LogObserver log{[](interlock::LogLevel, std::string_view) {}};
    log.on_idempotency(interlock::IdempotencyEvent::replayed);
    std::printf(
        "interlock %d.%d.%d\n", INTERLOCK_VERSION_MAJOR, INTERLOCK_VERSION_MINOR, INTERLOCK_VERSION_PATCH);
    return 0;
}
