// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_TORTURE_FAULTS_HPP
#define INTERLOCK_TESTS_TORTURE_FAULTS_HPP

/// @file
/// What is done to clients, to the network and to the server.

#include "torture/lossy_proxy.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace torture {

/// **Thread safety.** One thread at a time.
class Dice {
public:
    explicit Dice(std::uint64_t seed) : random_(seed) {}
    std::uint64_t below(std::uint64_t n) { return random_() % n; }
    /// Sleeps for up to so long.
    void pause(std::uint64_t most_ms)
    {
        std::this_thread::sleep_for(std::chrono::milliseconds{below(most_ms + 1)});
    }

private:
    std::mt19937_64 random_;
};

/// A kind of fault. `strike` makes it happen, returns when it is over, and says how many it hit: connections,
/// requests that had to wait, statements. A kind that never hit anybody fails the run.
struct Fault {
    std::string name;
    std::function<long()> strike;
};

/// A server of our own, and what can be done to it.
///
/// **Thread safety.** One thread at a time. The system ends the server with the thread that made this.
class TorturedServer {
public:
    TorturedServer() = default;
    TorturedServer(TorturedServer const&) = delete;
    TorturedServer& operator=(TorturedServer const&) = delete;
    virtual ~TorturedServer() = default;

    /// The unix socket that a proxy leads to.
    virtual std::string socket() const = 0;
    /// By a proxy on this port, or straight.
    virtual std::string url(std::uint16_t port) const = 0;
    virtual std::string url() const = 0;
    virtual std::vector<Fault> faults(LossyProxy& proxy, Dice& dice) = 0;
    /// Nobody is connected any more who was killed.
    virtual void forget_clients() = 0;
};

/// What the network does, whatever server it leads to.
inline std::vector<Fault> network_faults(LossyProxy& proxy, Dice& dice)
{
    return {
        {"cuts at any byte",
         [&] {
             long before = 0;
             for (std::size_t i = 0; i < LossyProxy::losses; ++i)
                 before += proxy.lost(i);
             proxy.lose(static_cast<int>(2 + dice.below(40)));
             dice.pause(800);
             proxy.lose(0);
             long after = 0;
             for (std::size_t i = 0; i < LossyProxy::losses; ++i)
                 after += proxy.lost(i);
             return after - before;
         }},
        {"cut of all connections", [&] { return proxy.end_all(); }},
        {"silence of the network",
         [&] {
             auto const before = proxy.swallowed();
             proxy.swallow(true);
             dice.pause(300);
             proxy.swallow(false);
             return proxy.swallowed() - before;
         }},
        {"nobody is let in",
         [&] {
             auto const before = proxy.refused();
             proxy.refuse(true);
             proxy.end_all();
             dice.pause(400);
             proxy.refuse(false);
             return proxy.refused() - before;
         }},
    };
}

}  // namespace torture

#endif  // INTERLOCK_TESTS_TORTURE_FAULTS_HPP
