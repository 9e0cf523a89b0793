// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_UNIT_CORE_COMBINING_HPP
#define INTERLOCK_TESTS_UNIT_CORE_COMBINING_HPP

/// @file
/// What the tests of shared commits begin with: a store whose trips take their time, and a way to have many
/// operations in one batch.

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>

#include "support/blocking_repository.hpp"
#include "support/catch.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

namespace combining_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::BlockingRepository;
using interlock_test::Gate;
using interlock_test::Stock;
using Memory = memory::StateRepository<Stock>;

/// A store with a trip that takes its time, counted, which may lose one reply.
class Slow : public BlockingRepository<Memory> {
public:
    /// More than this the store does not take.
    static constexpr int most = 1'000'000;
    struct Story {
        std::atomic<int> begun{0};
        std::atomic<int> commits{0};
        std::atomic<bool> lose_reply{false};
        std::atomic<bool> intrude{false};
        std::chrono::microseconds trip{300};
    };
    explicit Slow(int quantity = 0) : BlockingRepository(Memory{}), story(std::make_shared<Story>())
    {
        inner().insert(Stock{"x", quantity}).value();
        before_calls([story = story](std::string_view call) {
            if (call == "load" || call == "load_for_update" || call == "create")
                ++story->begun;
            std::this_thread::sleep_for(story->trip);
        });
    }
    using BlockingRepository::carry_out;
    Outcome<Version> carry_out(verb::CompareAndSet<Stock> const& write, Deadline deadline) const
    {
        ++story->commits;
        if (story->intrude.exchange(false)) {  // somebody who knows nothing of this service
            auto now = inner().load(write.key, deadline).value();
            now.value.quantity += 1000;
            inner().compare_and_set(write.key, now.version, now.value, deadline).value();
        }
        if (write.value.quantity > most)
            return Errc::constraint_violated;
        auto result = BlockingRepository::carry_out(write, deadline);
        if (story->lose_reply.exchange(false))
            return Failure::unknown(Errc::unavailable);
        return result;
    }
    Outcome<CommitResult> carry_out(verb::Commit<Stock> const& commit, Deadline deadline) const
    {
        ++story->commits;
        return BlockingRepository::carry_out(commit, deadline);
    }
    int quantity() const { return inner().load("x").value().value.quantity; }

    std::shared_ptr<Story> story;
};

inline constexpr auto add_one = [](Stock& s) { return ++s.quantity; };

/// For tests of what sharing does: nobody is late, however busy the machine is.
inline constexpr ServiceOptions unhurried{.combine_patience = 500ms};

/// The first operation holds up the others at its commit, so that all of them are in the next batch.
template <class Service, class F>
void in_one_batch(Slow const& store, Service const& service, int count, F work)
{
    Gate gate;
    std::atomic<int> first{0};
    store.before_calls([&](std::string_view call) {
        if (call == "compare_and_set" && first.fetch_add(1) == 0)
            gate.pass();
    });
    std::vector<std::thread> threads;
    threads.emplace_back([&] { service.do_in_transaction("x", [](Stock& s) { ++s.quantity; }); });
    REQUIRE(gate.wait_for(1));
    std::atomic<int> on_the_way{0};
    for (int i = 0; i < count; ++i)
        threads.emplace_back([&, i] {
            ++on_the_way;
            work(i);
        });
    interlock_test::eventually([&] { return on_the_way == count; });
    std::this_thread::sleep_for(100ms);  // into the queue
    gate.open();
    for (auto& thread : threads)
        thread.join();
    store.before_calls({});
}

}  // namespace combining_test

#endif  // INTERLOCK_TESTS_UNIT_CORE_COMBINING_HPP
