// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_DETAIL_IMPL_SUBSCRIPTION_MACHINE_IPP
#define INTERLOCK_PATTERNS_DETAIL_IMPL_SUBSCRIPTION_MACHINE_IPP

#include <interlock/patterns/detail/membership_machine.hpp>
#include <interlock/patterns/detail/subscription_machine.hpp>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Whether a failure of a handler says something about the event. What cannot be reached says nothing,
/// however often it is tried: no stream is parked because a database is down.
constexpr bool speaks_against_event(Errc code) noexcept
{
    return code != Errc::unavailable;
}

/// Of what is said of a parked event, so many bytes are stored.
inline constexpr std::size_t max_parked_error = 300;

inline void SubscriptionMachine::tell(
    SubscriptionNotice::Kind kind, Event const& event, int attempt, Errc code, std::string text,
    std::chrono::nanoseconds delay)
{
    notices_.push_back(SubscriptionNotice{
        kind, std::string(event.stream.bytes()), event.number, event.position, attempt, 0, code, delay,
        std::move(text)});
}

// ---- what is next -------------------------------------------------------------------------------

inline SubscriptionMachine::Action SubscriptionMachine::next(
    TimePoint now, bool may_deliver, bool may_acquire)
{
    using Kind = Action::Kind;
    switch (phase_) {
    case Phase::ended: return {.kind = Kind::end};
    case Phase::acquiring:
    case Phase::releasing: return {};
    case Phase::out:
        if (ends_) {
            phase_ = Phase::ended;
            return {.kind = Kind::end};
        }
        if (!may_acquire)
            return {};
        if (now < try_at_)
            return {.until = try_at_};
        phase_ = Phase::acquiring;
        return {.kind = Kind::acquire};
    case Phase::leaving: return leave(now);
    case Phase::held: break;
    }
    if (terms_.drains && quiet())
        ends_ = true;
    bool const handed_over = hands_over_ && (window_.ended_before(begun_) || now >= hand_over_at_);
    if (ends_ || moved_ || !lease_ || handed_over) {
        phase_ = Phase::leaving;
        return leave(now);
    }
    if (!writing_ && !looking_ && now >= not_before_ && (look_ || now >= look_at_))
        return look(now);
    if (write_due(now))
        return write();
    if (!asking_ && (beginning_ == Beginning::ask ? now >= not_before_ : now >= report_at_ && !hands_over_)) {
        asking_ = true;
        return {
            .kind = Kind::newest,
            .after = beginning_ == Beginning::ask ? std::numeric_limits<Position>::max() : done_};
    }
    if (!noting_ && may_trim_ > noted_ && now >= note_at_)
        return note(now);
    if (may_deliver)
        if (auto action = deliver(now))
            return *std::move(action);
    if (hands_over_)
        return wait(hand_over_at_, may_deliver);
    auto until = TimePoint::max();
    if (auto action = replay(now, may_deliver, until))
        return *std::move(action);
    if (!reading_ && beginning_ == Beginning::none && now >= read_at_ && room()) {
        reading_ = true;
        read_again_ = false;
        return {.kind = Kind::read, .after = read_, .limit = terms_.batch};
    }
    return wait(until, may_deliver);
}

inline SubscriptionMachine::Action SubscriptionMachine::wait(TimePoint until, bool may_deliver) const
{
    if (!reading_ && !hands_over_ && beginning_ == Beginning::none && room())
        until = std::min(until, read_at_);
    if (!asking_ && beginning_ == Beginning::ask)
        until = std::min(until, not_before_);
    else if (!asking_ && !hands_over_)
        until = std::min(until, report_at_);
    if (may_deliver)
        until = std::min(until, window_.next_again());
    if (!writing_ && !looking_) {
        auto ask_at = look_ ? TimePoint::min() : look_at_;
        if (dirty())
            ask_at = std::min(ask_at, urgent_ ? TimePoint::min() : write_at_);
        until = std::min(until, std::max(ask_at, not_before_));
    }
    if (!noting_ && may_trim_ > noted_)
        until = std::min(until, note_at_);
    return {.until = until};
}

