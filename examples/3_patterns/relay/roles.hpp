// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_RELAY_ROLES_HPP
#define INTERLOCK_EXAMPLES_RELAY_ROLES_HPP

#include "options.hpp"

namespace relay {

/// Sells, and hands each sale on to the broker, until all that is recorded is sent. Whether nothing is
/// parked.
bool send(Options const& options);

/// Hears of sales from the broker, and counts each once. Whether all came that were expected, none was
/// missing and none was out of the order of its stream.
bool receive(Options const& options);

}  // namespace relay

#endif  // INTERLOCK_EXAMPLES_RELAY_ROLES_HPP
