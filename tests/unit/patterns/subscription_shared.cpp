// SPDX-License-Identifier: BSL-1.0

// Several runs of one name share the partitions of a log: evenly, anew when one comes, goes or dies, and
// without an event that is lost, comes out of order or, at an orderly hand over, comes twice.

#include <interlock/patterns/detail/membership_machine.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>

#include "support/catch.hpp"
#include "unit/patterns/subscription.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace subscription_shared_test {

using namespace subscription_test;
namespace asio = boost::asio;
using il::detail::MembershipMachine;

/// Which partitions a run has.
struct Holds final : il::SubscriptionObserver {
    void on_leased(il::PartitionNotice const& n) noexcept override { change(n.partition, true); }
    void on_lease_lost(il::PartitionNotice const& n) noexcept override { change(n.partition, false); }
    void on_handed_over(il::PartitionNotice const& n) noexcept override { change(n.partition, false); }
    void on_members(il::MembersNotice const& n) noexcept override { members = n.members; }
    std::size_t count() const
    {
        std::lock_guard const lock(mutex);
        return partitions.size();
    }
    void change(unsigned partition, bool has)
    {
        std::lock_guard const lock(mutex);
        if (has)
            partitions.insert(partition);
        else
            partitions.erase(partition);
    }
    mutable std::mutex mutex;
    std::set<unsigned> partitions;
    std::atomic<std::size_t> members{0};
};

/// A process, as far as the others can tell.
template <class F>
struct Process {
    Process(Fixture const& f, il::SubscriptionOptions options, F handler)
        : subscription(f.events, f.cursors, "shipping", with(options)), runner(subscription, handler)
    {}
    il::SubscriptionOptions with(il::SubscriptionOptions options)
    {
        options.observer = &holds;
        return options;
    }
    Holds holds;
    il::Subscription<Events, Cursors> subscription;
    Runner<il::Subscription<Events, Cursors>, F> runner;
};

/// Events of a stream come in their order; one that comes again is counted.
struct Seen {
    void operator()(il::Event const& event)
    {
        std::lock_guard const lock(mutex);
        auto& last = numbers[std::string(event.stream.bytes())];
        in_order = in_order && event.number <= last + 1;
        doubled += event.number <= last ? 1 : 0;
        last = std::max(last, event.number);
        ++count;
    }
    int distinct() const
    {
        std::lock_guard const lock(mutex);
        return count - doubled;
    }
    mutable std::mutex mutex;
    std::map<std::string, std::int64_t> numbers;
    bool in_order{true};
    int doubled{0};
    int count{0};
};

/// A membership and the record that it shares with others.
struct Members {
    explicit Members(unsigned of) : partitions(of) {}

    MembershipMachine make(std::string name) const
    {
        il::detail::MembershipTerms terms;
        terms.id = "shipping/members";
        terms.me = std::move(name);
        terms.partitions = partitions;
        terms.beat_every = 1s;
        terms.dead_after = 4s;
        terms.trouble = {.initial = 1ms, .cap = 1ms, .immediate = 0};
        return MembershipMachine{terms};
    }
    /// Carries out what it asks for now.
    void turn(MembershipMachine& machine)
    {
        using Kind = MembershipMachine::Action::Kind;
        for (int i = 0; i < 10; ++i) {
            auto const action = machine.next(now);
            if (action.kind == Kind::look) {
                machine.looked(record, now, 0);
            } else if (action.kind == Kind::write) {
                auto const version = record ? record->version : il::no_version;
                if (action.version == version) {
                    record = il::Versioned<il::Cursor>{action.record, version + 1};
                    machine.written(record->version, now, 0);
                } else {
                    machine.written(il::Errc::version_conflict, now, 0);
                }
            } else {
                return;
            }
        }
        FAIL("it is never done asking");
    }

    unsigned partitions;
    il::TimePoint now{1h};
    std::optional<il::Versioned<il::Cursor>> record{};
};

}  // namespace subscription_shared_test

