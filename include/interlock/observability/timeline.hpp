// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_OBSERVABILITY_TIMELINE_HPP
#define INTERLOCK_OBSERVABILITY_TIMELINE_HPP

/// @file
/// Who held which lock when, and who waited: a picture of a run, one row per key, in the Chrome trace format.
/// https://ui.perfetto.dev opens the file.
///
///     interlock::TimelineObserver timeline;
///     interlock::TransactionService const service{policy, repository, {.observer = &timeline}};
///     ...
///     std::ofstream{"run.json"} << timeline.json();
///
/// For a test, a benchmark or a minute of a service: it keeps everything until it is asked, or taken from.

#include <interlock/core/errc.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/observer.hpp>
#include <interlock/core/runtime/runtime.hpp>
#include <interlock/observability/detail/event_text.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <limits>
#include <map>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {

/// The bounds of a `TimelineObserver`, and the name of its process.
struct TimelineOptions {
    /// How many slices and moments are kept, and of how many keys; what comes later, and is of other keys, is
    /// counted, and left out (law P10).
    std::size_t max_events{1'000'000};
    /// Of this process, where the timelines of several are joined: a row's holders are told apart by it.
    int process{1};
    std::string process_name{"holder"};
};

/// Draws a row per key:
///
/// | what | how |
/// |---|---|
/// | `held` | a slice from the grant to the release, with its token and what the release came to |
/// | `waiting` | a slice from the `acquire` to its end, with where the time went |
/// | handed on | an arrow from the holder before, who gave the lock on without a trip |
/// | `in doubt`, `lost`, `fenced out`, `conflict` | a moment |
/// | a call of `do_in_transaction` | a slice under the name of its operation, with what it came to |
///
/// **Guarantee.** `json()` is one JSON object whatever the keys contain, also while events come. The `held`
/// slices of one row never overlap; a grant that was lost before its holder heard of it has none. **Does not
/// guarantee.** Times of an event before it was told: where a wait or a call begins is computed from its
/// duration.
/// **Lifetimes.** It must outlive the services that have its pointer. **Thread safety.** Everything: safe,
/// by one mutex for all events. **Cost.** About a microsecond and a hundred bytes per event.
class TimelineObserver final : public Observer {
public:
    /// Has drawn nothing yet.
    explicit TimelineObserver(TimelineOptions options = {})
        : Observer(HearsKeys::yes), options_(std::move(options))
    {}

    void on_transaction(TransactionEvent const& event) noexcept override;
    void on_conflict(RetryEvent const& event) noexcept override { attempt("conflict", event); }
    void on_retry(RetryEvent const& event) noexcept override { attempt("retry", event); }
    void on_acquire(AcquireEvent const& event) noexcept override;
    void on_release(ReleaseEvent const& event) noexcept override;
    void on_lock(LockEvent const& event) noexcept override;
    void on_unknown(UnknownEvent const& event) noexcept override;

    /// What was drawn so far, as one JSON object.
    std::string json() const;
    /// The events alone, separated by commas: to join the timelines of several processes, each with a
    /// `TimelineOptions::process` of its own, as `{"traceEvents":[` events `,` events `]}`.
    std::string events() const;
    /// What was drawn since it was taken last, and forgets it: for a process that runs for long, or may be
    /// killed, and appends it to a file again and again. Each event is a line. `joined` makes a file for a
    /// viewer of it; `max_events` counts what was not taken yet, and all keys.
    std::string take();
    /// One JSON object of parts, each what one process has taken so far. A part may end within a line, as
    /// that of a process that was killed while it wrote.
    static std::string joined(std::span<std::string const> parts);
    /// How many events were left out, since there were more than `max_events`, or more keys.
    std::size_t left_out() const;

private:
    struct Moment {
        std::int64_t at;  // in nanoseconds
        std::size_t row;
    };
    struct Hold {
        std::int64_t from;
        std::int64_t to;  // `unended`, until its release was told
    };
    static constexpr auto unended = std::numeric_limits<std::int64_t>::max();
    static constexpr std::size_t most = 256;  // of what a row remembers of each kind
    struct Row {
        std::string key;
        std::uint32_t number;  // in the file: the same in each process that draws the key
        // The last ones, by token. A holder who hands on may tell so after the next one has told that it has
        // the lock, or has ended: a hold ends no later than the next one begins.
        std::map<std::uint64_t, Hold> holds;
        // The tokens of grants that were lost before their holders heard of them, as that of a process which
        // stood still: no slice is drawn of them, since others may have had the lock by then.
        std::set<std::uint64_t> lost;
    };

    /// FNV-1a, folded: two keys with one number would share a row.
    static std::uint32_t number_of(std::string_view key) noexcept;

    static std::string quoted(std::string_view text);
    static std::string micros(std::string_view name, std::chrono::nanoseconds value);
    /// In microseconds, as the format wants it.
    static std::string time(std::int64_t nanoseconds);
    static std::string cause_of(CallInfo const* call);

    void attempt(std::string_view what, RetryEvent const& event) noexcept;

    /// Draws in the row of `key`, unless nobody knows it.
    template <class Draw>
    void draw(Key const* key, Draw one) noexcept;

    // In the format a process is a group of rows: here a key. The holders in one process are one row of it,
    // in which slices never overlap. Those who wait overlap, and are drawn above each other.

    void slice(std::string_view name, std::size_t row, Hold const& hold, std::string const& details);
    /// Where a hold begins; the arrow to it, if somebody handed it on.
    void begin_hold(Moment now, std::uint64_t token, bool handed_on);
    /// Where it ends: when it was told, or when the next one began.
    Hold end_hold(Moment now, std::uint64_t token, std::chrono::nanoseconds lasted);
    void span(
        std::string_view kind, std::string_view name, Moment now, std::chrono::nanoseconds lasted,
        std::string const& details);
    void moment(std::string_view name, Moment now, std::string const& details);
    void arrow(char const* end, Moment at, std::uint64_t to_token, char const* binding);
    static std::int64_t begin_of(Moment now, std::chrono::nanoseconds lasted) noexcept;
    std::string place(std::size_t row, std::int64_t at) const;
    void add(std::string event);

    void append_names(std::string& all, Row const& row) const;
    void append_events(std::string& all) const;

    TimelineOptions const options_;
    [[no_unique_address]] SystemRuntime runtime_;
    mutable std::mutex mutex_;  // of what follows
    std::vector<Row> rows_;
    std::map<std::string, std::size_t, std::less<>> row_of_;  // by key
    std::vector<std::string> events_;
    std::uint64_t last_id_{0};
    std::size_t left_out_{0};
    std::size_t rows_taken_{0};
};

}  // namespace v0
}  // namespace interlock

#include <interlock/observability/impl/timeline.ipp>

#endif  // INTERLOCK_OBSERVABILITY_TIMELINE_HPP
