// SPDX-License-Identifier: BSL-1.0

// The API of OpenTelemetry is headers alone, and without an SDK it records nothing.
//
// Is not linked with libhiredis libssl libpqxx.

#include <interlock/observability/opentelemetry.hpp>
#include <interlock/version.hpp>

#include <cstdio>

int main()
{
    interlock::OpenTelemetryObserver telemetry;
    telemetry.on_idempotency(interlock::IdempotencyEvent::replayed);
    std::printf(
        "interlock %d.%d.%d\n", INTERLOCK_VERSION_MAJOR, INTERLOCK_VERSION_MINOR, INTERLOCK_VERSION_PATCH);
    return 0;
}
