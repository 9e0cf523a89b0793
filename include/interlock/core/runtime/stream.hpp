// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_RUNTIME_STREAM_HPP
#define INTERLOCK_CORE_RUNTIME_STREAM_HPP

/// @file
/// A stream of bytes to a store that the calling thread drives. Every call has an absolute deadline on the
/// time line of the system's sockets, `socket_now`, which is that of `SystemRuntime`. A deadline of another
/// runtime is turned into such a one by `socket_deadline`.
///
/// A reply that comes soon costs one system call: a recv(2) that waits for at most `patience`. ppoll(2),
/// which waits to the nanosecond, is called only when the reply is late, when the deadline is near, or when
/// somebody may ring the `Doorbell`.
///
///     IoResult result;
///     std::string why;
///     auto stream = Stream::connect_tcp("127.0.0.1", 6379, until, result, why);
///     if (!stream || stream.write("PING\r\n", until).status != IoStatus::ok)
///         return Failure{Errc::unavailable, why};
///
/// Nothing here throws but what allocates a text. A failed call leaves the stream open; whoever uses it
/// decides whether it is of use any more.

#include <interlock/core/deadline.hpp>
#include <interlock/core/runtime/alarm.hpp>
#include <interlock/core/runtime/without_cancellation.hpp>
#include <interlock/separate_compilation.hpp>

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// The time by which blocking sockets wait. It is the system's whatever runtime a store has, since the system
/// does the waiting.
inline TimePoint socket_now() noexcept
{
    return boottime_now();
}

/// `until`, a time on the time line of `runtime`, as a deadline for blocking sockets.
template <class R>
TimePoint socket_deadline(R const& runtime, TimePoint until)
{
    if constexpr (requires { typename R::waits_in_real_time; })
        return until;
    else
        return add(socket_now(), until - runtime.now());
}

/// How a read, a write or a wait has ended.
enum class IoStatus : unsigned char {
    ok,
    timeout,      ///< the deadline came
    closed,       ///< the other side ended the stream
    failed,       ///< the system refused; `IoResult::error` says why
    interrupted,  ///< somebody rang the `Doorbell`
};

/// Until when the first of `places` may be tried that are still left until `deadline`.
inline TimePoint share_of_time(TimePoint now, TimePoint deadline, std::size_t places) noexcept
{
    if (places < 2 || deadline <= now)
        return deadline;
    return now + (deadline - now) / static_cast<std::chrono::nanoseconds::rep>(places);
}

/// What became of a read or a write. `size` bytes went through, also when the status is not `ok`.
struct IoResult {
    IoStatus status{IoStatus::ok};
    std::size_t size{0};
    /// The `errno` of a call that `failed`.
    int error{0};
};

/// Owns a file descriptor, and closes it.
class FileDescriptor {
public:
    /// None.
    FileDescriptor() = default;
    /// Takes `fd` over; a negative one is none.
    explicit FileDescriptor(int fd) noexcept : fd_(fd) {}
    FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    FileDescriptor& operator=(FileDescriptor&& other) noexcept
    {
        if (this != &other) {
            reset();
            fd_ = std::exchange(other.fd_, -1);
        }
        return *this;
    }
    ~FileDescriptor() { reset(); }
    int get() const noexcept { return fd_; }
    explicit operator bool() const noexcept { return fd_ >= 0; }
    /// Closes the descriptor now, if there is one.
    void reset() noexcept
    {
        if (fd_ < 0)
            return;
        WithoutCancellation const whole;
        ::close(std::exchange(fd_, -1));
    }

private:
    int fd_{-1};
};

/// Ends a wait of another thread. However often it is rung before the next wait, that wait ends once. All
/// members may be called from several threads at once.
class Doorbell {
public:
    Doorbell() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
    /// False when the system had no descriptor to give.
    bool valid() const noexcept { return static_cast<bool>(fd_); }
    /// Ends the wait that is under way, or the next one.
    void ring() const noexcept;
    /// Takes back all rings so far.
    void silence() const noexcept;
    int native_handle() const noexcept { return fd_.get(); }

private:
    FileDescriptor fd_;
};

/// Waits until `fd` is ready for `events`, until `bell` is rung, or until `deadline`. A `bell` that ended the
/// wait is silent afterwards.
IoStatus wait_for_io(int fd, short events, TimePoint deadline, Doorbell const* bell = nullptr) noexcept;

/// Sleeps until `deadline` (`timeout`), or until `bell` is rung (`interrupted`).
IoStatus wait_for_bell(TimePoint deadline, Doorbell const& bell) noexcept;

/// A connected socket, or none.
///
/// **Lifetime.** The destructor closes the socket.
/// **Thread safety.** One thread at a time.
class Stream {
public:
    Stream() = default;
    explicit operator bool() const noexcept { return static_cast<bool>(fd_); }
    void close() noexcept { fd_.reset(); }

    /// Tries the addresses of `host` in the system's order until one of them answers; see `connect_first`.
    /// The deadline bounds all of it, looking the name up included. When there is no connection, `result` and
    /// `why` tell what went wrong with the last address.
    static Stream connect_tcp(
        std::string const& host, std::uint16_t port, TimePoint deadline, IoResult& result, std::string& why);

    /// Tries these addresses one after the other until one of them answers. Each has an equal share of the
    /// time that is left (`share_of_time`), so that one that does not answer hides no other.
    static Stream connect_first(addrinfo const* addresses, TimePoint deadline, IoResult& result);

    /// Connects to the unix socket at `path`. `result` and `why` as above.
    static Stream connect_unix(
        std::string const& path, TimePoint deadline, IoResult& result, std::string& why);

    /// Writes all of `bytes`, or as much as goes through until the deadline or a failure.
    IoResult write(std::string_view bytes, TimePoint deadline) noexcept;

    /// Reads what has come in, at least one byte. If nothing has come in, waits for it until the deadline, or
    /// until `bell` is rung.
    IoResult read_some(
        char* out, std::size_t size, TimePoint deadline, Doorbell const* bell = nullptr) noexcept;

    /// Whether nothing has come in and the other side is still there, as far as this side knows.
    bool quiet() const noexcept;

    /// The result as a text for a failure's detail.
    static std::string explain(IoResult const& result);

private:
    // How long a blocking recv(2) waits before ppoll(2) takes over.
    static constexpr std::chrono::milliseconds patience{20};

    void connect(int family, sockaddr const* address, socklen_t size, TimePoint deadline, IoResult& result);

    // Leaves `fd_` connected and non-blocking, or empty with the reason in `result`.
    void connect_without_blocking(
        int family, sockaddr const* address, socklen_t size, TimePoint deadline, IoResult& result);

    FileDescriptor fd_;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/runtime/impl/stream.ipp>
#endif

#endif  // INTERLOCK_CORE_RUNTIME_STREAM_HPP
