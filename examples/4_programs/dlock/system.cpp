// SPDX-License-Identifier: BSL-1.0

#include "system.hpp"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <system_error>

namespace dlock {

int checked(int result, char const* what)
{
    if (result < 0)
        throw std::system_error(errno, std::generic_category(), what);
    return result;
}

Duration boottime() noexcept
{
    timespec now{};
    ::clock_gettime(CLOCK_BOOTTIME, &now);
    return std::chrono::seconds{now.tv_sec} + Duration{now.tv_nsec};
}

void Descriptor::close() noexcept
{
    if (fd_ >= 0)
        ::close(std::exchange(fd_, -1));
}

void keep_standard_descriptors() noexcept
{
    for (int const fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        if (::fcntl(fd, F_GETFD) < 0 && errno == EBADF) {
            // Those below it are open, so that this one is the next that is given.
            int const way = fd == STDIN_FILENO ? O_WRONLY : O_RDONLY;
            [[maybe_unused]] int const opened = ::open("/dev/null", way | O_CLOEXEC);
        }
}

void say(std::string_view text) noexcept
{
    std::fprintf(stderr, "dlock: %.*s\n", static_cast<int>(text.size()), text.data());
}

Signals::Signals()
{
    // Whoever started us may have ignored it: then nobody would hear that the command has ended, which would
    // be gone without its code. timeout(1) does the same.
    std::signal(SIGCHLD, SIG_DFL);
    sigset_t mask;
    ::sigemptyset(&mask);
    for (int const signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCHLD})
        ::sigaddset(&mask, signal);
    auto blocked = mask;
    ::sigaddset(&blocked, SIGTTOU);  // handing the terminal on must not stop us
    ::sigaddset(&blocked, SIGPIPE);  // nor does a reader of standard error who has gone
    ::pthread_sigmask(SIG_BLOCK, &blocked, &former_);
    descriptor_ = Descriptor{checked(::signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK), "signalfd")};
}

std::optional<int> Signals::next() const noexcept
{
    signalfd_siginfo info{};
    if (::read(descriptor_.get(), &info, sizeof info) != static_cast<ssize_t>(sizeof info))
        return std::nullopt;
    return static_cast<int>(info.ssi_signo);
}

Bell::Bell() : descriptor_(checked(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")) {}

void Bell::ring() const noexcept
{
    std::uint64_t const one = 1;
    [[maybe_unused]] auto const written = ::write(descriptor_.get(), &one, sizeof one);
}

void Bell::quiet() const noexcept
{
    std::uint64_t count = 0;
    [[maybe_unused]] auto const read = ::read(descriptor_.get(), &count, sizeof count);
}

void wait_for(Signals const& signals, Bell const& bell, Duration most) noexcept
{
    std::array<pollfd, 2> watched{{{signals.descriptor(), POLLIN, 0}, {bell.descriptor(), POLLIN, 0}}};
    auto const ms = std::chrono::ceil<std::chrono::milliseconds>(
        std::clamp(most, Duration{0}, Duration{std::chrono::hours{1}}));
    ::poll(watched.data(), watched.size(), static_cast<int>(ms.count()));
    bell.quiet();
}

}  // namespace dlock
