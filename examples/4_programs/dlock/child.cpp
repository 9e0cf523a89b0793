// SPDX-License-Identifier: BSL-1.0

#include "child.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <string_view>
#include <utility>

extern char** environ;

namespace dlock {

// ---- the terminal -------------------------------------------------------------------------------

Terminal::Terminal() : descriptor_(::open("/dev/tty", O_RDWR | O_CLOEXEC)), own_(::getpgrp())
{
    if (descriptor_ && ::tcgetpgrp(descriptor_.get()) != own_)
        descriptor_.close();
    wanted_ = descriptor_ && ::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1;
}

bool Terminal::give(pid_t group) noexcept
{
    if (!descriptor_)
        return false;
    auto const now = ::tcgetpgrp(descriptor_.get());  // after `bg` it is the shell's
    if ((now != own_ && now != group) || ::tcsetpgrp(descriptor_.get(), group) != 0)
        return false;
    given_ = true;
    return true;
}

void Terminal::take() noexcept
{
    if (given_)
        ::tcsetpgrp(descriptor_.get(), own_);
    given_ = false;
}

// ---- the guard, which after a fork may do nothing but make system calls -------------------------

namespace {

constexpr std::int64_t all_is_done = -1;

/// Both ends of a conversation, which end with the program.
std::pair<Descriptor, Descriptor> sockets()
{
    std::array<int, 2> ends{};
    checked(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), "socketpair");
    return {Descriptor{ends[0]}, Descriptor{ends[1]}};
}

/// To whoever may be gone by now.
template <class Word>
void say(Descriptor const& to, Word const& word) noexcept
{
    [[maybe_unused]] auto const sent = ::send(to.get(), &word, sizeof word, MSG_NOSIGNAL);
}

void sleep_for(Duration time) noexcept
{
    auto const ms = std::chrono::ceil<std::chrono::milliseconds>(time).count();
    ::poll(nullptr, 0, static_cast<int>(std::clamp<std::int64_t>(ms, 0, 86'400'000)));
}

/// Ends the command: TERM, and KILL to what is still there after `kill_after`.
[[noreturn]] void end_group(pid_t group, Duration kill_after) noexcept
{
    ::kill(-group, SIGTERM);
    ::kill(-group, SIGCONT);  // whoever is stopped hears of it, too
    for (auto const until = boottime() + kill_after; boottime() < until && ::kill(-group, 0) == 0;)
        sleep_for(std::min<Duration>(std::chrono::milliseconds{20}, until - boottime()));
    ::kill(-group, SIGKILL);
    ::_exit(0);
}

[[noreturn]] void guard(int from_dlock, pid_t group, Duration sure_until, Duration kill_after) noexcept
{
    ::setpgid(0, 0);  // what is meant for dlock, from the terminal say, is not meant for its guard
    // Nobody waits for the end of what dlock has open because of its guard.
    if (from_dlock != 3)
        ::dup2(from_dlock, 3);
    ::close_range(4, ~0U, 0);
    for (;;) {
        auto const left = std::chrono::ceil<std::chrono::milliseconds>(sure_until - boottime());
        pollfd watched{3, POLLIN, 0};
        auto const ready =
            ::poll(&watched, 1, static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 86'400'000)));
        if (ready == 0 && boottime() >= sure_until)
            end_group(group, kill_after);
        if (ready <= 0)
            continue;
        std::int64_t said = 0;
        if (::read(3, &said, sizeof said) != static_cast<ssize_t>(sizeof said))
            end_group(group, std::min(kill_after, std::max(sure_until - boottime(), Duration{0})));
        if (said == all_is_done)
            ::_exit(0);
        sure_until = Duration{said};
    }
}

std::vector<char*> pointers_to(std::vector<std::string> const& words)
{
    std::vector<char*> pointers;
    for (auto const& word : words)
        pointers.push_back(const_cast<char*>(word.c_str()));  // as exec wants them; nobody writes
    pointers.push_back(nullptr);
    return pointers;
}

}  // namespace

// ---- the command --------------------------------------------------------------------------------

