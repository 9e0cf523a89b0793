// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_RUNTIME_IMPL_STREAM_IPP
#define INTERLOCK_CORE_RUNTIME_IMPL_STREAM_IPP

#include <interlock/core/runtime/name_lookup.hpp>
#include <interlock/core/runtime/stream.hpp>
#include <interlock/core/runtime/without_cancellation.hpp>

namespace interlock {
inline namespace v0 {

namespace detail {

INTERLOCK_DECL void Doorbell::ring() const noexcept
{
    WithoutCancellation const whole;
    std::uint64_t const one = 1;
    // Fails only when it is rung already.
    [[maybe_unused]] auto const written = ::write(fd_.get(), &one, sizeof one);
}

INTERLOCK_DECL void Doorbell::silence() const noexcept
{
    WithoutCancellation const whole;
    std::uint64_t count = 0;
    [[maybe_unused]] auto const read = ::read(fd_.get(), &count, sizeof count);
}

INTERLOCK_DECL IoStatus wait_for_io(int fd, short events, TimePoint deadline, Doorbell const* bell) noexcept
{
    WithoutCancellation const whole;
    for (;;) {
        auto const left = std::clamp<std::chrono::nanoseconds>(
            deadline - std::min(deadline, boottime_now()), std::chrono::nanoseconds{0},
            std::chrono::hours{1});
        auto const seconds = std::chrono::floor<std::chrono::seconds>(left);
        timespec time{};
        time.tv_sec = static_cast<time_t>(seconds.count());
        time.tv_nsec = static_cast<long>((left - seconds).count());
        std::array<pollfd, 2> polled{
            {{fd, events, 0}, {bell != nullptr ? bell->native_handle() : -1, POLLIN, 0}}};
        auto const ready = ::ppoll(polled.data(), 2, &time, nullptr);
        if (ready < 0 && errno != EINTR)
            return IoStatus::failed;
        if (ready > 0 && polled[1].revents != 0) {
            bell->silence();
            return IoStatus::interrupted;
        }
        if (ready > 0)
            return IoStatus::ok;
        if (boottime_now() >= deadline)
            return IoStatus::timeout;
    }
}

INTERLOCK_DECL IoStatus wait_for_bell(TimePoint deadline, Doorbell const& bell) noexcept
{
    return wait_for_io(-1, 0, deadline, &bell);
}

INTERLOCK_DECL Stream Stream::connect_tcp(
    std::string const& host, std::uint16_t port, TimePoint deadline, IoResult& result, std::string& why)
{
    WithoutCancellation const whole;
    Stream stream;
    auto const found = addresses_of(host, port, deadline);
    if (!found.first) {
        result = {found.error == 0 ? IoStatus::timeout : IoStatus::failed, 0, 0};
        why = detail::explain(found);
        return stream;
    }
    stream = connect_first(found.first.get(), deadline, result);
    if (result.status != IoStatus::ok)
        why = explain(result);
    return stream;
}

INTERLOCK_DECL Stream Stream::connect_first(addrinfo const* addresses, TimePoint deadline, IoResult& result)
{
    Stream stream;
    result = {IoStatus::failed, 0, EADDRNOTAVAIL};  // if there are none
    std::size_t left = 0;
    for (auto const* a = addresses; a != nullptr; a = a->ai_next)
        ++left;
    for (auto const* a = addresses; a != nullptr; a = a->ai_next, --left) {
        auto const until = share_of_time(boottime_now(), deadline, left);
        stream.connect(a->ai_family, a->ai_addr, a->ai_addrlen, until, result);
        if (result.status == IoStatus::ok) {
            int const on = 1;
            ::setsockopt(stream.fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            ::setsockopt(stream.fd_.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
            return stream;
        }
        if (result.status == IoStatus::timeout && boottime_now() >= deadline)
            break;
    }
    return stream;
}

INTERLOCK_DECL Stream
Stream::connect_unix(std::string const& path, TimePoint deadline, IoResult& result, std::string& why)
{
    Stream stream;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) {
        result = {IoStatus::failed, 0, ENAMETOOLONG};
        why = explain(result);
        return stream;
    }
    std::memcpy(address.sun_path, path.data(), path.size());
    stream.connect(AF_UNIX, reinterpret_cast<sockaddr const*>(&address), sizeof address, deadline, result);
    if (result.status != IoStatus::ok)
        why = explain(result);
    return stream;
}

INTERLOCK_DECL IoResult Stream::write(std::string_view bytes, TimePoint deadline) noexcept
{
    WithoutCancellation const whole;
    IoResult result;
    while (result.size < bytes.size()) {
        auto const n = ::send(
            fd_.get(), bytes.data() + result.size, bytes.size() - result.size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            result.size += static_cast<std::size_t>(n);
            continue;
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK) {
            result.status = IoStatus::failed;
            result.error = errno;
            return result;
        }
        if (result.status = wait_for_io(fd_.get(), POLLOUT, deadline); result.status != IoStatus::ok)
            return result;
    }
    return result;
}

INTERLOCK_DECL IoResult
Stream::read_some(char* out, std::size_t size, TimePoint deadline, Doorbell const* bell) noexcept
{
    WithoutCancellation const whole;
    IoResult result;
    // The first recv(2) waits by itself, for `patience` at most. That is only right if nobody may ring,
    // and if the deadline is not so near that the wait could pass it.
    bool patient = bell == nullptr && deadline - boottime_now() > 2 * patience;
    for (;; patient = false) {
        if (!patient)
            if (result.status = wait_for_io(fd_.get(), POLLIN, deadline, bell); result.status != IoStatus::ok)
                return result;
        auto const n = ::recv(fd_.get(), out, size, patient ? 0 : MSG_DONTWAIT);
        if (n > 0) {
            result.size = static_cast<std::size_t>(n);
            return result;
        }
        if (n == 0) {
            result.status = IoStatus::closed;
            return result;
        }
        if (errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK) {
            result.status = IoStatus::failed;
            result.error = errno;
            return result;
        }
    }
}

INTERLOCK_DECL bool Stream::quiet() const noexcept
{
    WithoutCancellation const whole;
    char byte = 0;
    return ::recv(fd_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
           (errno == EAGAIN || errno == EWOULDBLOCK);
}

INTERLOCK_DECL std::string Stream::explain(IoResult const& result)
{
    switch (result.status) {
    case IoStatus::ok: return "ok";
    case IoStatus::timeout: return "timed out";
    case IoStatus::closed: return "connection closed by the server";
    case IoStatus::interrupted: return "interrupted";
    case IoStatus::failed: break;
    }
    std::array<char, 128> text{};
    return ::strerror_r(result.error, text.data(), text.size());
}

INTERLOCK_DECL void Stream::connect(
    int family, sockaddr const* address, socklen_t size, TimePoint deadline, IoResult& result)
{
    connect_without_blocking(family, address, size, deadline, result);
    if (!fd_)
        return;
    // From here on a recv(2) blocks, for `patience` at most, unless the call itself says otherwise.
    timeval time{};
    time.tv_usec = std::chrono::microseconds{patience}.count();
    auto const flags = ::fcntl(fd_.get(), F_GETFL);
    if (flags < 0 || ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time) != 0 ||
        ::fcntl(fd_.get(), F_SETFL, flags & ~O_NONBLOCK) != 0) {
        result.status = IoStatus::failed;
        result.error = errno;
        fd_.reset();
    }
}

INTERLOCK_DECL void Stream::connect_without_blocking(
    int family, sockaddr const* address, socklen_t size, TimePoint deadline, IoResult& result)
{
    WithoutCancellation const whole;
    fd_ = FileDescriptor{::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    result = {};
    auto const failed = [&](int error) {
        result.status = IoStatus::failed;
        result.error = error;
        fd_.reset();
    };
    if (!fd_)
        return failed(errno);
    while (::connect(fd_.get(), address, size) != 0) {
        if (errno == EINTR)
            continue;
        if (errno == EISCONN)
            return;
        if (errno == EAGAIN) {  // a unix socket whose backlog is full gives nothing to wait for
            if (boottime_now() >= deadline) {
                result.status = IoStatus::timeout;
                return fd_.reset();
            }
            static_cast<void>(
                wait_for_io(-1, 0, std::min(deadline, add(boottime_now(), std::chrono::milliseconds{1}))));
            continue;
        }
        if (errno != EINPROGRESS && errno != EALREADY)
            return failed(errno);
        if (result.status = wait_for_io(fd_.get(), POLLOUT, deadline); result.status != IoStatus::ok)
            return fd_.reset();
        int error = 0;
        socklen_t length = sizeof error;
        if (::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &length) != 0)
            return failed(errno);
        if (error != 0)
            return failed(error);
        return;
    }
}

}  // namespace detail

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_RUNTIME_IMPL_STREAM_IPP
