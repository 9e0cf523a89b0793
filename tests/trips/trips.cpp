// SPDX-License-Identifier: BSL-1.0

// What one uncontended call costs and how far it goes: its round trips, and the frames and files of this
// library between the front door and the store. The table is printed; the trips are exact, the way has a
// bound that may only shrink.
//
// How it works: a store that blocks calls a hook with the name of each verb before it carries the verb out.
// The hook notes the name, and the addresses of the call stack, which `addr2line` turns into functions and
// files by the debug information of this program. Frames are those of the source, inlined or not; frames of
// the standard library do not count.

#include <interlock/interlock.hpp>

#include "support/blocking_repository.hpp"
#include "support/catch.hpp"
#include "support/states.hpp"

#include <dlfcn.h>
#include <execinfo.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace trips_test {

using namespace interlock;
using interlock_test::BlockingRepository;
using interlock_test::Stock;

/// The stack of the calling thread, as offsets into this program. Frames of shared libraries are left out:
/// their offsets, looked up in this program, would name lines that never ran.
[[gnu::noinline]] std::vector<std::uintptr_t> stack()
{
    Dl_info self{};
    ::dladdr(reinterpret_cast<void*>(&stack), &self);
    std::array<void*, 200> addresses{};
    auto const count = ::backtrace(addresses.data(), static_cast<int>(addresses.size()));
    std::vector<std::uintptr_t> offsets;
    for (int i = 0; i < count; ++i) {
        Dl_info info{};
        auto const address = reinterpret_cast<std::uintptr_t>(addresses[static_cast<std::size_t>(i)]) - 1;
        if (::dladdr(addresses[static_cast<std::size_t>(i)], &info) != 0 && info.dli_fbase == self.dli_fbase)
            offsets.push_back(address - reinterpret_cast<std::uintptr_t>(info.dli_fbase));
    }
    return offsets;
}

struct Trip {
    std::string call;
    std::string verb;
    std::vector<std::uintptr_t> stack;
    int frames{0};  // of this library's headers
    std::set<std::string> files;
};

/// Finds the frames of all `trips` that stand in headers of this library: by one run of addr2line, which
/// reads the debug information of the whole program first.
void look_up(std::vector<Trip>& trips)
{
    std::string command = "addr2line -i -a -e /proc/" + std::to_string(::getpid()) + "/exe";
    std::vector<Trip*> trip_of;  // of each address
    for (auto& trip : trips)
        for (auto const offset : trip.stack) {
            std::array<char, 24> text{};
            std::snprintf(text.data(), text.size(), " 0x%llx", static_cast<unsigned long long>(offset));
            command += text.data();
            trip_of.push_back(&trip);
        }
    std::unique_ptr<FILE, int (*)(FILE*)> const lines{::popen(command.c_str(), "r"), ::pclose};
    std::array<char, 4096> buffer{};
    std::size_t seen = 0;  // addresses
    while (lines && std::fgets(buffer.data(), static_cast<int>(buffer.size()), lines.get()) != nullptr) {
        std::string_view const line{buffer.data()};
        seen += line.starts_with("0x") ? 1U : 0U;
        auto const at = line.find("/include/interlock/");
        if (at == std::string_view::npos || seen == 0 || seen > trip_of.size())
            continue;
        ++trip_of[seen - 1]->frames;
        trip_of[seen - 1]->files.emplace(line.substr(at, line.find(':', at) - at));
    }
}

/// Adds the trips of one `call` of a service under `policy`.
template <class Policy, class Call>
void make(std::vector<Trip>& trips, char const* what, Policy const& policy, Call call)
{
    memory::StateRepository<Stock> const memory;
    memory.insert(Stock{"x", 10}).value();
    memory.insert(Stock{"y", 10}).value();
    BlockingRepository const store{memory};
    TransactionService const service{policy, store};
    call(service);  // what is asked once per service
    store.before_calls(
        [&](std::string_view verb) { trips.push_back({what, std::string(verb), stack(), 0, {}}); });
    call(service);
    store.before_calls({});
}

TEST_CASE("an uncontended call makes the trips that its policy promises, by a short way", "[core][trips]")
{
    auto const change = [](Stock& stock) { ++stock.quantity; };
    auto const one = [&](auto const& service) { service.do_in_transaction("x", change); };
    auto const under_lock = [&](auto const& service) {
        service.do_in_transaction("x", [](Stock& stock, Lock<Stock>&) { ++stock.quantity; });
    };
    auto const two = [&](auto const& service) {
        service.do_in_transaction(keys("x", "y"), [](Stock& a, Stock& b) { --a.quantity, ++b.quantity; });
    };
    std::vector<Trip> trips;
    make(trips, "optimistic", OptimisticVersioning{}, one);
    make(trips, "optimistic, remembering", OptimisticVersioning{.remember = 16}, one);
    make(trips, "optimistic, two keys", OptimisticVersioning{}, two);
    make(trips, "row lock", PessimisticRowLock{}, one);
    make(trips, "lease", SetNxLock{}, one);
    make(trips, "lease, lock seen", SetNxLock{}, under_lock);
    std::string made;
    for (auto const& trip : trips)
        made += trip.call + ": " + trip.verb + "\n";
    CHECK(
        made ==
        "optimistic: load\noptimistic: compare_and_set\n"
        "optimistic, remembering: compare_and_set\n"
        "optimistic, two keys: load\noptimistic, two keys: load\noptimistic, two keys: commit\n"
        "row lock: load_for_update\n"
        "lease: create_and_load\nlease: commit\n"
        "lease, lock seen: create_and_load\nlease, lock seen: commit\n");
    look_up(trips);
    for (auto const& trip : trips) {
        std::printf(
            "%-28s %-16s %3d frames %3zu files\n", trip.call.c_str(), trip.verb.c_str(), trip.frames,
            trip.files.size());
        CHECK(trip.frames > 0);
        CHECK(trip.frames <= 7);
        CHECK(trip.files.size() <= 7);
    }
}

}  // namespace trips_test