Child::Child(Start const& start, Terminal& terminal) : terminal_(terminal), sure_until_(start.sure_until)
{
    auto const words = pointers_to(start.command);
    auto const variables = pointers_to(start.environment);
    auto [for_child, for_dlock] = sockets();
    bool const foreground = terminal_.wanted();
    pid_ = checked(::fork(), "fork");
    if (pid_ == 0) {
        for_dlock.close();
        ::setpgid(0, 0);
        if (foreground)
            terminal_.give(::getpid());
        ::prctl(PR_SET_PDEATHSIG, SIGTERM);
        int error = 0;
        // Not before there is a guard; and not at all if dlock has died meanwhile.
        if (::read(for_child.get(), &error, sizeof error) != static_cast<ssize_t>(sizeof error))
            ::_exit(exit_fault);
        ::pthread_sigmask(SIG_SETMASK, &start.signals, nullptr);
        environ = const_cast<char**>(variables.data());
        ::execvp(words[0], words.data());
        error = errno;
        say(for_child, error);
        ::_exit(error == ENOENT ? exit_not_found : exit_not_run);
    }
    for_child.close();
    ::setpgid(pid_, pid_);  // whoever of the two comes first
    if (foreground)
        terminal_.give(pid_);
    start_guard(start);
    int error = 0;
    say(for_dlock, error);
    if (::read(for_dlock.get(), &error, sizeof error) == static_cast<ssize_t>(sizeof error)) {
        ::waitpid(pid_, nullptr, 0);
        terminal_.take();
        not_run_ = error;
        code_ = error == ENOENT ? exit_not_found : exit_not_run;
    }
}

Child::~Child()
{
    if (!code_) {
        signal(SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    end_guard();
    terminal_.take();
}

void Child::start_guard(Start const& start)
{
    auto [from_dlock, to_guard] = sockets();
    to_guard_ = std::move(to_guard);
    guard_ = checked(::fork(), "fork");
    if (guard_ == 0) {
        to_guard_.close();
        guard(from_dlock.get(), pid_, sure_until_, start.kill_after);
    }
}

void Child::end_guard() noexcept
{
    if (guard_ < 0)
        return;
    say(to_guard_, all_is_done);
    ::kill(guard_, SIGKILL);
    ::waitpid(guard_, nullptr, 0);
    guard_ = -1;
}

void Child::prolong(Duration sure_until) noexcept
{
    if (guard_ < 0 || sure_until <= sure_until_)
        return;
    sure_until_ = sure_until;
    say(to_guard_, std::int64_t{sure_until.count()});
}

void Child::signal(int number) const noexcept
{
    ::kill(-pid_, number);
}

bool Child::group_lives() const noexcept
{
    return ::kill(-pid_, 0) == 0 || errno == EPERM;
}

void Child::look()
{
    int status = 0;
    while (!code_ && ::waitpid(pid_, &status, WNOHANG | WUNTRACED) == pid_) {
        if (WIFSTOPPED(status))
            follow_stop(WSTOPSIG(status));
        else
            code_ = WIFEXITED(status) ? WEXITSTATUS(status) : exit_by_signal + WTERMSIG(status);
    }
    if (!code_)
        return;
    terminal_.take();
    // Where dlock is process 1, as in a container, it is the parent of what the command has left behind.
    while (::waitpid(-pid_, nullptr, WNOHANG) > 0) {
    }
}

void Child::follow_stop(int signal)
{
    // It wants to read from the terminal, and does not have it yet.
    if ((signal == SIGTTIN || signal == SIGTTOU) && terminal_.give(pid_)) {
        ::kill(-pid_, SIGCONT);
        return;
    }
    if (signal != SIGTSTP)
        return;  // whoever stopped it lets it go on
    terminal_.take();
    ::kill(0, SIGSTOP);  // dlock, and what stands in one pipeline with it; here it goes on after `fg`
    if (terminal_.wanted())
        terminal_.give(pid_);
    ::kill(-pid_, SIGCONT);
}

std::vector<std::string> environment_with(std::vector<std::string> const& variables)
{
    auto const name_of = [](std::string_view variable) { return variable.substr(0, variable.find('=')); };
    std::vector<std::string> all;
    for (char** entry = environ; *entry != nullptr; ++entry) {
        std::string_view const variable{*entry};
        auto const name = name_of(variable);
        bool const replaced = std::any_of(
            variables.begin(), variables.end(), [&](auto const& other) { return name_of(other) == name; });
        if (!replaced && !(name == "DLOCK_STORE" && may_hold_password(variable)))
            all.emplace_back(variable);
    }
    all.insert(all.end(), variables.begin(), variables.end());
    return all;
}

}  // namespace dlock
