// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_SUBSCRIBER_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_SUBSCRIBER_HPP

// Wake-ups: one connection and one thread per client, started when somebody first waits.
//
// A message is one of three:
//   'f' and a physical name: the lock is free, or the request is no longer executed.
//   'g', the first four bytes of an owner token and the name of a lock: that owner has waited in line, and
//   the lock is now its own.
//   'w', the first four bytes of the holder's token and the name of a lock: somebody waits in line for it, so
//   its holder should not hand it on locally for ever.
// Messages are hints, and nothing depends on their arrival: whoever waits asks again at the latest when the
// lease is over or the poll interval ends, and each such question makes the server say 'w' again.

#include <interlock/backends/redis/detail/connection.hpp>
#include <interlock/backends/redis/detail/key_space.hpp>
#include <interlock/backends/redis/options.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/kit/assertion.hpp>
#include <interlock/core/kit/wakeup_listener.hpp>
#include <interlock/core/runtime/stream.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

struct Waiting {
    Waiter* waiter;
    std::size_t group;
    std::size_t channel;
    std::uint32_t owner;
};

/// **Thread safety.** Everything: safe.
class Subscriber final : public WakeupListener<Waiting> {
public:
    /// The channels of one name space.
    using Group = std::size_t;

    explicit Subscriber(Options options) : options_(std::move(options)) {}

    /// The group of a name space; repositories with the same name space and shards share one.
    [[gnu::cold]] Group group(KeySpace const& keys)
    {
        std::lock_guard lock(mutex_);
        for (Group i = 0; i < groups_.size(); ++i)
            if (groups_[i].keys.head() == keys.head() && groups_[i].keys.shards() == keys.shards())
                return i;
        groups_.push_back({keys, std::vector<Channel>(keys.channel_count())});
        return groups_.size() - 1;
    }

    /// Wakes `waiter` when the thing of this name becomes free, or becomes `owner`'s. Wakes it once more when
    /// its channel has just been subscribed to, since whatever happened before that was not heard.
    void subscribe(Group group, KeySpace::WakeName name, OwnerToken owner, Waiter& waiter)
    {
        std::lock_guard lock(mutex_);
        waiters_.emplace(name.hash, Waiting{&waiter, group, name.channel, first_bytes(owner.bytes().data())});
        want(group, name.channel);
    }

    /// Wakes whoever in this process waits for the thing of this name, without a message.
    void wake(std::uint64_t hash)
    {
        wake(hash, [](std::uint32_t) { return true; });
    }

    /// Whether somebody has subscribed in the name of `owner`.
    bool is_subscribed(KeySpace::WakeName name, OwnerToken owner) const
    {
        std::lock_guard lock(mutex_);
        auto const [begin, end] = waiters_.equal_range(name.hash);
        return std::any_of(begin, end, [who = first_bytes(owner.bytes().data())](auto const& entry) {
            return entry.second.owner == who;
        });
    }

    /// Somebody waits for what `owner` has just been granted.
    void note_wanted(KeySpace::WakeName name, OwnerToken owner)
    {
        std::lock_guard lock(mutex_);
        WakeupListener::note_wanted(name.hash, first_bytes(owner.bytes().data()));
    }

    /// As `wanted`, but does not begin to listen.
    bool is_wanted(KeySpace::WakeName name, OwnerToken owner) const
    {
        std::lock_guard lock(mutex_);
        return WakeupListener::is_wanted(name.hash, first_bytes(owner.bytes().data()));
    }

    /// Whether somebody lately asked in vain for what `owner` holds, as far as this process has heard. Costs
    /// no trip. The first call begins to listen, and has heard nothing yet.
    bool wanted(Group group, KeySpace::WakeName name, OwnerToken owner)
    {
        std::lock_guard lock(mutex_);
        want(group, name.channel);
        return WakeupListener::is_wanted(name.hash, first_bytes(owner.bytes().data()));
    }

private:
    /// How far it has come with a channel. `requested`: SSUBSCRIBE was sent, and is not confirmed yet.
    enum class Channel : unsigned char { unused, wanted, requested, active };
    struct GroupState {
        KeySpace keys;
        std::vector<Channel> channels;
    };

    /// After so long without a message a PING is sent; after twice that the connection is given up.
    static constexpr std::chrono::seconds silence{15};

