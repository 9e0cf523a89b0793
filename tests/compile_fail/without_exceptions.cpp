// expect: compile without -fno-exceptions
// error-elsewhere
// options: -fno-exceptions
// SPDX-License-Identifier: BSL-1.0

// The library reports by exceptions and lets those of an operation through.

#include <interlock/interlock.hpp>