TEST_CASE("Members share partitions by their rank", "[patterns][subscription][members]")
{
    using namespace subscription_shared_test;
    Members world{7};
    std::vector<MembershipMachine> all;
    for (auto const* const name : {"a", "b", "c"})
        all.push_back(world.make(name));
    auto const turn = [&](std::size_t count) {
        for (int round = 0; round < 2; ++round, world.now += 1s)
            for (std::size_t i = 0; i < count; ++i)
                world.turn(all[i]);
    };
    auto const shares = [&] { return std::array{all[0].share(), all[1].share(), all[2].share()}; };
    CHECK(shares() == std::array<std::size_t, 3>{0, 0, 0});
    turn(1);
    CHECK(shares() == std::array<std::size_t, 3>{7, 0, 0});
    turn(3);
    CHECK(shares() == std::array<std::size_t, 3>{3, 2, 2});
    CHECK(world.record->value.members.size() == 3);

    SECTION("one that leaves says so")
    {
        all[0].stop();
        world.turn(all[0]);
        CHECK(all[0].next(world.now).kind == MembershipMachine::Action::Kind::end);
        world.now += 1s;
        world.turn(all[1]);
        world.turn(all[2]);
        CHECK(all[1].share() == 4);
        CHECK(all[2].share() == 3);
    }
    SECTION("one that is silent for a lease is dead, and may come back")
    {
        for (int i = 0; i < 3; ++i, world.now += 1s)
            world.turn(all[1]);
        CHECK(all[1].share() == 2);
        for (int i = 0; i < 3; ++i, world.now += 1s)
            world.turn(all[1]);
        CHECK(all[1].share() == 7);
        world.turn(all[2]);
        world.now += 1s;
        world.turn(all[1]);
        CHECK(world.record->value.members.size() == 2);
        CHECK(all[1].share() == 4);
        CHECK(all[2].share() == 3);
    }
    SECTION("a store that nobody could ask says nothing about the members")
    {
        world.now += 1h;
        turn(3);
        CHECK(shares() == std::array<std::size_t, 3>{3, 2, 2});
    }
    SECTION("a refused write is tried again, an unknown one found")
    {
        world.now += 1s;
        auto action = all[0].next(world.now);
        all[0].looked(world.record, world.now, 0);
        action = all[0].next(world.now);
        REQUIRE(action.kind == MembershipMachine::Action::Kind::write);
        world.record = il::Versioned<il::Cursor>{action.record, world.record->version + 1};
        all[0].written(il::Failure::unknown(il::Errc::unavailable), world.now, 0);
        CHECK(all[0].share() == 3);
        world.now += 1ms;
        world.turn(all[0]);
        CHECK(world.record->value.members.size() == 3);
        CHECK(all[0].share() == 3);
    }
    SECTION("a record that is damaged is for a person")
    {
        world.now += 1s;
        CHECK(all[0].next(world.now).kind == MembershipMachine::Action::Kind::look);
        all[0].looked(il::Errc::corrupt_state, world.now, 0);
        REQUIRE(all[0].failure());
        CHECK(all[0].failure()->errc() == il::Errc::corrupt_state);
        CHECK(all[0].next(world.now).kind == MembershipMachine::Action::Kind::end);
    }
}

