// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_DETAIL_SUBSCRIPTION_MACHINE_HPP
#define INTERLOCK_PATTERNS_DETAIL_SUBSCRIPTION_MACHINE_HPP

/// @file
/// What a subscription does next in one partition: no clock, no store, no thread. A driver asks `next`,
/// carries the action out, and reports what it came to. Several actions may be under way at a time; each
/// report may change what is next.
///
/// The laws that it keeps: 1. Nothing is read, delivered or written without a lease. 2. A stream's events are
/// delivered one at a time, in the order of their numbers, and none before the one before it was handled or
/// parked. 3. The cursor that is written is never beyond an event whose handling has not ended, and the write
/// that goes beyond an event that was not handled says that its stream is parked. 4. A lease is given up, or
/// taken again, only when nothing that was begun under it is under way.

#include <interlock/core/backoff.hpp>
#include <interlock/core/contracts/event_repository.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/versioned.hpp>
#include <interlock/patterns/cursor.hpp>
#include <interlock/patterns/detail/event_window.hpp>
#include <interlock/patterns/detail/newest_event.hpp>
#include <interlock/patterns/handling.hpp>
#include <interlock/patterns/start.hpp>
#include <interlock/patterns/subscription_observer.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

/// What a machine is told when it is made.
struct SubscriptionTerms {
    std::string id;  ///< of the cursor
    unsigned partition{0};
    unsigned partitions{1};
    std::size_t batch{256};
    /// How many events may lie between the cursor and the last one that was read.
    std::size_t window{4096};
    int attempts{8};
    Backoff backoff{};  ///< between attempts at one event
    std::size_t max_parked{100};
    std::chrono::nanoseconds cursor_every{0};
    std::chrono::nanoseconds poll_least{0};
    std::chrono::nanoseconds poll_most{0};
    std::chrono::nanoseconds lease_poll{0};
    std::chrono::nanoseconds look_every{0};
    std::chrono::nanoseconds note_every{0};
    /// How long a partition that is handed over waits at most for what lies before an event that was begun.
    std::chrono::nanoseconds hand_over{0};
    Start start{Start::beginning};
    std::chrono::nanoseconds report_every{0};  ///< 0: never
    Backoff trouble{};                         ///< between attempts at a store that fails
    bool drains{false};                        ///< ends when nothing is left to read
    /// How long somebody else's lease is waited for.
    TimePoint lease_until{TimePoint::max()};
};

/// Something that an observer may want to hear.
struct SubscriptionNotice {
    enum class Kind : unsigned char {
        leased,
        lost,
        moved,
        retried,
        ignored,
        parked,
        resumed,
        unparked,
        full,
        trimmed,
        trouble,
        written,
        handed_over,
        report
    };
    Kind kind;
    std::string stream{};
    std::int64_t number{0};
    Position position{0};
    int attempt{0};
    std::size_t count{0};
    Errc code{Errc::ok};
    std::chrono::nanoseconds delay{0};
    std::string text{};
    PartitionReport report{};
};

/// See the top of this file. Copyable, so that an explorer can try every order.
class SubscriptionMachine {
public:
    using Ticket = std::uint64_t;
    using Found = std::optional<Versioned<Cursor>>;

    struct Action {
        enum class Kind : unsigned char {
            wait,         ///< nothing to do before `until`, if no report comes
            acquire,      ///< take the lease and load the cursor
            look,         ///< load the cursor
            newest,       ///< ask for the end of the partition, for a reader at `after`
            read,         ///< the partition behind `after`
            read_stream,  ///< `stream` behind the number `after`
            deliver,      ///< `*event` to the handler
            write,        ///< `cursor` under the lease, over `version`
            note,         ///< `after` beside the log; `goes_back`: though it has heard of a later one
            release,      ///< give the lease up
            end,          ///< nothing more is to be done
        };
        Kind kind{Kind::wait};
        TimePoint until{TimePoint::max()};
        std::int64_t after{0};
        std::size_t limit{0};
        Key stream{};
        Ticket ticket{0};
        Event const* event{nullptr};  // until `handled` is told
        int attempt{0};
        Cursor cursor{};
        Version version{no_version};
        bool goes_back{false};
    };

    explicit SubscriptionMachine(SubscriptionTerms terms) : terms_(std::move(terms)) {}

