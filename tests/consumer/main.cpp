// SPDX-License-Identifier: BSL-1.0

// What a user's first program needs from the package: the headers, their dependencies, C++20.

#include <interlock/interlock.hpp>
#include <interlock/version.hpp>

#include <cstdio>

int main()
{
    std::printf(
        "interlock %d.%d.%d\n", INTERLOCK_VERSION_MAJOR, INTERLOCK_VERSION_MINOR, INTERLOCK_VERSION_PATCH);
    return 0;
}
