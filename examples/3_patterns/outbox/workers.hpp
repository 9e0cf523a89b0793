// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_OUTBOX_WORKERS_HPP
#define INTERLOCK_EXAMPLES_OUTBOX_WORKERS_HPP

// Who sells and ships: threads of this process, or processes that share nothing but the store, and are killed
// if that is asked for.

#include "options.hpp"
#include "shop.hpp"

#include <cstddef>
#include <functional>
#include <stop_token>
#include <string>

namespace outbox {

/// What a worker says.
enum class Said : char { sold = 's', shipped = 'p', sold_all = 'a' };

/// One worker: sells every `options.processes`-th sale from `worker` on, and ships what anybody has sold,
/// until a stop is requested. Throws what one of its threads has thrown. Several threads call `say`.
void work(
    Shop const& shop, Options const& options, std::size_t worker, std::stop_token stop,
    std::function<void(Said)> const& say);

/// Until all is sold and shipped.
void work_in_threads(Shop const& shop, Options const& options);
void work_in_processes(Shop const& shop, Options const& options, std::string const& place);

/// In a process that `work_in_processes` has started: works until that one is content, or gone.
void work_for_parent(Shop const& shop, Options const& options);

}  // namespace outbox

#endif  // INTERLOCK_EXAMPLES_OUTBOX_WORKERS_HPP
