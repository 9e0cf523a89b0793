// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_TORTURE_WORKER_HPP
#define INTERLOCK_TESTS_TORTURE_WORKER_HPP

/// @file
/// A client process: it works until it is told to stop, or settles and reads out what others have left.

#include "torture/history.hpp"
#include "torture/journal.hpp"
#include <cstdint>
#include <string>
#include <vector>

namespace torture {

struct WorkerOptions {
    /// How the store is reached, and how a store is used that can be used in several ways.
    std::string url;
    std::string variant;
    /// Of this client, and what it is called.
    std::string journal;
    std::string name;
    std::uint64_t seed{1};
    int threads{4};
    /// Journals of the clients that are to be settled; empty: this one works.
    std::vector<std::string> settle;
};

/// What the program exits with. Each store has one; not all may be built.
int work_on_memory(WorkerOptions const& options);
int work_on_redis(WorkerOptions const& options);
int work_on_postgres(WorkerOptions const& options);

}  // namespace torture

#endif  // INTERLOCK_TESTS_TORTURE_WORKER_HPP
