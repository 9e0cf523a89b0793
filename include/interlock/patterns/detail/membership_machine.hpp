// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_DETAIL_MEMBERSHIP_MACHINE_HPP
#define INTERLOCK_PATTERNS_DETAIL_MEMBERSHIP_MACHINE_HPP

/// @file
/// How many partitions one run of a subscription may hold, when several runs of a name share them: no clock,
/// no store, no thread. A driver asks `next`, carries the action out, and reports what it came to.
///
/// All runs of a name are listed in one record beside the cursors. Each of them counts its own number there
/// up, now and then. A number that has stood still for a lease is that of a run which is dead, and whoever
/// sees that first takes it off the list. The order of the list, which is that of joining, says who holds one
/// partition more when they cannot be shared evenly. What this decides is a share, and never a right: a
/// partition is read by whoever has its lease, so that two runs which see different lists harm nothing.

#include <interlock/core/backoff.hpp>
#include <interlock/core/contracts/event_repository.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/versioned.hpp>
#include <interlock/patterns/cursor.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Whether to ask a store again is pointless: a person must look.
constexpr bool needs_a_person(Errc code) noexcept
{
    return code == Errc::corrupt_state || code == Errc::misconfigured || code == Errc::invalid_argument ||
           code == Errc::version_exhausted || code == Errc::constraint_violated;
}

/// How many members a list may have (law P10). Who comes later waits until there is room.
inline constexpr std::size_t max_members = 1000;

/// What a membership is told when it is made.
struct MembershipTerms {
    std::string id;  ///< of the record
    std::string me;  ///< in the list
    unsigned partitions{1};
    std::chrono::nanoseconds beat_every{0};
    std::chrono::nanoseconds dead_after{0};
    Backoff trouble{};  ///< between attempts at a store that fails
};

/// See the top of this file. Copyable, so that an explorer can try every order.
class MembershipMachine {
public:
    using Found = std::optional<Versioned<Cursor>>;

    struct Action {
        enum class Kind : unsigned char {
            wait,   ///< nothing to do before `until`, if no report comes
            look,   ///< load the record
            write,  ///< `record` over `version`; `no_version`: there is none yet
            end,    ///< nothing more is to be done
        };
        Kind kind{Kind::wait};
        TimePoint until{TimePoint::max()};
        Cursor record{};
        Version version{no_version};
    };

    explicit MembershipMachine(MembershipTerms terms) : terms_(std::move(terms)) {}

    /// What is to be done now.
    Action next(TimePoint now)
    {
        using Kind = Action::Kind;
        if (under_way_)
            return {};
        if (ended_ || failure_)
            return {.kind = Kind::end};
        if (found_) {
            if (auto action = write(now))
                return *std::move(action);
            ended_ = true;
            return {.kind = Kind::end};
        }
        if (now < at_ && !(leaves_ && troubles_ == 0))
            return {.until = at_};
        under_way_ = true;
        Action action{.kind = Kind::look};
        action.record.id = terms_.id;
        return action;
    }

    // ---- reports

    /// The record; nothing: there is none yet.
    void looked(Outcome<Found> found, TimePoint now, std::uint64_t random)
    {
        under_way_ = false;
        if (!found)
            return trouble(found.failure(), now, random);
        listen(*found, now);
        found_ = *std::move(found);
    }
    void written(Outcome<Version> version, TimePoint now, std::uint64_t random)
    {
        under_way_ = false;
        found_.reset();
        if (version) {
            troubles_ = 0;
            ended_ = leaves_ && !listed_;
            members_ = wrote_;
            share_ = share_in(wrote_);
            at_ = add(now, terms_.beat_every);
            return;
        }
        trouble(version.failure(), now, random);
    }
    /// The run ends: the others share what it held.
    void stop() { leaves_ = true; }

    // ---- questions