TEST_CASE("Runs of one name share the partitions evenly", "[patterns][subscription][members]")
{
    using namespace subscription_shared_test;
    Fixture f{8};
    Seen seen;
    int sold = 0;
    auto const sell = [&](int count) {
        f.sell(count, 40);
        sold += count;
    };
    auto const handler = [&](il::Event const& event) { seen(event); };
    auto options = quick;
    options.ttl = 2s;
    using One = Process<decltype(handler)>;
    std::vector<std::unique_ptr<One>> all;
    auto const holds = [&](std::vector<std::size_t> wanted) {
        return eventually([&] {
            sell(7);
            for (std::size_t i = 0; i < all.size(); ++i)
                if (all[i]->holds.count() != wanted[i])
                    return false;
            return true;
        });
    };
    sell(100);
    all.push_back(std::make_unique<One>(f, options, handler));
    CHECK(holds({8}));
    all.push_back(std::make_unique<One>(f, options, handler));
    CHECK(holds({4, 4}));
    all.push_back(std::make_unique<One>(f, options, handler));
    CHECK(holds({3, 3, 2}));
    CHECK(all[0]->runner.end());
    all.erase(all.begin());
    CHECK(holds({4, 4}));
    CHECK(eventually([&] { return seen.distinct() == sold; }));
    CHECK(all[0]->holds.members == 2);
    for (auto const& one : all)
        CHECK(one->runner.end());
    CHECK(seen.in_order);
    CHECK(seen.doubled == 0);
    CHECK(f.cursors.load("shipping/members").value().value.members.empty());
    CHECK(all[0]->subscription.forget());
    CHECK(f.cursors.load("shipping/members").errc() == il::Errc::not_found);
}

TEST_CASE("The share of a run that died is taken after its lease", "[patterns][subscription][members]")
{
    using namespace subscription_shared_test;
    Fixture f{4};
    Seen seen;
    auto const handler = [&](il::Event const& event) { seen(event); };
    auto options = quick;
    options.ttl = 400ms;
    using One = Process<decltype(handler)>;
    Holds of_dead;
    {
        // It dies: nothing that it holds is given back, and it does not leave the list.
        auto with = options;
        with.observer = &of_dead;
        il::Subscription const dies{f.events, f.cursors, "shipping", with};
        asio::io_context io;
        dies.async_run(handler, asio::bind_executor(io, [](il::Outcome<void> const&) {}));
        One lives{f, options, handler};
        CHECK(eventually([&] {
            io.run_for(5ms);
            return lives.holds.count() == 2 && of_dead.count() == 2;
        }));
        CHECK(lives.runner.end());
    }
    f.sell(200, 20);
    CHECK(f.cursors.load("shipping/members").value().value.members.size() == 1);
    One heir{f, options, handler};
    CHECK(eventually([&] { return heir.holds.count() == 4; }));
    CHECK(eventually([&] { return seen.distinct() == 200; }));
    CHECK(heir.holds.members == 1);
    CHECK(heir.runner.end());
    CHECK(seen.in_order);
}

TEST_CASE(
    "What was begun, and lies before it, is ended before a partition is handed over",
    "[patterns][subscription][members]")
{
    using namespace subscription_shared_test;
    Fixture f{2};
    Seen seen;
    std::atomic<bool> goes_on{false};
    std::atomic<int> failures{0};
    // In each partition the first stream fails for a while, so that others are ahead of it.
    auto const first = [&](il::Event const& event) {
        if (event.position == 1 && !goes_on) {
            ++failures;
            throw il::Error(il::Errc::unavailable, "not now");
        }
        seen(event);
    };
    auto options = quick;
    options.ttl = 8s;  // half of it is how long the hand over waits
    options.backoff = {.initial = 1ms, .cap = 1ms, .immediate = 0};
    f.sell(100, 20);
    Process<decltype(first)> one{f, options, first};
    CHECK(eventually([&] { return seen.distinct() >= 80 && failures > 2; }));
    Process<decltype(first)> two{f, options, first};
    CHECK(eventually([&] { return one.holds.members == 2; }));
    std::this_thread::sleep_for(30ms);
    CHECK(one.holds.count() == 2);
    goes_on = true;
    CHECK(eventually([&] { return one.holds.count() == 1 && two.holds.count() == 1; }));
    CHECK(eventually([&] { return seen.distinct() == 100; }));
    CHECK(one.runner.end());
    CHECK(two.runner.end());
    CHECK(seen.doubled == 0);
    CHECK(seen.in_order);
}