/// Nothing new is begun; when nothing is under way any more, the cursor is written and the lease given up.
inline SubscriptionMachine::Action SubscriptionMachine::leave(TimePoint now)
{
    if (busy())
        return {};
    bool const writes = lease_ && !moved_;
    if (writes && look_ && !std::exchange(last_look_, true))
        return look(now);
    if (writes && dirty() && !look_ && !std::exchange(last_write_, true))
        return write();
    if (writes && may_trim_ > noted_ && !std::exchange(last_note_, true))
        return note(now);
    phase_ = Phase::releasing;
    return {.kind = Action::Kind::release};
}

inline bool SubscriptionMachine::busy() const noexcept
{
    return reading_ || asking_ || looking_ || writing_ || noting_ || !running_.empty() ||
           std::any_of(parked_.begin(), parked_.end(), [](auto const& p) { return p.second.reading; });
}

/// Nothing is left to do: the partition was read to its end, and everything is written.
inline bool SubscriptionMachine::quiet() const noexcept
{
    return caught_up_ && window_.empty() && resuming_ == 0 && !dirty() && !busy();
}

inline SubscriptionMachine::Action SubscriptionMachine::look(TimePoint now)
{
    looking_ = true;
    look_at_ = parked_.empty() ? TimePoint::max() : add(now, terms_.look_every);
    return {.kind = Action::Kind::look};
}

inline bool SubscriptionMachine::write_due(TimePoint now) const noexcept
{
    if (writing_ || looking_ || look_ || !dirty() || now < not_before_)
        return false;
    return urgent_ || now >= write_at_ || done_since_write_ >= terms_.batch ||
           (terms_.drains && caught_up_ && window_.empty());
}

inline SubscriptionMachine::Action SubscriptionMachine::write()
{
    writing_ = true;
    urgent_ = false;
    write_at_ = TimePoint::max();
    done_since_write_ = 0;
    writing_position_ = done_;
    writing_change_ = change_;
    writing_may_trim_ = done_;
    Action action{.kind = Action::Kind::write};
    action.version = version_;
    action.cursor = Cursor{terms_.id, done_, terms_.partitions, {}, {}};
    for (auto const& [stream, parked] : parked_) {
        action.cursor.parked.push_back(parked.record);
        writing_may_trim_ = std::min(writing_may_trim_, parked.record.position - 1);
    }
    return action;
}

inline SubscriptionMachine::Action SubscriptionMachine::note(TimePoint now)
{
    noting_ = true;
    to_note_ = may_trim_;
    note_at_ = add(now, terms_.note_every);
    // Whoever has the lease begins with what is stored: somebody may have put the cursor back.
    Action action{.kind = Action::Kind::note, .after = to_note_};
    action.goes_back = noted_ < 0;
    return action;
}

/// A log that does not keep in mind what was read may trim what was not. Whatever the log was kept from is
/// tried again; a log that can never keep this consumer in mind, because of its name, is no log for it.
inline void SubscriptionMachine::noted(Outcome<void> const& said)
{
    noting_ = false;
    if (said) {
        noted_ = to_note_;
        return;
    }
    if (said.errc() == Errc::invalid_argument)
        return fail(said.failure());
    if (said.errc() != Errc::misconfigured)
        return;
    SubscriptionNotice notice{.kind = SubscriptionNotice::Kind::trouble, .code = said.errc()};
    notice.text = said.message();
    tell(std::move(notice));
}

inline std::optional<SubscriptionMachine::Action> SubscriptionMachine::deliver(TimePoint now)
{
    auto const number =
        window_.take(now, hands_over_ ? begun_ : std::numeric_limits<EventWindow::Number>::max());
    if (!number)
        return std::nullopt;
    begun_ = std::max(begun_, *number + 1);
    auto const& event = window_.event(*number);
    running_.emplace(++last_ticket_, Running{{}, false, *number});
    Action action{.kind = Action::Kind::deliver};
    action.ticket = last_ticket_;
    action.event = &event;
    action.attempt = ++window_.line(event).tries;
    return action;
}

