// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_DLOCK_SYSTEM_HPP
#define INTERLOCK_EXAMPLES_DLOCK_SYSTEM_HPP

/// @file
/// Small things of the operating system: descriptors, signals that are read like a file, and wake-ups.

#include "options.hpp"

#include <csignal>
#include <ctime>
#include <optional>
#include <string_view>
#include <utility>

namespace dlock {

/// Throws `std::system_error` of `errno` for a negative result.
int checked(int result, char const* what);

/// The monotonic time that counts suspend, by which leases end.
Duration boottime() noexcept;

/// An open descriptor, or none.
class Descriptor {
public:
    Descriptor() = default;
    explicit Descriptor(int fd) noexcept : fd_(fd) {}
    Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept
    {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~Descriptor() { close(); }
    explicit operator bool() const noexcept { return fd_ >= 0; }
    int get() const noexcept { return fd_; }
    void close() noexcept;

private:
    int fd_{-1};
};

/// Keeps 0, 1 and 2 from being given to a connection, where whoever has started dlock has closed them: what
/// is said there would go to the store. To use one of them fails as before, and a command has them closed.
void keep_standard_descriptors() noexcept;

/// A line on standard error. That nobody can be told, since it is closed or its reader has gone, is no reason
/// to end: locks are held meanwhile.
void say(std::string_view text) noexcept;

/// The signals that dlock hands on, and SIGCHLD, are read from a descriptor from now on, by one thread. Made
/// before there is any other thread, so that none of them is interrupted instead.
class Signals {
public:
    Signals();
    Signals(Signals const&) = delete;
    Signals& operator=(Signals const&) = delete;

    /// What the process had before, for its command.
    sigset_t const& former_mask() const noexcept { return former_; }
    int descriptor() const noexcept { return descriptor_.get(); }
    /// The next one that has come, without waiting.
    std::optional<int> next() const noexcept;

private:
    sigset_t former_{};
    Descriptor descriptor_;
};

/// Wakes the thread that waits for signals. `ring` may be called from any thread.
class Bell {
public:
    Bell();
    void ring() const noexcept;
    void quiet() const noexcept;
    int descriptor() const noexcept { return descriptor_.get(); }

private:
    Descriptor descriptor_;
};

/// Waits for a signal, the bell or the end of `most`, whichever comes first.
void wait_for(Signals const& signals, Bell const& bell, Duration most) noexcept;

}  // namespace dlock

#endif  // INTERLOCK_EXAMPLES_DLOCK_SYSTEM_HPP
