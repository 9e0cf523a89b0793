// SPDX-License-Identifier: BSL-1.0

// Overflows an int. Shows that UndefinedBehaviorSanitizer watches what our tests are built with.

#include <limits>

int main(int argc, char**)
{
    int volatile value = std::numeric_limits<int>::max();
    value = value + argc;
    return value == 0;
}
