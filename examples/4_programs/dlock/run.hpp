// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_DLOCK_RUN_HPP
#define INTERLOCK_EXAMPLES_DLOCK_RUN_HPP

/// @file
/// Takes the locks, runs the command, and gives the locks back.

#include "options.hpp"

namespace dlock {

/// Returns the code that the program ends with. Throws `Fault` and `std::system_error` for what is dlock's
/// own fault.
int run(Options const& options);

}  // namespace dlock

#endif  // INTERLOCK_EXAMPLES_DLOCK_RUN_HPP
