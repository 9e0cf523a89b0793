// SPDX-License-Identifier: BSL-1.0

// A component that needs no library.
//
// Is not linked with libhiredis libssl libpqxx.

#include <interlock/http/idempotency.hpp>
#include <interlock/version.hpp>

#include <cstdio>

int main()
{
    auto const missing = interlock::http::request_of("", interlock::Scope{"POST /payments"}, "{}");
    if (missing || interlock::http::status_of(missing.failure()) != 400)
        return 1;
    std::printf(
        "interlock %d.%d.%d\n", INTERLOCK_VERSION_MAJOR, INTERLOCK_VERSION_MINOR, INTERLOCK_VERSION_PATCH);
    return 0;
}
