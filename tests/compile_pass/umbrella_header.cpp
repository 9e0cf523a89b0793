// SPDX-License-Identifier: BSL-1.0

// The positive control of compile_fail/: with the same command the whole library is accepted.

#include <interlock/interlock.hpp>
