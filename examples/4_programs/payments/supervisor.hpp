// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_PAYMENTS_SUPERVISOR_HPP
#define INTERLOCK_EXAMPLES_PAYMENTS_SUPERVISOR_HPP

// A process that starts the server as another one, and starts it again when it dies.

#include "options.hpp"

#include <string_view>
#include <vector>

namespace payments {

/// Listens, says where on stdout, and runs this program again as a worker with `arguments` and the listening
/// socket. While a worker is dead, connections wait in that socket. Returns when a signal ends it: with the
/// worker's exit code.
int supervise(Options const& options, std::vector<std::string_view> const& arguments);

}  // namespace payments

#endif  // INTERLOCK_EXAMPLES_PAYMENTS_SUPERVISOR_HPP
