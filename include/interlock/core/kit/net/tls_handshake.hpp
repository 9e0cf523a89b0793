// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_NET_TLS_HANDSHAKE_HPP
#define INTERLOCK_CORE_KIT_NET_TLS_HANDSHAKE_HPP

/// @file
/// The first bytes of a TLS connection, as a machine without I/O: its driver carries bytes to and fro and
/// reports how that went. The blocking and the asynchronous driver of a connection obey the same machine, so
/// the rules are written once.

#include <interlock/core/kit/net/tls_session.hpp>
#include <interlock/separate_compilation.hpp>

#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {

/// What a machine that makes a fresh connection ready asks its driver to do next.
enum class HandshakeAction : unsigned char {
    send,     ///< write all of `output()`; then `sent()`, or `lost()` where that failed
    receive,  ///< read at least one byte; then `received()`, or `lost()` where that failed
    done,     ///< the connection is ready
    failed,   ///< the connection is of no use: close it
};

/// Why a driver could not send or receive.
enum class HandshakeLoss : unsigned char {
    broken,     ///< the connection was lost, as the text beside it says
    timed_out,  ///< the time for connecting is over
};

/// Makes `session` ready.
///
/// **Thread safety.** One thread at a time.
class TlsHandshake {
public:
    /// `session` outlives it.
    explicit TlsHandshake(TlsSession& session) noexcept : session_(session) {}

    /// What is done first. It and the events below say what the driver does next.
    HandshakeAction begin() { return advance(); }
    /// What is to be sent. Stays as it is until the next event.
    std::string_view output() const noexcept { return output_; }

    /// All of `output()` was written.
    HandshakeAction sent();
    /// The server has sent `bytes`.
    HandshakeAction received(std::string_view bytes);
    /// The driver could not write or read; `why` says so in words.
    HandshakeAction lost(HandshakeLoss loss, std::string_view why);

    /// Why it failed, in words that may follow "cannot connect to x: ". What the session itself has to say
    /// about it, see `TlsSession::failure`, is more exact.
    std::string const& why() const noexcept { return why_; }
    /// Whether it failed for want of time only.
    bool timed_out() const noexcept { return timed_out_; }

private:
    HandshakeAction advance();
    HandshakeAction fail(std::string why);

    TlsSession& session_;
    TlsStatus status_{
        TlsStatus::more};  // what the session said last: it decides what follows once `output_` has left
    bool timed_out_{false};
    std::string output_;
    std::string why_;
};

}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/kit/net/impl/tls_handshake.ipp>
#endif

#endif  // INTERLOCK_CORE_KIT_NET_TLS_HANDSHAKE_HPP
