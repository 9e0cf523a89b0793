// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_PROGRESS_LINE_HPP
#define INTERLOCK_PATTERNS_PROGRESS_LINE_HPP

/// @file
/// A line for whoever waits until a consumer has caught up with a long log:
/// `shipping: 120,000 of 1,000,000 events, 45,000/s, 20 s left`.
///
///     interlock::ProgressLine line{std::cerr};
///     interlock::Subscription const shipping{
///         events, cursors, "shipping", {.report_every = 1s, .observer = &line}};

#include <interlock/core/runtime/progress.hpp>
#include <interlock/patterns/subscription_observer.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <ostream>
#include <set>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {

/// Says how far a consumer is while it is behind, once for each `report_every`, and that it has caught up.
/// Silent when it is not far behind, and when nobody looks: when the stream is no terminal. A program that
/// has an observer of its own derives from this one, or hands reports on to it.
///
/// **What counts.** Events that the run has handled, of those and the ones that it is behind, in the
/// partitions whose leases it has; the number of all is as good an estimate as `PartitionReport::lag`.
/// **Lifetimes.** The stream must outlive it. **Thread safety.** Safe; it writes to the stream under a mutex
/// of its own. What the stream throws is swallowed. One object is for one consumer.
class ProgressLine : public SubscriptionObserver {
public:
    /// When it says something; `always`: a line for each report.
    using Show = Progress::Show;

    /// `least`: how many events it is behind when the first line is worth it.
    explicit ProgressLine(std::ostream& out, Show show = Show::on_terminal, Position least = 1000)
        : line_(out), silent_(!line_.terminal() && show != Show::always), least_(least)
    {}

    void on_report(PartitionReport const& report) noexcept override
    {
        change([&] {
            auto const again = !reported_.insert(report.partition).second;
            if (again)
                say(report.consumer, false);
            parts_[report.partition] = Part{report.handled, report.lag, report.handled_per_second};
            if (again)
                reported_ = {report.partition};
            if (showing_ && behind() == 0)
                say(report.consumer, true);
        });
    }
    void on_handed_over(PartitionNotice const& notice) noexcept override { leave(notice.partition); }
    void on_lease_lost(PartitionNotice const& notice) noexcept override { leave(notice.partition); }

private:
    struct Part {
        std::size_t handled{0};
        Position lag{0};
        double rate{0};
    };

    template <class F>
    void change(F f) noexcept
    {
        if (silent_)
            return;
        try {
            std::lock_guard const lock(mutex_);
            f();
        } catch (...) {
            // A line that could not be written is no reason to stop.
        }
    }
    /// What another run goes on with is not this one's any more.
    void leave(unsigned partition) noexcept
    {
        change([&] { parts_[partition] = Part{parts_[partition].handled, 0, 0}; });
    }

    Position behind() const
    {
        Position lag = 0;
        for (auto const& [partition, part] : parts_)
            lag += part.lag;
        return lag;
    }

    void say(std::string_view consumer, bool caught_up)
    {
        auto const lag = behind();
        if (!showing_ && lag < least_)
            return;
        std::uint64_t handled = 0;
        double rate = 0;
        for (auto const& [partition, part] : parts_) {
            handled += part.handled;
            rate += part.rate;
        }
        auto const all = handled + static_cast<std::uint64_t>(lag);
        auto const events =
            caught_up ? detail::grouped(handled) + " of " + detail::grouped(all) + " events, caught up"
                      : detail::progress_text(handled, all, "events", rate);
        showing_ = !caught_up;
        line_.write(std::string(consumer) + ": " + events, caught_up);
    }

    detail::TerminalLine line_;
    bool silent_;
    Position least_;
    std::mutex mutex_;
    std::map<unsigned, Part> parts_;
    std::set<unsigned> reported_;  // since the last line
    bool showing_{false};
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_PATTERNS_PROGRESS_LINE_HPP
