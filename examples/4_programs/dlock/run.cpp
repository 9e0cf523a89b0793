// SPDX-License-Identifier: BSL-1.0

#include "run.hpp"

#include <fmt/format.h>

#include "child.hpp"
#include "locks.hpp"
#include "report.hpp"
#include "system.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <optional>
#include <sstream>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace dlock {

using namespace std::chrono_literals;

namespace {

/// Several values of one variable: a line each, which a shell splits without being told.
std::string lines_of(std::vector<std::string> const& values)
{
    std::string out;
    for (auto const& value : values)
        out += (out.empty() ? "" : "\n") + value;
    return out;
}

/// The token of the lock `name` if a dlock around this one holds it, by what it has told its command.
std::optional<std::string> token_around(std::string const& name)
{
    auto const* const names = std::getenv("DLOCK_NAME");
    auto const* const tokens = std::getenv("DLOCK_FENCING_TOKEN");
    std::istringstream read_names{names != nullptr ? names : ""};
    std::istringstream read_tokens{tokens != nullptr ? tokens : ""};
    std::string token;
    for (std::string held; std::getline(read_names, held) && std::getline(read_tokens, token);)
        if (held == name)
            return token;
    return std::nullopt;
}

bool ends_dlock(int signal)
{
    return signal == SIGINT || signal == SIGTERM || signal == SIGHUP || signal == SIGQUIT;
}

/// One run of a command.
class Run {
public:
    explicit Run(Options const& options) : options_(options), locks_(options.store, options.ttl) {}

    int go()
    {
        if (auto const code = take_locks())
            return *code;
        auto const begun = boottime();
        int const code = run_command();
        if (!lost_ && !told_to_end_)
            hold_on(begun + options_.at_least);
        // Who breaks a lock is heard of at its next renewal, or here.
        auto lost = locks_.lost();
        auto const given_back = locks_.give_back();
        if (!lost)
            lost = given_back.lost;
        if (lost && !lost_)
            say(visible(fmt::format("{}; the command has ended with {}", *lost, code)));
        else if (given_back.objection && !lost_)
            say(visible("may be held until its lease ends: " + *given_back.objection));
        return lost_ || lost ? exit_lost : code;
    }

private:
    /// Nothing: they are ours.
    std::optional<int> take_locks()
    {
        std::stop_source stop;
        std::atomic<bool> done{false};
        auto taken = Locks::Taken::stopped;
        std::exception_ptr fault;
        int ended_by = 0;
        {
            // On another thread, so that this one hears of signals meanwhile.
            std::jthread const taker{[&] {
                try {
                    taken = locks_.take(
                        options_.names, options_.wait, stop.get_token(),
                        [&](auto const& name) { tell_holder(name); });
                } catch (...) {
                    fault = std::current_exception();
                }
                done = true;
                bell_.ring();
            }};
            while (!done) {
                wait_for(signals_, bell_, 1h);
                while (auto const signal = signals_.next())
                    if (ends_dlock(*signal)) {
                        ended_by = *signal;
                        stop.request_stop();
                    }
            }
        }
        if (ended_by != 0) {
            static_cast<void>(locks_.give_back());
            return exit_by_signal + ended_by;
        }
        if (fault)
            std::rethrow_exception(fault);
        if (taken != Locks::Taken::yes)
            return options_.busy_code;
        return std::nullopt;
    }

    void tell_holder(std::string const& name) const
    {
        auto const around = token_around(name);
        if (!options_.verbose && (!around || options_.wait == Duration{0}))
            return;
        try {
            auto const seen = locks_.look({name}).front();
            if (options_.verbose)
                say(sentence_of(seen));
            if (around && seen.info && std::to_string(seen.info->token.value()) == *around)
                say(visible(
                    name +
                    " is held by the dlock around this one, which waits for its command: this one waits "
                    "for itself, unless it was left in the background"));
        } catch (Fault const&) {  // it is for people only
        }
    }

    int run_command()
    {
        locks_.when_lost([this] { bell_.ring(); });
        Start const start{
            options_.command,
            environment_with(
                {"DLOCK_NAME=" + lines_of(options_.names),
                 "DLOCK_FENCING_TOKEN=" + lines_of(locks_.tokens())}),
            signals_.former_mask(), boottime() + locks_.remaining(), options_.kill_after};
        if (options_.verbose)
            say(visible(fmt::format("took {}", fmt::join(options_.names, ", "))));
        Child child{start, terminal_};
        if (child.not_run() != 0) {
            say(options_.command.front() + ": " + std::strerror(child.not_run()));
            return *child.code();
        }
        // Often enough that the guard never ends a command whose locks are renewed.
        auto const pause = std::clamp<Duration>(options_.ttl / 20, 5ms, 1s);
        Duration kill_at = Duration::max();
        Duration leave_at = Duration::max();
        while (!child.code() || (lost_ && child.group_lives() && boottime() < leave_at)) {
            wait_for(signals_, bell_, std::min(pause, std::max(kill_at - boottime(), Duration{0})));
            while (auto const signal = signals_.next())
                if (*signal == SIGCHLD) {
                    child.look();
                } else {
                    told_to_end_ = told_to_end_ || ends_dlock(*signal);
                    child.signal(*signal);
                }
            auto const lost = locks_.lost();
            if (!lost) {
                child.prolong(boottime() + locks_.remaining());
            } else if (!lost_ && !child.code()) {
                lost_ = true;
                say(visible(*lost) + "; the command is ended");
                child.signal(SIGTERM);
                child.signal(SIGCONT);  // whoever is stopped hears of it, too
                kill_at = boottime() + options_.kill_after;
            }
            if (auto const now = boottime(); now >= kill_at) {
                child.signal(SIGKILL);
                kill_at = now + pause;
                // Who is left by then has ended, and has a parent that does not look.
                leave_at = std::min<Duration>(leave_at, now + 1s);
            }
        }
        return *child.code();
    }

    /// Keeps the locks until then, unless a signal says to end.
    void hold_on(Duration until)
    {
        while (boottime() < until && !locks_.lost()) {
            wait_for(signals_, bell_, until - boottime());
            while (auto const signal = signals_.next())
                if (ends_dlock(*signal))
                    return;
        }
    }

    Options const& options_;
    Signals signals_{};  // before there are threads
    Bell bell_{};
    Terminal terminal_{};
    Locks locks_;
    bool lost_{false};
    bool told_to_end_{false};  // by a signal
};

}  // namespace

int run(Options const& options)
{
    return Run{options}.go();
}

}  // namespace dlock