// ---- the lease ----------------------------------------------------------------------------------

inline void SubscriptionMachine::acquired(Outcome<Found> found, TimePoint now, std::uint64_t random)
{
    if (found) {
        troubles_ = 0;
        begin(*std::move(found), now);
        return;
    }
    phase_ = Phase::out;
    bool const busy = found.errc() == Errc::lock_busy;
    if (needs_a_person(found.errc()) || now >= terms_.lease_until)
        fail(found.failure());
    else if (!busy)
        try_at_ = after_trouble(found.failure(), now, random);
    else if (found.retry_after() > std::chrono::nanoseconds{0})
        try_at_ = add(now, std::min(terms_.lease_poll, found.retry_after()));
    else
        try_at_ = add(now, terms_.lease_poll);
}

inline void SubscriptionMachine::begin(Found found, TimePoint now)
{
    phase_ = Phase::held;
    lease_ = true;
    if (found) {
        auto& cursor = found->value;
        version_ = found->version;
        if (cursor.position < 0)
            return fail(Failure{
                Errc::corrupt_state,
                "the cursor '" + terms_.id + "' is at " + std::to_string(cursor.position) + ", below 0"});
        if (cursor.partitions != terms_.partitions)
            return fail(Failure{
                Errc::corrupt_state, "the cursor '" + terms_.id + "' is of a log of " +
                                         std::to_string(cursor.partitions) + " partitions, and this has " +
                                         std::to_string(terms_.partitions)});
        done_ = written_ = cursor.position;  // also of a cursor that is refused: it is not written
        for (auto& record : cursor.parked) {
            if (record.number < 1 || record.position < 1 || record.stream.empty())
                return fail(Failure{
                    Errc::corrupt_state,
                    "the cursor '" + terms_.id + "' names a parked stream, but no event of it"});
            auto& stream = parked_[record.stream];
            stream.record = std::move(record);
            resuming_ += stream.record.resume ? 1 : 0;
        }
    }
    if (!found && terms_.start == Start::end)
        beginning_ = Beginning::ask;
    if (terms_.report_every > terms_.report_every.zero())
        report_at_ = now;
    progress_at_ = now;
    read_ = may_trim_ = done_;
    for (auto const& [name, stream] : parked_)
        may_trim_ = std::min(may_trim_, stream.record.position - 1);
    look_at_ = parked_.empty() ? TimePoint::max() : add(now, terms_.look_every);
    tell({.kind = SubscriptionNotice::Kind::leased, .position = done_});
}

inline void SubscriptionMachine::lost()
{
    if (phase_ != Phase::held && phase_ != Phase::leaving)
        return;
    if (std::exchange(lease_, false))
        tell({.kind = SubscriptionNotice::Kind::lost, .position = written_});
}

inline void SubscriptionMachine::hand_over(TimePoint now)
{
    if (!holds_lease() || std::exchange(hands_over_, true))
        return;
    hand_over_at_ = add(now, terms_.hand_over);
}

inline void SubscriptionMachine::fail(Failure failure)
{
    ends_ = true;
    if (!failure_)
        failure_ = std::move(failure);
}

inline void SubscriptionMachine::released(TimePoint now)
{
    try_at_ = moved_ ? now : add(now, terms_.lease_poll);
    if (hands_over_ && lease_)
        tell({.kind = SubscriptionNotice::Kind::handed_over, .position = written_});
    forget();
    phase_ = ends_ ? Phase::ended : Phase::out;
}

/// What belonged to the lease that is over.
inline void SubscriptionMachine::forget()
{
    hands_over_ = false;
    beginning_ = Beginning::none;
    hand_over_at_ = report_at_ = TimePoint::max();
    reported_at_ = TimePoint::min();
    begun_ = 0;
    lease_ = moved_ = last_look_ = last_write_ = last_note_ = false;
    version_ = no_version;
    done_ = written_ = read_ = may_trim_ = 0;
    attempted_.reset();
    written_change_ = change_;
    done_since_write_ = 0;
    urgent_ = look_ = caught_up_ = read_again_ = false;
    write_at_ = look_at_ = TimePoint::max();
    not_before_ = note_at_ = read_at_ = TimePoint::min();
    noted_ = -1;
    poll_ = {};
    window_ = {};
    parked_.clear();
    resuming_ = 0;
}

