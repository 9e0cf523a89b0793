// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_VANISHING_CONTEXT_HPP
#define INTERLOCK_TESTS_SUPPORT_VANISHING_CONTEXT_HPP

/// @file
/// An execution context that is destroyed while a store that blocks is being asked on its behalf.

#include <boost/asio/io_context.hpp>

#include "support/catch.hpp"
#include "support/threads.hpp"

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

namespace interlock_test {

/// `start(io, alive)` starts an asynchronous call whose handler keeps `alive`. The context is destroyed
/// while the call is in the store's `member`; soon afterwards nothing of the handler is left.
template <class BlockingStore, class Start>
void vanish_during(BlockingStore const& store, std::string_view member, Start start)
{
    // A late call, such as the one that gives a grant back, may still look at these when this has returned.
    auto const gate = std::make_shared<Gate>();
    std::thread opener;
    store.before_calls([gate, name = std::string(member)](std::string_view called) {
        if (called == name)
            gate->pass();
    });
    auto const alive = std::make_shared<int>(0);
    {
        boost::asio::io_context io;
        start(io, alive);
        io.poll();
        REQUIRE(gate->wait_for(1));
        // The context may wait for the call, or leave it behind.
        opener = std::thread([&] {
            std::this_thread::sleep_for(std::chrono::milliseconds{50});
            gate->open();
        });
    }
    opener.join();
    CHECK(eventually([&] { return alive.use_count() == 1; }));
    store.before_calls({});
}

}  // namespace interlock_test

#endif  // INTERLOCK_TESTS_SUPPORT_VANISHING_CONTEXT_HPP
