// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_NET_TLS_SESSION_HPP
#define INTERLOCK_CORE_KIT_NET_TLS_SESSION_HPP

/// @file
/// TLS as those see it who drive a connection: bytes go in, bytes come out. There is no socket in it, so that
/// a calling thread and an executor drive the same session; and no TLS library is named, so that a program
/// which does not use TLS links none. `openssl.hpp` implements it.

#include <interlock/core/outcome.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {

/// How far a call of a `TlsSession` came.
enum class TlsStatus : unsigned char {
    ok,
    more,    ///< the call can go on when more of the server's bytes were fed
    closed,  ///< the server said that it ends the session
    failed,  ///< the session is over; `failure` says why
};

/// The client's side of one TLS session. After any call there may be something to `drain`. What was drained
/// must be sent before anybody waits for the server's bytes, since the server may be waiting for it.
///
/// **Thread safety.** One thread at a time.
class TlsSession {
public:
    TlsSession() = default;
    TlsSession(TlsSession const&) = delete;
    TlsSession& operator=(TlsSession const&) = delete;
    virtual ~TlsSession() = default;

    /// Begins the handshake, or goes on with it. `ok`: the server is who it should be, as far as that is
    /// verified.
    virtual TlsStatus handshake() = 0;
    /// Makes one record of at most `record_size` bytes.
    virtual TlsStatus encrypt(std::string_view plain) = 0;
    /// Takes out what is there in the clear, at least one byte for `ok`.
    virtual TlsStatus decrypt(char* out, std::size_t size, std::size_t& got) = 0;
    /// Takes in what came from the server. False: there is no memory for it.
    virtual bool feed(std::string_view cipher) = 0;
    /// Appends to `out` what is to be sent to the server.
    virtual void drain(std::string& out) = 0;
    /// Whether all bytes that were fed have come out of `decrypt`.
    virtual bool empty() const noexcept = 0;
    /// Why the session failed; or, when the connection was lost, what may explain that. "Not applied". Its
    /// detail is empty when there is nothing to say.
    virtual Failure failure() const = 0;

    /// The most that one record of TLS may contain.
    static constexpr std::size_t record_size = std::size_t{16} << 10;
};

/// Whom to trust, and who we are: the files that `TlsOptions` name, read once for many connections.
///
/// **Thread safety.** Everything: safe.
class TlsContext {
public:
    TlsContext() = default;
    TlsContext(TlsContext const&) = delete;
    TlsContext& operator=(TlsContext const&) = delete;
    virtual ~TlsContext() = default;

    /// A session for a connection to this host. Null: there is no memory, or the host's name is of no use.
    virtual std::unique_ptr<TlsSession> session(std::string const& host) const = 0;
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_NET_TLS_SESSION_HPP