    /// How many partitions the run may hold: 0 before it is a member.
    std::size_t share() const noexcept { return share_; }
    /// How many members there are, as far as is known here.
    std::size_t count() const noexcept { return members_.size(); }
    std::optional<Failure> const& failure() const noexcept { return failure_; }

private:
    /// Of a member, what was heard of it.
    struct Heard {
        std::int64_t beat{0};
        std::chrono::nanoseconds silent{0};
    };

    /// Silence counts only while it was listened to: a store that could be asked by nobody says nothing about
    /// the members.
    void listen(Found const& found, TimePoint now)
    {
        auto const heard_for =
            last_look_ ? std::min(now - *last_look_, terms_.beat_every) : std::chrono::nanoseconds{0};
        last_look_ = now;
        std::map<std::string, Heard> heard;
        if (found)
            for (auto const& member : found->value.members) {
                auto const it = heard_.find(member.id);
                bool const known = it != heard_.end() && it->second.beat == member.beat;
                heard[member.id] = {
                    member.beat, known ? it->second.silent + heard_for : std::chrono::nanoseconds{0}};
            }
        heard_ = std::move(heard);
    }

    /// The list without the dead, with a new number of this run, or without it. Nothing: there is nothing to
    /// write.
    std::optional<Action> write(TimePoint now)
    {
        auto const found = std::move(*found_);
        found_.reset();
        Action action{.kind = Action::Kind::write};
        action.record = found ? found->value : Cursor{terms_.id, 0, terms_.partitions, {}, {}};
        action.version = found ? found->version : no_version;
        auto& list = action.record.members;
        bool const was_listed = is_listed(list);
        std::erase_if(list, [&](ConsumerMember const& member) {
            return member.id == terms_.me ? leaves_ : heard_[member.id].silent >= terms_.dead_after;
        });
        if (leaves_ && !was_listed)
            return std::nullopt;
        ++beat_;
        for (auto& member : list)
            if (member.id == terms_.me)
                member.beat = beat_;
        if (!leaves_ && !is_listed(list) && list.size() < max_members)
            list.push_back({terms_.me, beat_});
        listed_ = is_listed(list);
        wrote_ = list;
        if (!leaves_ && !listed_ && list.size() == (found ? found->value.members.size() : 0)) {
            at_ = add(now, terms_.beat_every);  // a full list is looked at, and not written
            members_ = std::move(list);
            return Action{.until = at_};
        }
        under_way_ = true;
        return action;
    }

    bool is_listed(std::vector<ConsumerMember> const& list) const
    {
        return std::any_of(list.begin(), list.end(), [&](auto const& m) { return m.id == terms_.me; });
    }

    std::size_t share_in(std::vector<ConsumerMember> const& list) const
    {
        for (std::size_t rank = 0; rank < list.size(); ++rank)
            if (list[rank].id == terms_.me)
                return terms_.partitions / list.size() + (rank < terms_.partitions % list.size() ? 1 : 0);
        return 0;
    }

    void trouble(Failure const& failure, TimePoint now, std::uint64_t random)
    {
        // Who leaves has tried, and is taken off the list by the others.
        bool const conflict = failure.errc() == Errc::version_conflict ||
                              failure.errc() == Errc::already_exists || failure.errc() == Errc::not_found;
        ended_ = leaves_ && !conflict;
        if (needs_a_person(failure.errc()))
            failure_ = failure;
        ++troubles_;
        at_ = add(now, terms_.trouble.delay(troubles_, random));
    }

    MembershipTerms terms_;
    bool under_way_{false};
    bool leaves_{false};
    bool ended_{false};
    bool listed_{false};  // in the list that was written last
    std::optional<Found> found_;
    std::vector<ConsumerMember> wrote_;
    std::vector<ConsumerMember> members_;
    std::size_t share_{0};
    std::int64_t beat_{0};
    std::map<std::string, Heard> heard_;
    std::optional<TimePoint> last_look_;
    TimePoint at_{TimePoint::min()};
    int troubles_{0};
    std::optional<Failure> failure_;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_PATTERNS_DETAIL_MEMBERSHIP_MACHINE_HPP
