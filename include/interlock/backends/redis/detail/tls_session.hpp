// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_TLS_SESSION_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_TLS_SESSION_HPP

// TLS as the drivers of connections see it: bytes in, bytes out, no socket and no TLS library. So the thread that calls
// and the executor drive the same session, and who does not use TLS links none.

#include <interlock/core/outcome.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

enum class TlsStatus : unsigned char {
    ok,
    more,    ///< go on when more of the server's bytes are fed
    closed,  ///< the server said that it ends the session
    failed,  ///< for good; `failure` says why
};

/// The client's side of one TLS session. After any call there may be something to `drain`, which belongs on the wire before
/// anything else is waited for.
///
/// **Thread safety.** One thread at a time.
class TlsSession {
public:
    TlsSession() = default;
    TlsSession(TlsSession const&) = delete;
    TlsSession& operator=(TlsSession const&) = delete;
    virtual ~TlsSession() = default;

    /// Begins the handshake, or goes on with it. `ok`: the server is who it should be, as far as that is verified.
    virtual TlsStatus handshake() = 0;
    /// At most `record_size` bytes, which become one record.
    virtual TlsStatus encrypt(std::string_view plain) = 0;
    /// What is there in the clear, at least one byte for `ok`.
    virtual TlsStatus decrypt(char* out, std::size_t size, std::size_t& got) = 0;
    /// What came from the server. False: no memory.
    virtual bool feed(std::string_view cipher) = 0;
    /// Appends what is to be sent.
    virtual void drain(std::string& out) = 0;
    /// Nothing was fed that did not come out of `decrypt`.
    virtual bool empty() const noexcept = 0;
    /// Why it failed, or, when the connection was lost, what may explain it; "not applied". Its detail is empty when there
    /// is nothing to say.
    virtual Failure failure() const = 0;

    static constexpr std::size_t record_size = std::size_t{16} << 10;
};

/// Whom to trust, and who we are; read once.
///
/// **Thread safety.** Everything: safe.
class TlsContext {
public:
    TlsContext() = default;
    TlsContext(TlsContext const&) = delete;
    TlsContext& operator=(TlsContext const&) = delete;
    virtual ~TlsContext() = default;

    /// For a connection to this host. Null: no memory.
    virtual std::unique_ptr<TlsSession> session(std::string const& host) const = 0;
};

/// What `rediss:` is told where nobody has brought TLS along.
inline Failure no_tls()
{
    return Failure{
        Errc::misconfigured, "redis: rediss: needs TLS; use redis::with_tls or redis::TlsBackend of "
                             "backends/redis/tls.hpp (component redis_tls)"};
}
inline Failure no_tls_session()
{
    return Failure{Errc::unavailable, "redis: TLS: no session can be made for this host"};
}
inline constexpr char const* handshake_late =
    "the TLS handshake was not finished in time; does the server speak TLS at this port?";

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_TLS_SESSION_HPP
