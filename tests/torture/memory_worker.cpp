// SPDX-License-Identifier: BSL-1.0

// The store in this process's memory: many threads, and nobody else who could look into it.

#include <interlock/backends/memory/idempotency_store.hpp>
#include <interlock/backends/memory/state_repository.hpp>

#include "torture/run_worker.hpp"
#include "torture/worker.hpp"

namespace torture {

namespace {

struct MemoryStore {
    il::memory::StateRepository<Account> repository{};
    il::memory::IdempotencyStore keys{};
};

JoiningStore const joining{"memory", [](TorturedStore& store) {
                               store.work = [](WorkerOptions const& options) {
                                   return run_worker(MemoryStore{}, options, true);
                               };
                           }};

}  // namespace

}  // namespace torture
