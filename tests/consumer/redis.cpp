// SPDX-License-Identifier: BSL-1.0

// What a user's first program with Redis needs from the package: the headers, the codec, and to be linked
// with it. There is no server here, and that is what the library says.
//
// Is linked with libhiredis.
// Is not linked with libssl libcrypto.

#include <interlock/backends/redis/backend.hpp>
#include <interlock/interlock.hpp>
#include <interlock/version.hpp>

#include <cstdio>
#include <string>

int main()
{
    interlock::redis::Client const client{"unix:///nowhere/redis.sock"};
    interlock::redis::StateRepository<std::string> const names{client};
    if (names.load("x").errc() != interlock::Errc::unavailable)
        return 1;
    std::printf(
        "interlock %d.%d.%d\n", INTERLOCK_VERSION_MAJOR, INTERLOCK_VERSION_MINOR, INTERLOCK_VERSION_PATCH);
    return 0;
}