    /// What is to be done now. `may_deliver`: whether somebody has time for an event. `may_acquire`: whether
    /// the lease may be taken, if it is not held.
    Action next(TimePoint now, bool may_deliver, bool may_acquire = true);

    // ---- reports

    /// The lease and the cursor; nothing: there is none yet.
    void acquired(Outcome<Found> found, TimePoint now, std::uint64_t random);
    void looked(Outcome<Found> found, TimePoint now, std::uint64_t random);
    void newest(Outcome<NewestEvent> newest, TimePoint now, std::uint64_t random);
    void read(Outcome<EventPage> page, TimePoint now, std::uint64_t random);
    void read_stream(
        Key const& stream, Outcome<std::vector<Event>> events, TimePoint now, std::uint64_t random);
    void handled(Ticket ticket, Attempt attempt, TimePoint now, std::uint64_t random);
    void written(Outcome<Version> version, TimePoint now, std::uint64_t random);
    void noted(Outcome<void> const& said);
    void released(TimePoint now);
    /// The lease is over.
    void lost();
    /// There may be more to read.
    void woken(TimePoint now);
    /// The partition is handed over to another member: what was begun is ended, and what lies before it in
    /// the log, so that the cursor goes behind it and none of it comes again; then the lease is given up.
    void hand_over(TimePoint now);
    /// The end is asked for: what was begun is ended, and the cursor written.
    void stop() noexcept { ends_ = true; }
    /// The same, because of `failure`.
    void fail(Failure failure);

    // ---- questions

    bool ended() const noexcept { return phase_ == Phase::ended; }
    /// Why it ended: as it was asked to, or the failure.
    Outcome<void> result() const { return failure_ ? Outcome<void>{*failure_} : success(); }
    bool holds_lease() const noexcept { return phase_ == Phase::held && lease_; }
    /// Whether it has the lease, or asks for it.
    bool wants_lease() const noexcept { return phase_ != Phase::out && phase_ != Phase::ended; }
    bool hands_over() const noexcept { return hands_over_; }
    std::size_t handled_count() const noexcept { return handled_count_; }
    std::size_t running() const noexcept { return running_.size(); }
    Position done() const noexcept { return done_; }
    bool stopping() const noexcept { return ends_; }
    std::vector<SubscriptionNotice> take_notices() { return std::exchange(notices_, {}); }

private:
    friend struct SubscriptionView;  // of an explorer, which must know a state again

    /// Of a consumer that is new and begins at the end: the end is asked for, and stored, before anything is
    /// read.
    enum class Beginning : unsigned char { none, ask, store };
    enum class Phase : unsigned char { out, acquiring, held, leaving, releasing, ended };

    struct ParkedStream {
        Parked record;
        std::int64_t skipped_to{0};  // the last of its events that was read and passed over
        // Once it is to go on:
        std::deque<Event> events{};
        Position as_of{0};  // what was read of the partition when they were asked for
        bool reading{false};
        bool running{false};
        bool covered{false};  // these are all up to `as_of`
        int tries{0};
        int failures{0};
        TimePoint not_before{TimePoint::min()};
    };
    struct Running {
        std::string stream;
        bool replay;
        EventWindow::Number event;
    };

    bool busy() const noexcept;
    bool dirty() const noexcept { return done_ != written_ || change_ != written_change_; }
    bool quiet() const noexcept;
    std::optional<Action> deliver(TimePoint now);
    std::optional<Action> replay(TimePoint now, bool may_deliver, TimePoint& until);
    std::optional<Action> replay(ParkedStream& stream, TimePoint now, bool may_deliver, TimePoint& until);
    Action wait(TimePoint until, bool may_deliver) const;
    bool room() const noexcept { return window_.waiting() < terms_.batch && window_.size() < terms_.window; }
    Action leave(TimePoint now);
    Action write();
    bool write_due(TimePoint now) const noexcept;
    Action look(TimePoint now);
    Action note(TimePoint now);

