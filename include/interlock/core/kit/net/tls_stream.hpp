// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_NET_TLS_STREAM_HPP
#define INTERLOCK_CORE_KIT_NET_TLS_STREAM_HPP

/// @file
/// A TLS session that is ready, for a driver that writes in batches and must know how much of a batch may
/// have reached the server when the connection is lost. No I/O:
///
///     stream.seal(batch);
///     while (!stream.unwritten().empty())
///         may_have_arrived += stream.wrote(write_some(stream.unwritten()));
///
/// That number decides what is told of a command when the connection is lost: a command of which no byte
/// may have arrived was surely not applied, and may be sent again (law P5).

#include <interlock/core/kit/net/tls_session.hpp>
#include <interlock/separate_compilation.hpp>

#include <array>
#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {

/// **Thread safety.** One thread at a time.
class TlsStream {
public:
    /// `session`: its handshake was begun, or is over.
    explicit TlsStream(std::unique_ptr<TlsSession> session) noexcept : session_(std::move(session)) {}

    /// The session itself, for the handshake and for what it says of a failure.
    TlsSession& session() noexcept { return *session_; }

    /// Makes records of `batch`, which are then `unwritten`. False: the session failed.
    bool seal(std::string_view batch);

    /// What is left of the batch, as it goes over the wire.
    std::string_view unwritten() const noexcept { return std::string_view{sealed_}.substr(written_); }

    /// So many bytes of `unwritten()` were written. Returns the bytes of the batch, in the clear, that may
    /// have reached the server with them: a record of which one byte was written counts whole.
    std::size_t wrote(std::size_t size);

    /// After a batch: one large batch must not keep its memory for ever.
    void shrink(std::size_t bound);

    /// Calls `take(std::string_view)` with what the server's bytes say in the clear, until they are used up
    /// or `take` returns false. `more`: all is well. `failed` with an empty `TlsSession::failure`: there is
    /// no memory.
    template <class Take>
    TlsStatus open(std::string_view cipher, Take take)
    {
        if (!session_->feed(cipher))
            return TlsStatus::failed;
        for (;;) {
            std::size_t got = 0;
            if (auto const status = session_->decrypt(plain_.data(), plain_.size(), got);
                status != TlsStatus::ok)
                return status;
            if (!take(std::string_view{plain_.data(), got}))
                return TlsStatus::more;
        }
    }

private:
    struct Record {
        std::size_t begin;  // of the record in `sealed_`
        std::size_t plain;  // bytes of the batch in it
    };

    std::unique_ptr<TlsSession> session_;
    std::string sealed_;          // the batch as it goes over the wire
    std::size_t written_{0};      // of `sealed_`
    std::deque<Record> records_;  // those of which no byte was written
    std::array<char, std::size_t{16} << 10> plain_;
};

}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/kit/net/impl/tls_stream.ipp>
#endif

#endif  // INTERLOCK_CORE_KIT_NET_TLS_STREAM_HPP
