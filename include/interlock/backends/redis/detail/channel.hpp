// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_CHANNEL_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_CHANNEL_HPP

// A stream of bytes to a server, driven by the calling thread, plain or through TLS.

#include <interlock/backends/redis/detail/tls_session.hpp>
#include <interlock/backends/redis/options.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/runtime/socket.hpp>
#include <interlock/core/runtime/stream.hpp>
#include <interlock/core/runtime/thread.hpp>

#include <array>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// Connected, or not. As `Stream`, whose words hold here.
///
/// **Thread safety.** One thread at a time.
class Channel {
    using IoResult = interlock::detail::IoResult;
    using IoStatus = interlock::detail::IoStatus;
    using Stream = interlock::detail::Stream;

public:
    explicit operator bool() const noexcept { return static_cast<bool>(stream_); }
    void close() noexcept { stream_.close(); }
    bool quiet() const noexcept { return stream_.quiet() && (!tls_ || tls_->session->empty()); }

    /// To where `options` say, TLS included. Failures are "not applied".
    Outcome<void> connect(Options const& options, TimePoint until)
    {
        if (options.tls && !options.tls_context)
            return no_tls();
        IoResult result;
        std::string why;
        tls_.reset();
        stream_ = options.unix_path.empty() ? Stream::connect_tcp(options.host, options.port, until, result, why)
                                            : Stream::connect_unix(options.unix_path, until, result, why);
        if (!stream_)
            return unreachable(options, why);
        if (!options.tls)
            return success();
        tls_ = std::make_unique<Tls>();
        tls_->session = options.tls_context->session(options.host);
        if (!tls_->session) {
            close();
            return no_tls_session();
        }
        return shake_hands(options, until);
    }

    /// `size` of the result is 0 only when nothing of `bytes` has left; through TLS it says no more than that.
    IoResult write(std::string_view bytes, TimePoint deadline)
    {
        if (!tls_)
            return stream_.write(bytes, deadline);
        try {
            while (!bytes.empty()) {
                auto const record = bytes.substr(0, TlsSession::record_size);
                bytes.remove_prefix(record.size());
                if (tls_->session->encrypt(record) != TlsStatus::ok) {
                    close();
                    return {IoStatus::failed, 0, EPROTO};
                }
            }
            return flush(deadline);
        } catch (std::bad_alloc const&) {  // half of a command must not stay behind for the next one
            close();
            return {IoStatus::failed, 0, ENOMEM};
        }
    }

    IoResult read_some(char* out, std::size_t size, TimePoint deadline, interlock::detail::Doorbell const* bell = nullptr)
    {
        if (!tls_)
            return stream_.read_some(out, size, deadline, bell);
        for (;;) {
            IoResult result;
            switch (tls_->session->decrypt(out, size, result.size)) {
            case TlsStatus::ok: return result;
            case TlsStatus::closed: return {IoStatus::closed, 0, 0};
            case TlsStatus::failed:
                static_cast<void>(flush(TimePoint::min()));  // tells the server why, if that goes without waiting
                return {IoStatus::failed, 0, EPROTO};
            case TlsStatus::more: break;
            }
            if (result = flush(deadline); result.status == IoStatus::timeout && bell != nullptr)
                return {IoStatus::failed, 0, ETIMEDOUT};  // half of a record may have left
            if (result.status != IoStatus::ok)
                return {result.status, 0, result.error};
            result = stream_.read_some(tls_->in.data(), tls_->in.size(), deadline, bell);
            if (result.status != IoStatus::ok)
                return result;
            if (!tls_->session->feed({tls_->in.data(), result.size}))
                return {IoStatus::failed, 0, ENOMEM};
        }
    }

    /// What TLS has to say about a failed or lost connection.
    std::optional<Failure> tls_failure() const
    {
        if (!tls_ || !tls_->session)
            return std::nullopt;
        auto failure = tls_->session->failure();
        return failure.detail().empty() ? std::nullopt : std::optional(std::move(failure));
    }

private:
    struct Tls {
        std::unique_ptr<TlsSession> session;
        std::string out;
        std::array<char, std::size_t{16} << 10> in;
    };

    static Failure unreachable(Options const& options, std::string const& why)
    {
        return Failure{Errc::unavailable, "redis: cannot connect to " + options.endpoint() + ": " + why};
    }

    Outcome<void> shake_hands(Options const& options, TimePoint until)
    {
        for (;;) {
            auto const status = tls_->session->handshake();
            auto result = flush(until);  // also when it failed: the server is told why
            if (status == TlsStatus::ok && result.status == IoStatus::ok)
                return success();
            if (status == TlsStatus::failed || status == TlsStatus::closed) {
                close();
                auto failure = tls_failure();
                return failure ? *std::move(failure) : unreachable(options, "the server ended the TLS handshake");
            }
            if (result.status == IoStatus::ok)
                result = stream_.read_some(tls_->in.data(), tls_->in.size(), until);
            if (result.status == IoStatus::ok && !tls_->session->feed({tls_->in.data(), result.size}))
                result = {IoStatus::failed, 0, ENOMEM};
            if (result.status == IoStatus::ok)
                continue;
            close();
            return unreachable(
                options, result.status == IoStatus::timeout
                             ? std::string(handshake_late)
                             : "the TLS handshake was cut off: " + Stream::explain(result));
        }
    }

    IoResult flush(TimePoint deadline)
    {
        tls_->out.clear();
        tls_->session->drain(tls_->out);
        return tls_->out.empty() ? IoResult{} : stream_.write(tls_->out, deadline);
    }

    Stream stream_;
    std::unique_ptr<Tls> tls_;
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_CHANNEL_HPP
