// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_RUNTIME_PROGRESS_HPP
#define INTERLOCK_CORE_RUNTIME_PROGRESS_HPP

/// @file
/// A line for whoever waits at a terminal for something that takes longer than two seconds:
/// `import: 120,000 of 1,000,000 rows, 45,000/s, 20 s left`.
///
///     interlock::Progress progress{std::cerr, "import", rows.size(), "rows"};
///     for (auto const& row : rows) {
///         import(row);
///         progress.add();
///     }

#include <interlock/core/runtime/runtime.hpp>
#include <interlock/core/runtime/terminal.hpp>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {

namespace detail {

/// 1234567 as "1,234,567".
inline std::string grouped(std::uint64_t number)
{
    auto text = std::to_string(number);
    for (auto i = static_cast<std::ptrdiff_t>(text.size()) - 3; i > 0; i -= 3)
        text.insert(static_cast<std::size_t>(i), 1, ',');
    return text;
}

/// `number` as a whole number that is not below 0; of what is too large for one, or none at all, one that is
/// large, and 0.
inline std::uint64_t whole(double number)
{
    if (!(number > 0))
        return 0;
    return number < 9e18 ? static_cast<std::uint64_t>(std::llround(number))
                         : std::uint64_t{9'000'000'000'000'000'000U};
}

/// "20 s", "5 min", "3 h": an estimate, of which nobody needs the seconds when it is of hours.
inline std::string rough_time(double seconds)
{
    auto const rounded = [](double number) { return grouped(whole(std::ceil(number))); };
    if (seconds < 100)
        return rounded(seconds) + " s";
    if (seconds < 6000)
        return rounded(seconds / 60) + " min";
    return rounded(seconds / 3600) + " h";
}

/// "45,000/s", "0.3/s".
inline std::string rate_text(double rate)
{
    auto const tenths = whole(rate * 10);
    if (tenths == 0 || tenths >= 100)
        return grouped(whole(rate)) + "/s";
    return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + "/s";
}

/// "12 of 40 events, 3.0/s, 10 s left", as far as it can be told: without an end there is no time left, and
/// seconds have no rate. `rate`: per second.
inline std::string progress_text(std::uint64_t done, std::uint64_t total, std::string_view unit, double rate)
{
    auto text = grouped(done);
    if (total > 0)
        text += " of " + grouped(total);
    (text += ' ').append(unit);
    if (unit != "s")
        text += ", " + rate_text(rate);
    if (total > done && rate > 0)
        text += ", " + rough_time(static_cast<double>(total - done) / rate) + " left";
    return text;
}

/// Writes a line over the one that it wrote before; where that cannot be, below it.
class TerminalLine {
public:
    explicit TerminalLine(std::ostream& out) : out_(out), terminal_(is_terminal(out)) {}

    bool terminal() const noexcept { return terminal_; }
    /// `last`: what is written next stands below it.
    void write(std::string_view line, bool last = false)
    {
        if (terminal_)
            out_ << '\r' << line << "\x1b[K" << (last ? "\n" : "") << std::flush;
        else
            out_ << line << '\n' << std::flush;
    }
    /// Takes the line away again, where that can be.
    void erase()
    {
        if (terminal_)
            out_ << "\r\x1b[K" << std::flush;
    }

private:
    std::ostream& out_;
    bool terminal_;
};

}  // namespace detail

/// Says how far something is, how fast, and how long it will take, from two seconds after its begin until its
/// end, five times a second. Silent when nobody looks: when the stream is no terminal.
///
/// **What is said.** The rate is that since the begin; the time left is what the rest takes at that rate. Of
/// something that is measured in seconds (`unit` "s") there is no rate, and without a `total` no time left.
/// **Lifetimes.** The stream must outlive it. Its destructor takes the line away. **Thread safety.** `show`,
/// `add` and `hide` are safe. What the stream throws is swallowed. **Cost.** A comparison when it is silent,
/// else one look at the clock.
class Progress {
public:
    /// When it says something.
    enum class Show : unsigned char {
        on_terminal,  ///< only if the stream is `std::cout`, `std::cerr` or `std::clog`, and a terminal
        always,       ///< also elsewhere, as a line of its own each time
    };
    /// For how long it says nothing at first, and how long it waits before it says something else.
    struct Pace {
        std::chrono::nanoseconds at_first;
        std::chrono::nanoseconds then;
    };
    static constexpr Pace usual{std::chrono::seconds{2}, std::chrono::milliseconds{200}};

    /// Of `what` there are `total` `unit`s; zero: nobody knows how many. It begins now.
    Progress(
        std::ostream& out, std::string what, std::uint64_t total, std::string unit,
        Show show = Show::on_terminal, Pace pace = usual)
        : line_(out), silent_(!line_.terminal() && show != Show::always), what_(std::move(what)),
          unit_(std::move(unit)), total_(total), pace_(pace), begun_(SystemRuntime::now()),
          next_((begun_ + pace.at_first).time_since_epoch().count())
    {}
    Progress(Progress const&) = delete;
    Progress& operator=(Progress const&) = delete;
    ~Progress() { hide(); }

    /// So many are done.
    void show(std::uint64_t done) noexcept
    {
        if (silent_)
            return;
        auto const now = SystemRuntime::now();
        if (now.time_since_epoch().count() < next_.load(std::memory_order_relaxed))
            return;
        say([&] {
            if (now.time_since_epoch().count() < next_.load(std::memory_order_relaxed))
                return;
            next_ = (now + pace_.then).time_since_epoch().count();
            shown_ = true;
            auto const seconds = std::chrono::duration<double>(now - begun_).count();
            auto const rate = unit_ == "s" ? 1 : static_cast<double>(done) / seconds;
            line_.write(what_ + ": " + detail::progress_text(done, total_, unit_, rate));
        });
    }
    /// So many more are done.
    void add(std::uint64_t more = 1) noexcept
    {
        if (!silent_)
            show(done_.fetch_add(more, std::memory_order_relaxed) + more);
    }

    /// Takes the line away until something is said again: before a program prints something else.
    void hide() noexcept
    {
        if (!silent_)
            say([&] {
                if (std::exchange(shown_, false))
                    line_.erase();
            });
    }

private:
    template <class F>
    void say(F f) noexcept
    {
        try {
            std::lock_guard const lock(mutex_);
            f();
        } catch (...) {
            // A line that could not be written is no reason to stop.
        }
    }

    detail::TerminalLine line_;
    bool silent_;
    std::string what_;
    std::string unit_;
    std::uint64_t total_;
    Pace pace_;
    TimePoint begun_;
    std::atomic<TimePoint::rep> next_;  // nothing is said before
    std::atomic<std::uint64_t> done_{0};
    std::mutex mutex_;  // of what is written
    bool shown_{false};
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_RUNTIME_PROGRESS_HPP