// ---- the cursor ---------------------------------------------------------------------------------

inline void SubscriptionMachine::written(Outcome<Version> version, TimePoint now, std::uint64_t random)
{
    writing_ = false;
    if (version) {
        SubscriptionNotice notice{.kind = SubscriptionNotice::Kind::written, .position = writing_position_};
        notice.count = window_.size();
        tell(std::move(notice));
        version_ = *version;
        if (beginning_ == Beginning::store)
            beginning_ = Beginning::none;
        written_ = writing_position_;
        written_change_ = writing_change_;
        may_trim_ = writing_may_trim_;
        troubles_ = 0;
        if (dirty())
            write_at_ = std::min(write_at_, add(now, terms_.cursor_every));
        if (!parked_.empty() && look_at_ == TimePoint::max())
            look_at_ = add(now, terms_.look_every);
        return;
    }
    switch (version.errc()) {
    case Errc::fenced_out:
    case Errc::lock_lost: return lost();
    case Errc::outcome_unknown:
        attempted_ = writing_position_;
        look_ = true;
        break;
    case Errc::version_conflict:
    case Errc::not_found:
    case Errc::already_exists: look_ = true; break;
    default: break;
    }
    urgent_ = true;
    not_before_ = after_trouble(version.failure(), now, random);
}

inline void SubscriptionMachine::looked(Outcome<Found> found, TimePoint now, std::uint64_t random)
{
    looking_ = false;
    if (!found) {
        not_before_ = after_trouble(found.failure(), now, random);
        return;
    }
    troubles_ = 0;
    merge(*std::move(found));
}

/// What others have done to the cursor: they may ask for a stream to go on. Whoever has moved the position
/// wants the partition to be read anew from there.
inline void SubscriptionMachine::merge(Found found)
{
    look_ = false;
    auto const position = found ? found->value.position : 0;
    bool const ours = position == written_ || (attempted_ && position == *attempted_);
    bool const erased = !found && version_ != no_version;
    attempted_.reset();
    // A consumer that was to begin at the end has a cursor already: it goes on from there.
    bool const begun = found && beginning_ != Beginning::none;
    if (!ours || erased || begun) {
        moved_ = true;
        tell({.kind = SubscriptionNotice::Kind::moved, .position = position});
        return;
    }
    written_ = position;
    version_ = found ? found->version : no_version;
    if (!found)
        return;
    for (auto const& asked : found->value.parked)
        if (auto const it = parked_.find(asked.stream); it != parked_.end() && asked.resume)
            go_on_with(it->second, asked);
}

// ---- what was read ------------------------------------------------------------------------------

inline void SubscriptionMachine::read(Outcome<EventPage> page, TimePoint now, std::uint64_t random)
{
    reading_ = false;
    if (phase_ != Phase::held || ends_ || !lease_)
        return;
    if (!page) {
        read_at_ = after_trouble(page.failure(), now, random);
        return;
    }
    troubles_ = 0;
    take(*std::move(page), now);
}

inline void SubscriptionMachine::take(EventPage page, TimePoint now)
{
    if (page.trimmed) {
        if (read_ > 0)
            return fail(Failure{
                Errc::corrupt_state, "events behind the position " + std::to_string(read_) +
                                         " were removed before '" + terms_.id + "' has read them"});
        tell({.kind = SubscriptionNotice::Kind::trimmed});
    }
    caught_up_ = page.events.empty() && !page.more;
    density_.learn(page.events);
    for (auto& event : page.events) {
        if (event.position <= read_)
            continue;
        read_ = event.position;
        auto const it = parked_.find(std::string(event.stream.bytes()));
        if (it == parked_.end()) {
            window_.add(std::move(event));
        } else {
            it->second.skipped_to = std::max(it->second.skipped_to, event.number);
            window_.pass_over(event.position);
        }
    }
    read_ = std::max(read_, page.next);
    if (page.events.empty() && !page.more && !read_again_) {
        poll_ = std::clamp(poll_ * 2, terms_.poll_least, terms_.poll_most);
        read_at_ = add(now, poll_);
    } else {
        poll_ = {};
        read_at_ = now;
    }
    advance(now);
}

