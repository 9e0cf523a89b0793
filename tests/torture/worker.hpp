// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_TORTURE_WORKER_HPP
#define INTERLOCK_TESTS_TORTURE_WORKER_HPP

/// @file
/// A client process: it works until it is told to stop, or settles and reads out what others have left.

#include "torture/faults.hpp"
#include "torture/history.hpp"
#include "torture/journal.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
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
    /// Where its part of the timeline goes; empty: nobody wants one. `number`: its row in it.
    std::string timeline;
    int number{0};
    /// Journals of the clients that are to be settled; empty: this one works.
    std::vector<std::string> settle;
};

/// A store that can be tortured. Each stands in files of its own, <store>_worker.cpp and, if its server is
/// hurt, <store>_server.cpp, which enter it here before `main` begins.
struct TorturedStore {
    /// Makes a client of the store work; returns what the program exits with.
    std::function<int(WorkerOptions const&)> work;
    /// None: the store lives in the one process that uses it.
    std::function<std::unique_ptr<TorturedServer>(std::string const& variant)> make_server{};
    /// What is used without --variant, and what --help says of all variants.
    std::string default_variant{"single"};
    std::string variants{};
};

/// By name.
inline std::map<std::string, TorturedStore>& stores()
{
    static std::map<std::string, TorturedStore> all;
    return all;
}

/// A namespace-scope variable of this type enters what a store can do.
struct JoiningStore {
    template <class Enter>
    JoiningStore(std::string const& store, Enter enter)
    {
        enter(stores()[store]);
    }
};

}  // namespace torture

#endif  // INTERLOCK_TESTS_TORTURE_WORKER_HPP
