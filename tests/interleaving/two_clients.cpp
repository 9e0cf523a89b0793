// SPDX-License-Identifier: BSL-1.0

// Two clients of one lock, every order of what they and their surroundings may do, up to a depth: acquire,
// write, release, a forced release, time that passes, a store that stops or starts to answer.

#include <interlock/interlock.hpp>

#include "support/catch.hpp"
#include "support/simulation/world.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {
namespace two_clients {

using namespace std::chrono_literals;
using namespace std::string_view_literals;
using interlock::Errc;
using interlock::Key;
using interlock::LockStatus;
using interlock::Version;
using scripted::Call;
using scripted::Fault;
using simulation::Counter;
using simulation::Lock;
using simulation::Locks;
using simulation::World;

enum class Event : unsigned char {
    acquire_1,
    acquire_2,
    write_1,
    write_2,
    release_1,
    release_2,
    force,         // the record goes, whoever owns it: as after a crash of the store
    little_time,   // renewals become due
    much_time,     // a lease ends unless it is renewed
    stall,         // as much, but no alarm rings: a paused process
    lose_replies,  // from now on, until the next time
};
constexpr std::size_t event_count = 11;

struct Client {
    Locks locks;
    std::optional<Lock> lock;
};

class Story {
public:
    explicit Story(bool in_place) : world_(1, simulation::Blocking::nested)
    {
        world_.script->fault = [this](Call call, std::uint64_t) {
            return losing_ && (call == Call::create || call == Call::renew || call == Call::commit)
                       ? Fault::lost_reply
                       : Fault::none;
        };
        static_cast<void>(world_.store.insert(Counter{"a", 0}));
        for (simulation::Host host = 0; host < 2; ++host)
            clients_.push_back(
                {Locks{world_.repository(host, in_place), {.ttl = 300ms, .max_attempts = 3}}, {}});
    }

    /// False: this event means nothing here.
    bool happen(Event event)
    {
        switch (event) {
        case Event::acquire_1: return acquire(0);
        case Event::acquire_2: return acquire(1);
        case Event::write_1: return write(0);
        case Event::write_2: return write(1);
        case Event::release_1: return release(0);
        case Event::release_2: return release(1);
        case Event::force:
            static_cast<void>(world_.store.force_release(key_));
            forced_ = true;
            return true;
        case Event::little_time: world_.context.run_for(110ms); return true;
        case Event::much_time: world_.context.run_for(310ms); return true;
        case Event::stall: world_.context.stall(310ms); return true;
        case Event::lose_replies: losing_ = !losing_; return true;
        }
        return false;
    }

    void check()
    {
        int valid = 0;
        for (auto const& client : clients_)
            valid += client.lock && client.lock->status() != LockStatus::lost ? 1 : 0;
        if (valid > 1 && !forced_)
            problem = "P2: two valid handles";
        if (world_.value("a") != written_ && !unknown_)
            problem = "P5: the store and the answers differ";
    }

    void end()
    {
        losing_ = false;
        for (auto& client : clients_)
            client.lock.reset();
        world_.context.run_for(1s);
        auto const renewals = world_.script->calls(Call::renew);
        world_.context.run_for(1s);
        if (world_.script->calls(Call::renew) != renewals)
            problem = "P9: a renewal after every release";
        if (!world_.is_free("a"))
            problem = "something is left behind";
        for (auto const& client : clients_)
            if (client.locks.waiter_count() != 0)
                problem = "a waiter is left";
    }

    char const* problem{nullptr};
    static inline std::uint64_t grants{0};
    static inline std::uint64_t writes{0};
    static inline std::uint64_t refusals{0};

private:
    bool acquire(std::size_t who)
    {
        auto& client = clients_[who];
        if (client.lock)
            return false;
        if (auto got = client.locks.acquire_outcome("a", interlock::Wait::no, {})) {
            ++grants;
            if (got->fencing_token() <= last_)
                problem = "tokens are not in the order of the grants";
            last_ = got->fencing_token();
            client.lock.emplace(*std::move(got));
        }
        return true;
    }

    bool write(std::size_t who)
    {
        auto& client = clients_[who];
        if (!client.lock)
            return false;
        bool const lost = client.lock->status() == LockStatus::lost;
        auto const loaded = world_.store.load(key_);
        auto const result =
            client.locks.write(*client.lock, loaded->version, Counter{"a", loaded->value.value + 1});
        if (result) {
            ++writes;
            if (lost)
                problem = "P6: a write under a lock that is lost";
            if (client.lock->fencing_token() < mark_)
                problem = "P1: a write after one with a greater token";
            mark_ = client.lock->fencing_token();
            written_ = loaded->value.value + 1;
        } else if (result.errc() == Errc::outcome_unknown) {
            unknown_ = false;  // the script applies, and then loses the reply
            written_ = world_.value("a");
        } else {
            ++refusals;
        }
        return true;
    }

    bool release(std::size_t who)
    {
        auto& client = clients_[who];
        if (!client.lock)
            return false;
        auto const other = who == 0 ? 1U : 0U;
        bool const other_held =
            clients_[other].lock && clients_[other].lock->status() != LockStatus::lost && !forced_;
        static_cast<void>(client.locks.release(*client.lock));
        client.lock.reset();
        if (other_held && world_.store.create(key_, interlock::OwnerToken{{3, 3}}, 300ms))
            problem = "P8: a release took the other's record";
        return true;
    }

    World world_;
    Key key_{"a"sv};
    std::vector<Client> clients_;
    bool losing_{false};
    bool forced_{false};
    bool unknown_{false};
    std::int64_t written_{0};
    interlock::FencingToken last_;
    interlock::FencingToken mark_;
};

struct Count {
    std::uint64_t stories{0};
};

/// Every sequence of up to `depth` events in which each means something. Replayed from the start: a world has
/// no copy.
void tell(std::vector<Event>& events, std::size_t depth, bool in_place, Count& count)
{
    for (std::size_t e = 0; e < event_count; ++e) {
        events.push_back(static_cast<Event>(e));
        Story story{in_place};
        bool meaningful = true;
        for (auto const event : events) {
            meaningful = story.happen(event);
            if (!meaningful)
                break;
            story.check();
        }
        if (meaningful) {
            ++count.stories;
            story.end();
            if (story.problem != nullptr) {
                INFO(story.problem);
                std::string text;
                for (auto const event : events)
                    text += std::to_string(static_cast<int>(event)) + " ";
                INFO("events: " << text << (in_place ? "in place" : "on the pool"));
                FAIL();
            }
            if (events.size() < depth)
                tell(events, depth, in_place, count);
        }
        events.pop_back();
    }
}

}  // namespace two_clients
}  // namespace

TEST_CASE("Two clients of one lock keep the laws in every order of events", "[interleaving][lease]")
{
    using namespace two_clients;
    for (bool const in_place : {true, false}) {
        Count count;
        std::vector<Event> events{Event::acquire_1};  // by symmetry
        tell(events, 6, in_place, count);
        CHECK(count.stories > 2000);
    }
    CHECK(Story::grants > 1000);
    CHECK(Story::writes > 1000);
    CHECK(Story::refusals > 100);
}
