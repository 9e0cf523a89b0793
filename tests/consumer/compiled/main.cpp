// SPDX-License-Identifier: BSL-1.0

// A program of two units in each of which another state is used, both compiled against what is compiled once.

#include <interlock/version.hpp>

#include "compiled/units.hpp"

#include <cstdio>

int main()
{
    if (!sell() || !pay())
        return 1;
    std::printf(
        "interlock %d.%d.%d\n", INTERLOCK_VERSION_MAJOR, INTERLOCK_VERSION_MINOR, INTERLOCK_VERSION_PATCH);
    return 0;
}
