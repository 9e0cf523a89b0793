// SPDX-License-Identifier: BSL-1.0

// What one uncontended call costs and how far it goes: its round trips, and the frames and files of this library between the
// front door and the store. The table is printed; the trips are exact, the way has a bound that may only shrink.
//
// How it works: a store that blocks calls a hook with the name of each verb before it carries the verb out. The hook notes
// the name, and the addresses of the call stack, which `addr2line` turns into functions and files by the debug information
// of this program. Frames are those of the source, inlined or not; frames of the standard library do not count.

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

/// The stack of the calling thread, as offsets into this program.
std::vector<std::uintptr_t> stack()
{
    std::array<void*, 200> addresses{};
    auto const count = ::backtrace(addresses.data(), static_cast<int>(addresses.size()));
    std::vector<std::uintptr_t> offsets;
    for (int i = 0; i < count; ++i) {
        Dl_info info{};
        auto const address = reinterpret_cast<std::uintptr_t>(addresses[static_cast<std::size_t>(i)]) - 1;
        if (::dladdr(addresses[static_cast<std::size_t>(i)], &info) != 0)
            offsets.push_back(address - reinterpret_cast<std::uintptr_t>(info.dli_fbase));
    }
    return offsets;
}

struct Way {
    int frames{0};
    std::set<std::string> files;
};

/// The frames of `offsets` that stand in headers of this library.
Way way_of(std::vector<std::uintptr_t> const& offsets)
{
    std::string command = "addr2line -i -e /proc/" + std::to_string(::getpid()) + "/exe";
    for (auto const offset : offsets) {
        std::array<char, 24> text{};
        std::snprintf(text.data(), text.size(), " 0x%llx", static_cast<unsigned long long>(offset));
        command += text.data();
    }
    Way way;
    std::unique_ptr<FILE, int (*)(FILE*)> const lines{::popen(command.c_str(), "r"), ::pclose};
    std::array<char, 4096> buffer{};
    while (lines && std::fgets(buffer.data(), static_cast<int>(buffer.size()), lines.get()) != nullptr) {
        std::string_view const line{buffer.data()};
        auto const at = line.find("/include/interlock/");
        if (at == std::string_view::npos)
            continue;
        ++way.frames;
        way.files.emplace(line.substr(at, line.find(':', at) - at));
    }
    return way;
}

struct Trip {
    std::string verb;
    std::vector<std::uintptr_t> stack;
};

template <class Policy, class Call>
std::vector<Trip> trips_of(Policy const& policy, Call call)
{
    memory::StateRepository<Stock> const memory;
    memory.insert(Stock{"x", 10}).value();
    memory.insert(Stock{"y", 10}).value();
    BlockingRepository const store{memory};
    TransactionService const service{policy, store};
    call(service);  // what is asked once per service
    std::vector<Trip> trips;
    store.before_calls([&](std::string_view verb) { trips.push_back({std::string(verb), stack()}); });
    call(service);
    store.before_calls({});
    return trips;
}

void show(char const* what, std::vector<Trip> const& trips, std::vector<std::string> const& expected, int most_frames)
{
    std::vector<std::string> verbs;
    for (auto const& trip : trips) {
        verbs.push_back(trip.verb);
        auto const way = way_of(trip.stack);
        std::printf(
            "%-28s %-16s %3d frames %3zu files\n", what, trip.verb.c_str(), way.frames, way.files.size());
        CHECK(way.frames > 0);
        CHECK(way.frames <= most_frames);
    }
    CAPTURE(what);
    CHECK(verbs == expected);
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
    using Verbs = std::vector<std::string>;
    show("optimistic", trips_of(OptimisticVersioning{}, one), Verbs{"load", "compare_and_set"}, 24);
    show("optimistic, remembering", trips_of(OptimisticVersioning{.remember = 16}, one), Verbs{"compare_and_set"}, 24);
    show("optimistic, two keys", trips_of(OptimisticVersioning{}, two), Verbs{"load", "load", "commit"}, 24);
    show("row lock", trips_of(PessimisticRowLock{}, one), Verbs{"load_for_update"}, 24);
    show("lease", trips_of(SetNxLock{}, one), Verbs{"create_and_load", "commit"}, 24);
    show("lease, lock seen", trips_of(SetNxLock{}, under_lock), Verbs{"create_and_load", "commit"}, 24);
}

}  // namespace trips_test
