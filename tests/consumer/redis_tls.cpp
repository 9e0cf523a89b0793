// SPDX-License-Identifier: BSL-1.0

// The same over TLS: one component more, and the TLS library with it.
//
// Is linked with libhiredis libssl.

#include <interlock/backends/redis/backend.hpp>
#include <interlock/backends/redis/tls.hpp>
#include <interlock/interlock.hpp>
#include <interlock/version.hpp>

#include <cstdio>
#include <string>

int main()
{
    auto const repository =
        interlock::open<std::string>("rediss://127.0.0.1:1", interlock::redis::TlsBackend{});
    if (repository.load("x").errc() != interlock::Errc::unavailable)
        return 1;
    std::printf(
        "interlock %d.%d.%d\n", INTERLOCK_VERSION_MAJOR, INTERLOCK_VERSION_MINOR, INTERLOCK_VERSION_PATCH);
    return 0;
}
