// SPDX-License-Identifier: BSL-1.0

// Two threads write one variable. Shows that ThreadSanitizer watches what our tests are built with.

#include <thread>

int main()
{
    int shared = 0;
    std::thread other([&] { shared = 1; });
    shared = 2;
    other.join();
    return shared == 0;
}
