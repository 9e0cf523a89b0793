// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_DLOCK_CHILD_HPP
#define INTERLOCK_EXAMPLES_DLOCK_CHILD_HPP

/// @file
/// The command: a process group of its own, with the terminal if dlock has it, and with a guard beside it.
///
/// The guard is a second process, which does nothing but wait for the end of the locks. dlock tells it again
/// and again until when the locks are sure. When that time has come, because dlock was stopped or hangs, or
/// when dlock is dead, the guard ends the command in its place.

#include "options.hpp"
#include "system.hpp"

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace dlock {

/// The controlling terminal, where dlock is in its foreground.
class Terminal {
public:
    Terminal();
    /// Whether the command should have it at once: both ends of a conversation are there.
    bool wanted() const noexcept { return wanted_; }
    /// Puts a group into the foreground. False: there is no terminal, or dlock has not got it to give.
    bool give(pid_t group) noexcept;
    /// Takes it back, if it was given.
    void take() noexcept;

private:
    Descriptor descriptor_;
    pid_t own_;  // the group of dlock
    bool wanted_{false};
    bool given_{false};
};

/// What a command is started with.
struct Start {
    std::vector<std::string> const& command;
    std::vector<std::string> environment;
    sigset_t const& signals;  ///< its signal mask
    Duration sure_until;      ///< by `boottime`
    Duration kill_after;
};

/// A command that runs, or has run. It is ended with its group if it still runs when this goes.
class Child {
public:
    /// Throws `std::system_error` if there can be no more processes. The command begins once it has a guard.
    Child(Start const& start, Terminal& terminal);
    Child(Child const&) = delete;
    Child& operator=(Child const&) = delete;
    ~Child();

    /// Why there is no such process, as `errno` says; 0: there is one.
    int not_run() const noexcept { return not_run_; }
    /// The code it has ended with, as a shell would say it. Nothing: it runs.
    std::optional<int> code() const noexcept { return code_; }

    /// Looks whether it has ended, or was stopped; called after SIGCHLD. A command that was stopped from the
    /// terminal stops dlock, too, so that the shell gets the terminal; both go on together.
    void look();
    /// To all of its group.
    void signal(int number) const noexcept;
    /// Whether anybody is left in its group: also one that has ended, until its parent has heard of that.
    bool group_lives() const noexcept;
    /// The locks are sure until then.
    void prolong(Duration sure_until) noexcept;

private:
    void start_guard(Start const& start);
    void end_guard() noexcept;
    void follow_stop(int signal);

    Terminal& terminal_;
    pid_t pid_{-1};
    pid_t guard_{-1};
    Descriptor to_guard_;
    Duration sure_until_;
    int not_run_{0};
    std::optional<int> code_;
};

/// This process's environment for a command, without a store that may hold a password, and with these
/// variables instead of what they were.
std::vector<std::string> environment_with(std::vector<std::string> const& variables);

}  // namespace dlock

#endif  // INTERLOCK_EXAMPLES_DLOCK_CHILD_HPP
