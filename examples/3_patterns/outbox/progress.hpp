// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_OUTBOX_PROGRESS_HPP
#define INTERLOCK_EXAMPLES_OUTBOX_PROGRESS_HPP

#include <fmt/format.h>

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>

namespace outbox {

/// A line on a terminal with what is done, how fast it goes, and how long it will still take. Nothing where
/// the standard error is no terminal.
class Progress {
public:
    explicit Progress(std::size_t sales) : sales_(sales) {}
    Progress(Progress const&) = delete;
    Progress& operator=(Progress const&) = delete;
    ~Progress()
    {
        if (terminal_)
            fmt::print(stderr, "\r\033[K");
    }

    void show(std::size_t sold, std::size_t shipped)
    {
        auto const now = Clock::now();
        if (!terminal_ || now < next_)
            return;
        next_ = now + std::chrono::milliseconds{200};
        auto const seconds = std::chrono::duration<double>(now - begin_).count();
        auto const rate = static_cast<double>(shipped) / std::max(seconds, 0.001);
        auto const left = static_cast<double>(sales_ - std::min(sales_, shipped)) / std::max(rate, 0.001);
        fmt::print(stderr, "\r\033[K{} sold, {} shipped of {}", sold, shipped, sales_);
        if (shipped > 0)
            fmt::print(stderr, ", {:.0f} a second, {:.0f} s left", rate, left);
        std::fflush(stderr);
    }

private:
    using Clock = std::chrono::steady_clock;

    std::size_t sales_;
    bool terminal_{isatty(STDERR_FILENO) != 0};
    Clock::time_point begin_{Clock::now()};
    Clock::time_point next_{begin_};
};

}  // namespace outbox

#endif  // INTERLOCK_EXAMPLES_OUTBOX_PROGRESS_HPP
