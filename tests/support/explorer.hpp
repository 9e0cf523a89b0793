// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_EXPLORER_HPP
#define INTERLOCK_TESTS_SUPPORT_EXPLORER_HPP

/// @file
/// What every explorer needs: a test that tries all orders of events on a machine. An explorer has a `World`,
/// which is the machine and what has happened to it. From each world that was not met before it tries every
/// event, each on a copy, and checks the laws of the machine in the world that comes of it.

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock_test {

/// The laws that did not hold: how many times, and which was the first.
class Findings {
public:
    void expect(bool good, std::string_view law)
    {
        if (!good && problems++ == 0)
            first_problem = law;
    }

    std::uint64_t problems{0};
    std::string first_problem;
};

/// The worlds that were met. A world is known again by its `Mark`, which holds all that makes a difference
/// from there on; of two worlds with one mark the one that came first goes on.
template <class World, class Mark>
class Worlds {
public:
    /// True: it was not met before, and is gone on from in the next round.
    bool meet(World const& world, Mark mark)
    {
        if (!marks_.insert(std::move(mark)).second)
            return false;
        frontier_.push_back(world);
        return true;
    }

    /// Calls `step(world)` for the worlds that were met, round by round: what one round meets is the next
    /// one's. Ends after `rounds`, when nothing new is met, or after the round in which `most` worlds have
    /// been met.
    template <class Step>
    void explore(int rounds, std::size_t most, Step step)
    {
        for (; rounds > 0 && !frontier_.empty() && marks_.size() < most; --rounds)
            for (auto const& world : std::exchange(frontier_, {}))
                step(world);
    }

    std::size_t count() const noexcept { return marks_.size(); }

private:
    std::set<Mark> marks_;
    std::vector<World> frontier_;
};

}  // namespace interlock_test

#endif  // INTERLOCK_TESTS_SUPPORT_EXPLORER_HPP
