// expect: interlock needs C[+][+]20: write -std=c[+][+]20
// error-elsewhere
// options: -std=c++17
// SPDX-License-Identifier: BSL-1.0

// A program that is compiled as C++17 is told what to write, not that concepts are unknown.

#include <interlock/interlock.hpp>