    void begin(Found found, TimePoint now);
    void report(NewestEvent const& newest, TimePoint now);
    void take(EventPage page, TimePoint now);
    void merge(Found found);
    void handled_in_order(Running const& run, Attempt attempt, TimePoint now, std::uint64_t random);
    void handled_again(Running const& run, Attempt attempt, TimePoint now, std::uint64_t random);
    bool gives_up(Attempt const& attempt, int failures) const noexcept;
    void go_on_with(ParkedStream& stream, Parked const& asked);
    void give_up(ParkedStream& stream, std::int64_t number);
    void park(EventWindow::Number number, std::string error);
    void advance(TimePoint now);
    void changed(TimePoint now);
    void forget();
    TimePoint after_trouble(Failure const& failure, TimePoint now, std::uint64_t random);
    void tell(
        SubscriptionNotice::Kind kind, Event const& event, int attempt, Errc code, std::string text,
        std::chrono::nanoseconds delay = {});
    void tell(SubscriptionNotice notice) { notices_.push_back(std::move(notice)); }

    SubscriptionTerms terms_;
    Phase phase_{Phase::out};
    bool lease_{false};       // whether it may be believed
    bool ends_{false};        // after this lease there is no other
    bool hands_over_{false};  // to another member
    TimePoint hand_over_at_{TimePoint::max()};
    EventWindow::Number begun_{0};  // behind the last event that was delivered
    bool moved_{false};             // somebody else has written the cursor: it is read anew
    // What is done once before the lease is given up, and was tried.
    bool last_look_{false};
    bool last_write_{false};
    bool last_note_{false};
    std::optional<Failure> failure_;
    TimePoint try_at_{TimePoint::min()};  // the lease

    // What is under way.
    bool reading_{false};
    bool asking_{false};  // for the end of the partition
    bool looking_{false};
    bool writing_{false};
    bool noting_{false};
    std::map<Ticket, Running> running_;
    Ticket last_ticket_{0};

    // The cursor.
    Version version_{no_version};
    Position done_{0};
    Position written_{0};
    std::optional<Position> attempted_;  // a write whose outcome is not known
    std::uint64_t change_{0};            // of what is parked
    std::uint64_t written_change_{0};
    Position writing_position_{0};
    std::uint64_t writing_change_{0};
    std::size_t done_since_write_{0};
    bool urgent_{false};  // a write is due whatever the time
    TimePoint write_at_{TimePoint::max()};
    TimePoint not_before_{TimePoint::min()};  // look or write, after a failure
    bool look_{false};                        // before anything is written
    TimePoint look_at_{TimePoint::max()};     // for what others have asked for
    // What may be trimmed: the written cursor, without what parked streams wait with.
    Position may_trim_{0};
    Position writing_may_trim_{0};
    Position noted_{-1};    // as the log has said
    Position to_note_{-1};  // as it is being told
    TimePoint note_at_{TimePoint::min()};

    Beginning beginning_{Beginning::none};

    // Reports.
    TimePoint report_at_{TimePoint::max()};
    TimePoint reported_at_{TimePoint::min()};
    TimePoint progress_at_{TimePoint::min()};  // the cursor followed, or there was nothing to follow
    std::size_t reported_count_{0};
    EventDensity density_{};

    // What was read.
    Position read_{0};
    bool caught_up_{false};
    bool read_again_{false};
    TimePoint read_at_{TimePoint::min()};
    std::chrono::nanoseconds poll_{0};
    int troubles_{0};
    EventWindow window_;
    std::map<std::string, ParkedStream> parked_;
    std::size_t resuming_{0};  // of those
    std::size_t handled_count_{0};

    std::vector<SubscriptionNotice> notices_;
};

// ---- how far it is ------------------------------------------------------------------------------

inline void SubscriptionMachine::newest(Outcome<NewestEvent> newest, TimePoint now, std::uint64_t random)
{
    asking_ = false;
    if (beginning_ == Beginning::ask) {
        if (!newest) {
            not_before_ = after_trouble(newest.failure(), now, random);
            return;
        }
        troubles_ = 0;
        done_ = read_ = newest->position;
        beginning_ = Beginning::store;
        urgent_ = true;
        return changed(now);
    }
    report_at_ = add(now, terms_.report_every);
    if (newest)
        report(*newest, now);
}