    /// Wakes those who wait for a name, and of whom `whom(owner)` is true.
    template <class Whom>
    void wake(std::uint64_t hash, Whom whom)
    {
        std::lock_guard lock(mutex_);
        auto const [begin, end] = waiters_.equal_range(hash);
        for (auto it = begin; it != end; ++it)
            if (whom(it->second.owner))
                it->second.waiter->wake();
    }

    /// The mutex is held.
    void want(Group group, std::size_t number)
    {
        INTERLOCK_ASSERT(interlock::detail::is_locked(this->mutex_), "the mutex guards the channels");
        auto& channel = groups_[group].channels[number];
        if (channel != Channel::unused || !start())
            return;
        channel = Channel::wanted;
        bell_.ring();
    }

    [[gnu::cold]] bool listen() override
    {
        Connection connection{options_};
        if (!connection.connect(
                options_, interlock::detail::add(interlock::detail::socket_now(), options_.connect_timeout)))
            return false;
        return serve(connection);
    }

    /// Listens on a connection until it breaks or it is time to stop. False: the server never said anything,
    /// as one that lets clients in and closes the door when they ask for something.
    [[gnu::cold]] bool serve(Connection& connection)
    {
        {
            std::lock_guard lock(mutex_);
            requested_.clear();
            for (auto& group : groups_)
                for (auto& channel : group.channels)
                    if (channel != Channel::unused)
                        channel = Channel::wanted;
        }
        Reply message;
        auto heard = interlock::detail::socket_now();
        bool asked = false;
        bool heard_any = false;
        while (!stopping()) {
            if (!request(connection))
                return heard_any;
            bool interrupted = false;
            auto const until = interlock::detail::add(heard, asked ? 2 * silence : silence);
            if (!connection.receive(message, Access::read, until, &bell_, &interrupted))
                return heard_any;
            if (!interrupted) {
                heard = interlock::detail::socket_now();
                asked = false;
                heard_any = true;
                handle(message.root());
            } else if (interlock::detail::socket_now() >= until) {
                if (asked)
                    return heard_any;
                asked = true;
                if (!connection.send(
                        Command{"PING"}.bytes(),
                        interlock::detail::add(interlock::detail::socket_now(), silence)))
                    return heard_any;
            }
        }
        return heard_any;
    }

    /// Subscribes to the channels that are wanted. False: the connection is lost.
    [[gnu::cold]] bool request(Connection& connection)
    {
        std::vector<std::string> names;
        {
            std::lock_guard lock(mutex_);
            for (Group g = 0; g < groups_.size(); ++g)
                for (std::size_t i = 0; i < groups_[g].channels.size(); ++i)
                    if (groups_[g].channels[i] == Channel::wanted) {
                        groups_[g].channels[i] = Channel::requested;
                        names.push_back(groups_[g].keys.channel(i));
                        requested_.emplace(names.back(), std::pair{g, i});
                    }
        }
        if (names.empty())
            return true;
        std::string commands;  // one for each: the server refuses all of a command for one that it refuses
        for (auto const& name : names)
            commands += Command{"SSUBSCRIBE", name}.bytes();
        return static_cast<bool>(
            connection.send(commands, interlock::detail::add(interlock::detail::socket_now(), silence)));
    }

    void handle(ReplyView message)
    {
        auto const kind = message[0].text();
        auto const channel = message[1].text();
        if (kind == "ssubscribe") {
            std::lock_guard lock(mutex_);
            auto const found = requested_.find(std::string(channel));
            if (found == requested_.end())
                return;
            auto const [group, number] = found->second;
            requested_.erase(found);
            groups_[group].channels[number] = Channel::active;
            for (auto const& [hash, waiting] : waiters_)
                if (waiting.group == group && waiting.channel == number)
                    waiting.waiter->wake();
        } else if (kind == "smessage") {
            auto const payload = message[2].text();
            if (payload.starts_with('f'))
                return wake(interlock::detail::fnv1a(payload.substr(1)));
            if (payload.size() <= 5)
                return;
            auto const hash = interlock::detail::fnv1a(payload.substr(5));
            auto const owner = first_bytes(payload.data() + 1);
            if (payload.starts_with('g'))
                return wake(hash, [owner](std::uint32_t who) { return who == owner; });
            std::lock_guard lock(mutex_);
            WakeupListener::note_wanted(hash, owner);
        }
    }

    Options options_;
    std::vector<GroupState> groups_;
    std::unordered_map<std::string, std::pair<Group, std::size_t>>
        requested_;  // subscribed to, not yet confirmed
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_SUBSCRIBER_HPP
