// SPDX-License-Identifier: BSL-1.0

// Reads freed memory. Shows that AddressSanitizer watches what our tests are built with.

#include <cstdlib>

int main(int argc, char**)
{
    auto* const freed = static_cast<volatile int*>(std::malloc(sizeof(int)));
    *freed = argc;
    std::free(const_cast<int*>(freed));
    return *freed;
}
