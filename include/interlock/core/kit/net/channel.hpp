// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_NET_CHANNEL_HPP
#define INTERLOCK_CORE_KIT_NET_CHANNEL_HPP

/// @file
/// A stream of bytes to a server, driven by the calling thread, in the clear or through TLS:
///
///     Channel channel;
///     std::string why;
///     if (!channel.connect(endpoint, until, why))
///         return Failure{Errc::unavailable, "cannot connect to " + endpoint.text() + ": " + why};
///     auto const sent = channel.write("PING\r\n", until);
///
/// A write through TLS that failed says no more than that something may have left. So a caller must take a
/// failed write for "perhaps", and only `size` 0 for "surely not".

#include <interlock/core/deadline.hpp>
#include <interlock/core/kit/net/endpoint.hpp>
#include <interlock/core/kit/net/tls_handshake.hpp>
#include <interlock/core/kit/net/tls_session.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/runtime/stream.hpp>
#include <interlock/separate_compilation.hpp>

#include <array>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {

/// Connected, or not. Deadlines and results are those of `detail::Stream`.
///
/// A connection is made in three steps: `connect`, then `use_tls` where it is to be secure, then `run` with a
/// machine that begins with a `TlsHandshake`.
///
/// **Thread safety.** One thread at a time.
class Channel {
    using IoResult = detail::IoResult;
    using IoStatus = detail::IoStatus;
    using Stream = detail::Stream;

public:
    /// Whether there is a connection, as far as this side knows.
    explicit operator bool() const noexcept { return static_cast<bool>(stream_); }
    /// Closes the connection, without a word to the server.
    void close() noexcept { stream_.close(); }
    /// Still there, and with nothing to read.
    bool quiet() const noexcept { return stream_.quiet() && (!tls_ || tls_->session->empty()); }

    /// To the server, without TLS so far. False: `why` says what went wrong, and the server was sent nothing.
    bool connect(Endpoint const& endpoint, TimePoint until, std::string& why);

    /// From now on reads and writes go through `session`; `run` does not.
    void use_tls(std::unique_ptr<TlsSession> session);
    /// Null without TLS.
    TlsSession* tls() const noexcept { return tls_ ? tls_->session.get() : nullptr; }

    /// Carries out what `machine`, a handshake, asks for, until it is done or has failed; then the connection
    /// is closed. The bytes are those of the wire. `buffer` is for what is read.
    template <class Machine>
    bool run(Machine& machine, std::span<char> buffer, TimePoint until)
    {
        for (auto action = machine.begin();;) {
            IoResult result;
            switch (action) {
            case HandshakeAction::send:
                result = stream_.write(machine.output(), until);
                action = result.status == IoStatus::ok ? machine.sent() : lost(machine, result);
                break;
            case HandshakeAction::receive:
                result = stream_.read_some(buffer.data(), buffer.size(), until);
                action = result.status == IoStatus::ok ? machine.received({buffer.data(), result.size})
                                                       : lost(machine, result);
                break;
            case HandshakeAction::done: return true;
            case HandshakeAction::failed: close(); return false;
            }
        }
    }

    /// `size` of the result is 0 only when nothing of `bytes` has left; through TLS it says no more than
    /// that.
    IoResult write(std::string_view bytes, TimePoint deadline);

    /// Reads what is there, at least one byte, in the clear. With a `bell`: until the bell is rung, at most.
    IoResult read_some(
        char* out, std::size_t size, TimePoint deadline, detail::Doorbell const* bell = nullptr);

    /// What TLS has to say about a failed or lost connection.
    std::optional<Failure> tls_failure() const;

private:
    struct Tls {
        std::unique_ptr<TlsSession> session;
        std::string out;  // drained from the session, on its way; kept for its memory
        std::array<char, std::size_t{16} << 10> cipher;  // read from the server, on its way into the session
    };

    template <class Machine>
    static HandshakeAction lost(Machine& machine, IoResult const& result)
    {
        auto const loss =
            result.status == IoStatus::timeout ? HandshakeLoss::timed_out : HandshakeLoss::broken;
        return machine.lost(loss, Stream::explain(result));
    }

    IoResult flush(TimePoint deadline);

    Stream stream_;
    std::unique_ptr<Tls> tls_;  // null in the clear
};

}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/kit/net/impl/channel.ipp>
#endif

#endif  // INTERLOCK_CORE_KIT_NET_CHANNEL_HPP
