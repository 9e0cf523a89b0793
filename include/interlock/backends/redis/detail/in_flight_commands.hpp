// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_IN_FLIGHT_COMMANDS_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_IN_FLIGHT_COMMANDS_HPP

// The commands whose replies are due on one connection, and which reply is whose.

#include <interlock/backends/redis/access.hpp>
#include <interlock/backends/redis/detail/error.hpp>
#include <interlock/backends/redis/detail/queued_command.hpp>
#include <interlock/backends/redis/reply.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/outcome.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// A row of places, one for each reply that is due. A command that is given up leaves its place behind, so
/// that its late reply is nobody else's. Part of a `CommandQueue`: no I/O, no clock.
class InFlightCommands {
    using State = QueuedCommand::State;

public:
    bool empty() const noexcept { return places_.empty(); }
    std::size_t size() const noexcept { return places_.size(); }

    /// `commands`, one or several that are all alike, leave as one command, which begins at byte `begin` of
    /// what this connection sends; `connection` is its number.
    void push(std::vector<QueuedCommand*> const& commands, std::uint64_t begin, std::uint64_t connection)
    {
        std::size_t folded = commands.size();
        for (auto* const command : commands) {
            if (command->second_ != nullptr)
                places_.push_back({nullptr, begin, 1, true});
            places_.push_back({command, begin, std::exchange(folded, 1), false});
            command->place_ = base_ + places_.size() - 1;
            command->state_ = State::in_flight;
            command->answered_with_others_ = false;
            command->connection_ = connection;
        }
    }
    /// Nobody waits for the reply to `command` any more.
    void leave(QueuedCommand const& command) noexcept { places_[command.place_ - base_].command = nullptr; }

    /// The next reply. Returns what is wrong with it, or null. `accepted` becomes true when it says that the
    /// server has carried out a write.
    char const* replied(Reply& reply, bool& accepted)
    {
        if (places_.empty())
            return nobody_asked;
        auto const folded = places_.front().folded;
        if (folded == 1) {
            answer(std::exchange(reply, {}), accepted);
        } else if (!reply.root().is(ReplyType::array)) {  // the same for all
            for (std::size_t i = 0; i < folded; ++i) {
                if (auto* const command = places_.front().command)
                    command->answered_with_others_ = true;
                answer(reply, accepted);
            }
        } else if (reply.root().size() == folded) {
            reply.split([&](Reply part) { answer(std::move(part), accepted); });
        } else {
            return "redis: what the server sent is no reply to what was asked";
        }
        return nullptr;
    }
    /// The next reply was too large and is gone: it is the failure of the commands that it answered, and of
    /// no other.
    [[gnu::cold]] char const* replied_too_much()
    {
        if (places_.empty())
            return nobody_asked;
        bool accepted = false;
        for (auto folded = places_.front().folded; folded > 0; --folded)
            answer(Failure{Errc::corrupt_state, std::string(large_reply)}, accepted);
        return nullptr;
    }

    /// Ends every command as cancelled; their replies may still come.
    [[gnu::cold]] void cancel() noexcept
    {
        for (auto& place : places_)
            if (auto* const command = std::exchange(place.command, nullptr))
                command->finish(command->given_up(Errc::cancelled, {}));
    }
    /// The connection was lost after `sent` bytes may have left: no reply will come. Ends the commands of
    /// which a byte may have left, and calls `not_sent(command)` for the others, from the last to the first.
    template <class NotSent>
    [[gnu::cold]] void lose(std::uint64_t sent, Failure const& why, NotSent not_sent)
    {
        while (!places_.empty()) {
            auto const place = places_.back();
            places_.pop_back();
            if (place.command == nullptr)
                continue;
            if (place.begin < sent)
                place.command->finish(place.command->given_up(why.errc(), why.detail()));
            else
                not_sent(*place.command);
        }
    }
    /// Ends the commands whose deadline has come; returns the next deadline.
    [[gnu::cold]] TimePoint expire(TimePoint now)
    {
        auto next = TimePoint::max();
        for (auto& place : places_) {
            if (place.command == nullptr)
                continue;
            if (place.command->deadline_ > now) {
                next = std::min(next, place.command->deadline_);
                continue;
            }
            auto& command = *std::exchange(place.command, nullptr);
            command.finish(command.given_up(Errc::deadline_exceeded, "redis: no reply within the deadline"));
        }
        return next;
    }

private:
    struct Place {
        QueuedCommand* command;  // null: nobody waits for the reply any more
        std::uint64_t begin;     // of its bytes in what this connection sends
        std::size_t folded;      // that many places from here on have one reply
        bool first_of_two;       // the command of the next place has this reply, too
    };

    static constexpr char const* nobody_asked = "redis: the server sent what nobody asked for";

    /// Gives a reply to the command whose turn it is.
    void answer(Outcome<Reply>&& reply, bool& accepted)
    {
        auto const place = places_.front();
        auto* const command = place.command;
        places_.pop_front();
        ++base_;
        if (place.first_of_two && places_.front().command != nullptr)
            places_.front().command->result_ = std::move(reply);
        if (command == nullptr)
            return;
        if (command->second_ != nullptr && reply)
            *command->second_ = *std::exchange(reply, std::move(command->result_));
        if (!reply)
            reply = command->given_up(reply.errc(), std::string(reply.detail()));
        else if (command->access_ != Access::read && !reply->root().is(ReplyType::error))
            accepted = true;
        command->finish(std::move(reply));
    }

    std::deque<Place> places_;
    std::uint64_t base_{0};  // replies that have come since the beginning: the number of the first place
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_IN_FLIGHT_COMMANDS_HPP