inline void SubscriptionMachine::read_stream(
    Key const& stream, Outcome<std::vector<Event>> events, TimePoint now, std::uint64_t random)
{
    auto const it = parked_.find(std::string(stream.bytes()));
    if (it == parked_.end())
        return;
    auto& parked = it->second;
    parked.reading = false;
    if (!events) {
        parked.not_before = after_trouble(events.failure(), now, random);
        return;
    }
    troubles_ = 0;
    parked.covered = events->size() < terms_.batch;
    std::erase_if(*events, [&](Event const& event) { return event.number < parked.record.number; });
    if (!events->empty() && events->front().number != parked.record.number)
        tell(
            {.kind = SubscriptionNotice::Kind::trimmed, .stream = it->first, .number = parked.record.number});
    // What was read and passed over is gone, although the consumer had not read it.
    if (events->empty() && parked.as_of == read_ && parked.skipped_to >= parked.record.number) {
        tell(
            {.kind = SubscriptionNotice::Kind::trimmed, .stream = it->first, .number = parked.record.number});
        parked.record.number = parked.skipped_to + 1;
        changed(now);
    }
    for (auto& event : *events) {
        if (event.position > parked.as_of) {  // comes, or came, with the partition
            parked.covered = true;
            break;
        }
        parked.events.push_back(std::move(event));
    }
}

inline void SubscriptionMachine::woken(TimePoint now)
{
    read_again_ = true;
    if (!reading_ && troubles_ == 0)
        read_at_ = std::min(read_at_, now);
}

// ---- what was handled ---------------------------------------------------------------------------

inline void SubscriptionMachine::handled(Ticket ticket, Attempt attempt, TimePoint now, std::uint64_t random)
{
    auto node = running_.extract(ticket);
    if (node.empty())
        return;
    if (node.mapped().replay)
        handled_again(node.mapped(), std::move(attempt), now, random);
    else
        handled_in_order(node.mapped(), std::move(attempt), now, random);
}

inline bool SubscriptionMachine::gives_up(Attempt const& attempt, int failures) const noexcept
{
    return attempt.end == Attempt::End::parked || failures >= terms_.attempts;
}

inline void SubscriptionMachine::handled_in_order(
    Running const& run, Attempt attempt, TimePoint now, std::uint64_t random)
{
    using End = Attempt::End;
    auto const& event = window_.event(run.event);
    if (attempt.end == End::done || attempt.end == End::ignored) {
        if (attempt.end == End::ignored)
            tell(SubscriptionNotice::Kind::ignored, event, 0, Errc::ok, event.type);
        ++handled_count_;
        window_.end(run.event);
        return advance(now);
    }
    if (phase_ != Phase::held || ends_)
        return;  // it was told to end, perhaps, and says nothing about the event
    auto& line = window_.line(event);
    line.failures += speaks_against_event(attempt.code) ? 1 : 0;
    bool const given_up = gives_up(attempt, line.failures);
    if (given_up && parked_.size() < terms_.max_parked) {
        park(run.event, std::move(attempt.error));
        changed(now);
        return advance(now);
    }
    if (given_up && terms_.drains)
        fail(Failure{
            Errc::overloaded, "'" + terms_.id + "': " + std::to_string(parked_.size()) +
                                  " streams are parked, and no more may be: " + attempt.error});
    auto const delay = terms_.backoff.delay(line.tries, random);
    window_.again(run.event, add(now, delay));
    tell(
        given_up ? SubscriptionNotice::Kind::full : SubscriptionNotice::Kind::retried, event, line.tries,
        attempt.code, std::move(attempt.error), delay);
}

