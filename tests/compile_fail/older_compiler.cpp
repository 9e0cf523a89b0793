// expect: interlock needs g[+][+] 12 or clang 14
// error-elsewhere
// options-gcc: -U__GNUC__ -D__GNUC__=11
// options-clang: -U__clang_major__ -D__clang_major__=13
// SPDX-License-Identifier: BSL-1.0

// A compiler that is too old for the library.

#include <interlock/interlock.hpp>
