// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_FLASH_SALE_PROCESSES_HPP
#define INTERLOCK_EXAMPLES_FLASH_SALE_PROCESSES_HPP

// Several processes of this program at one stock. They share nothing but the store; only their replies go to
// the process that started them.

#include <boost/describe.hpp>

#include "counter.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace flash_sale {

/// What a process says after each of its orders.
struct Message {
    std::uint64_t row{0};
    Reply reply;
    std::uint64_t conflicts{0};  // of this process so far
    std::uint64_t retries{0};
};
BOOST_DESCRIBE_STRUCT(Message, (), (row, reply, conflicts, retries))

struct ProcessesEnd {
    std::size_t lost{0};
    std::uint64_t conflicts{0};
    std::uint64_t retries{0};
};

/// Starts the processes, prints their pids, and waits until every order is served. The share of a process
/// that ended early is given to another one, except under `unguarded`. `heard` is called by several threads,
/// each with rows of its own, and with a row once more after its process was lost.
ProcessesEnd let_processes_sell(
    Policy policy, std::string const& url, Options const& options, std::function<void(Message)> const& heard);

// In a process that was started so:
void wait_for_start();
void tell_parent(Message const& message);

}  // namespace flash_sale

#endif  // INTERLOCK_EXAMPLES_FLASH_SALE_PROCESSES_HPP