inline void SubscriptionMachine::report(NewestEvent const& newest, TimePoint now)
{
    auto const unread = density_.between(read_, newest.position);
    if (!unread)
        return;  // nobody can say yet how many events there are
    SubscriptionNotice notice{.kind = SubscriptionNotice::Kind::report, .position = done_};
    auto& report = notice.report;
    report.position = done_;
    report.lag = static_cast<Position>(window_.waiting()) + *unread;
    if (auto const* const first = window_.front())
        report.lag_time = std::max(behind_by(newest, first->recorded_at), now - progress_at_);
    report.waiting = window_.waiting();
    report.parked = parked_.size();
    report.handled = handled_count_;
    if (reported_at_ != TimePoint::min() && now > reported_at_)
        report.handled_per_second = static_cast<double>(handled_count_ - reported_count_) /
                                    std::chrono::duration<double>(now - reported_at_).count();
    reported_at_ = now;
    reported_count_ = handled_count_;
    tell(std::move(notice));
}

// ---- streams that were parked and go on ----------------------------------------------------------

inline void SubscriptionMachine::go_on_with(ParkedStream& stream, Parked const& asked)
{
    if (asked.number < stream.record.number)
        return;
    // The event has failed again since: the stream waits with it, which is not stored yet. What is found is
    // the request by which it went on.
    if (asked.number == stream.record.number && asked.attempts < stream.record.attempts)
        return;
    if (stream.record.resume) {
        if (asked.number > stream.record.number)
            give_up(stream, asked.number);
        return;
    }
    stream.record.resume = true;
    stream.record.number = asked.number;
    stream.record.attempts = asked.attempts;
    stream.covered = false;
    stream.tries = stream.failures = 0;
    stream.not_before = TimePoint::min();
    ++resuming_;
    notices_.push_back({SubscriptionNotice::Kind::resumed, asked.stream, asked.number, asked.position});
}

/// Of a stream that goes on already, what is before `number` is not tried again. An attempt that runs ends by
/// itself.
inline void SubscriptionMachine::give_up(ParkedStream& stream, std::int64_t number)
{
    stream.record.number = number;
    stream.record.attempts = 0;
    stream.tries = stream.failures = 0;
    stream.not_before = TimePoint::min();
    while (!stream.running && !stream.events.empty() && stream.events.front().number < number) {
        stream.record.position = stream.events.front().position;
        stream.events.pop_front();
    }
}

/// What is to be done for streams that go on.
inline std::optional<SubscriptionMachine::Action> SubscriptionMachine::replay(
    TimePoint now, bool may_deliver, TimePoint& until)
{
    if (resuming_ == 0)
        return std::nullopt;
    for (auto it = parked_.begin(); it != parked_.end();) {
        auto& [name, stream] = *it;
        bool const ended =
            stream.events.empty() && stream.covered && stream.record.number > stream.skipped_to;
        if (!stream.record.resume || stream.reading || stream.running) {
            ++it;
        } else if (ended && stream.record.position > done_) {
            ++it;  // forgotten, its events would come again where the next lease begins
        } else if (ended) {
            tell({.kind = SubscriptionNotice::Kind::unparked, .stream = name});
            it = parked_.erase(it);
            --resuming_;
            urgent_ = true;
            changed(now);
            until = now;  // there is something to write
        } else {
            if (auto action = replay(stream, now, may_deliver, until))
                return action;
            ++it;
        }
    }
    return std::nullopt;
}

inline std::optional<SubscriptionMachine::Action> SubscriptionMachine::replay(
    ParkedStream& stream, TimePoint now, bool may_deliver, TimePoint& until)
{
    if (now < stream.not_before) {
        until = std::min(until, stream.not_before);
        return std::nullopt;
    }
    Action action;
    if (stream.events.empty()) {
        stream.reading = true;
        stream.as_of = read_;
        action.kind = Action::Kind::read_stream;
        action.stream = Key{stream.record.stream};
        action.after = stream.record.number - 1;
        action.limit = terms_.batch;
        return action;
    }
    if (!may_deliver)
        return std::nullopt;
    stream.running = true;
    ++stream.tries;
    running_.emplace(++last_ticket_, Running{stream.record.stream, true, 0});
    action.kind = Action::Kind::deliver;
    action.ticket = last_ticket_;
    action.event = &stream.events.front();
    action.attempt = stream.tries;
    return action;
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#include <interlock/patterns/detail/impl/subscription_machine.ipp>

#endif  // INTERLOCK_PATTERNS_DETAIL_SUBSCRIPTION_MACHINE_HPP