inline void SubscriptionMachine::handled_again(
    Running const& run, Attempt attempt, TimePoint now, std::uint64_t random)
{
    using End = Attempt::End;
    auto& stream = parked_.at(run.stream);
    stream.running = false;
    auto& event = stream.events.front();
    if (attempt.end == End::done || attempt.end == End::ignored) {
        if (attempt.end == End::ignored)
            tell(SubscriptionNotice::Kind::ignored, event, 0, Errc::ok, event.type);
        ++handled_count_;
        stream.record.number = event.number + 1;
        stream.record.position = event.position;
        stream.record.attempts = 0;
        stream.tries = stream.failures = 0;
        stream.events.pop_front();
        return changed(now);
    }
    if (phase_ != Phase::held || ends_)
        return;
    if (event.number < stream.record.number) {  // somebody has given it up meanwhile
        stream.record.position = event.position;
        stream.tries = stream.failures = 0;
        stream.events.pop_front();
        return changed(now);
    }
    stream.failures += speaks_against_event(attempt.code) ? 1 : 0;
    if (!gives_up(attempt, stream.failures)) {
        auto const delay = terms_.backoff.delay(stream.tries, random);
        stream.not_before = add(now, delay);
        tell(
            SubscriptionNotice::Kind::retried, event, stream.tries, attempt.code, std::move(attempt.error),
            delay);
        return;
    }
    stream.record.number = event.number;
    stream.record.position = event.position;
    stream.record.attempts += stream.tries;
    stream.record.error = beginning_of(attempt.error, max_parked_error);
    stream.record.resume = false;
    --resuming_;
    tell(SubscriptionNotice::Kind::parked, event, stream.tries, attempt.code, std::move(attempt.error));
    stream.events.clear();
    urgent_ = true;
    changed(now);
}

/// The stream waits from this event on: what was read of it is passed over.
inline void SubscriptionMachine::park(EventWindow::Number number, std::string error)
{
    auto const& event = window_.event(number);
    std::string const name{event.stream.bytes()};
    auto const attempts = window_.line(event).tries;
    ParkedStream parked;
    std::string reason{beginning_of(error, max_parked_error)};
    parked.record = Parked{name, event.number, event.position, attempts, std::move(reason), false};
    tell(SubscriptionNotice::Kind::parked, event, attempts, Errc::ok, std::move(error));
    parked.skipped_to = window_.end_stream(number);
    parked_.emplace(name, std::move(parked));
    urgent_ = true;
}

/// The cursor follows what has ended.
inline void SubscriptionMachine::advance(TimePoint now)
{
    auto const before = done_;
    auto const followed = window_.follow();
    done_since_write_ += followed.count;
    done_ = std::max(done_, followed.position);
    if (window_.empty())
        done_ = std::max(done_, read_);
    if (done_ != before || window_.empty())
        progress_at_ = now;
    if (done_ != before && write_at_ == TimePoint::max())
        write_at_ = add(now, terms_.cursor_every);
}

/// What is parked is not what is written any more.
inline void SubscriptionMachine::changed(TimePoint now)
{
    ++change_;
    if (write_at_ == TimePoint::max())
        write_at_ = add(now, terms_.cursor_every);
}

/// When to ask a store again that has failed.
inline TimePoint SubscriptionMachine::after_trouble(
    Failure const& failure, TimePoint now, std::uint64_t random)
{
    if (needs_a_person(failure.errc())) {
        fail(failure);
        return now;
    }
    ++troubles_;
    if (terms_.drains && troubles_ > terms_.attempts)
        fail(failure);
    auto const delay = terms_.trouble.delay(troubles_, random);
    notices_.push_back(
        {SubscriptionNotice::Kind::trouble,
         {},
         0,
         0,
         troubles_,
         0,
         failure.errc(),
         delay,
         failure.message()});
    return add(now, delay);
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_PATTERNS_DETAIL_IMPL_SUBSCRIPTION_MACHINE_IPP
