// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_CONNECTION_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_CONNECTION_HPP

// One connection of which the calling thread does the reading and writing.

#include <interlock/backends/redis/access.hpp>
#include <interlock/backends/redis/detail/error.hpp>
#include <interlock/backends/redis/detail/handshake.hpp>
#include <interlock/backends/redis/detail/hiredis.hpp>
#include <interlock/backends/redis/options.hpp>
#include <interlock/backends/redis/reply.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/kit/net/channel.hpp>
#include <interlock/core/kit/net/endpoint.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/runtime/stream.hpp>

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// A connection to a server, open or broken. When a reply is not read to its end the connection is closed for
/// good, so that a late reply is never taken for the reply to another command.
///
/// **Thread safety.** One thread at a time.
class Connection {
public:
    explicit Connection(Options const& options) : reader_(ReplyLimits{options.max_reply_bytes}) {}
    Connection(Connection const&) = delete;
    Connection& operator=(Connection const&) = delete;

    bool open() const noexcept { return static_cast<bool>(channel_); }
    void close() noexcept { channel_.close(); }
    /// Still there, and with nothing to read: fit for a next command.
    bool fit() const noexcept { return open() && reader_.empty() && channel_.quiet(); }
    bool reusable() const noexcept { return open(); }

    /// Connects, by `until` at the latest, and carries out the `Handshake`. Failures are "not applied": no
    /// command of the caller was sent.
    [[gnu::cold]] Outcome<void> connect(Options const& options, TimePoint until, Life* life = nullptr)
    {
        if (auto failure = missing_tls(options))
            return *std::move(failure);
        std::string why;
        if (!channel_.connect(Endpoint{options.host, options.port, options.unix_path}, until, why))
            return cannot_connect(options, why);
        auto session = new_tls_session(options);
        if (!session) {
            channel_.close();
            return std::move(session).failure();
        }
        if (*session)
            channel_.use_tls(*std::move(session));
        Handshake handshake{options, channel_.tls(), reader_, reply_, life};
        if (!channel_.run(handshake, buffer_, until))
            return handshake.failure();
        return success();
    }

    /// Sends one command and reads its reply, which stays in `reply()` until the next one is read. An error
    /// reply of the server is a reply. Failures: `unavailable` when nothing was written; `unavailable` or
    /// `deadline_exceeded` for a command that reads; `outcome_unknown` for a write of which a byte may have
    /// left.
    Outcome<void> exchange(std::string_view command, Access access, TimePoint deadline)
    {
        auto const written = channel_.write(command, deadline);
        if (written.status != interlock::detail::IoStatus::ok) {
            channel_.close();
            if (written.size == 0) {
                unsent_ = true;
                return lost(Access::read, written);
            }
            return lost(access, written);
        }
        return receive(reply_, access, deadline);
    }

    /// Reads the next reply, or, for a subscriber, the next message. A subscriber passes a `bell`: when the
    /// bell is rung or the deadline comes, `interrupted` becomes true, and the connection is as it was.
    Outcome<void> receive(
        Reply& out, Access access, TimePoint deadline, interlock::detail::Doorbell const* bell = nullptr,
        bool* interrupted = nullptr)
    {
        for (;;) {
            switch (reader_.next(out)) {
            case ReplyReader::Status::ready: return success();
            case ReplyReader::Status::large:
                if (access != Access::read)
                    return Failure::unknown(Errc::corrupt_state, std::string(large_reply));
                return Failure{Errc::corrupt_state, std::string(large_reply)};
            case ReplyReader::Status::broken: {
                channel_.close();
                auto const what = std::string(
                    reader_.too_large() ? large_reply : "redis: what the server sent is no reply");
                if (access != Access::read)
                    return Failure::unknown(Errc::corrupt_state, what);
                return Failure{Errc::corrupt_state, what};
            }
            case ReplyReader::Status::more: break;
            }
            auto const got = channel_.read_some(buffer_.data(), buffer_.size(), deadline, bell);
            if (bell != nullptr && (got.status == interlock::detail::IoStatus::interrupted ||
                                    got.status == interlock::detail::IoStatus::timeout)) {
                *interrupted = true;
                return success();
            }
            if (got.status != interlock::detail::IoStatus::ok) {
                channel_.close();
                return lost(access, got);
            }
            reader_.feed({buffer_.data(), got.size});
        }
    }

    /// Writes without waiting for a reply: for a subscriber.
    Outcome<void> send(std::string_view command, TimePoint deadline)
    {
        auto const written = channel_.write(command, deadline);
        if (written.status == interlock::detail::IoStatus::ok)
            return success();
        channel_.close();
        return lost(Access::read, written);
    }

    ReplyView reply() const noexcept { return reply_.root(); }
    /// Whether the last failure of `exchange` came before the first byte was written.
    bool unsent() const noexcept { return unsent_; }

private:
    [[gnu::cold]] Failure lost(Access access, interlock::detail::IoResult const& result) const
    {
        bool const late = result.status == interlock::detail::IoStatus::timeout;
        auto const code = late ? Errc::deadline_exceeded : Errc::unavailable;
        auto const secured = channel_.tls_failure();
        auto detail = late ? std::string("redis: no reply within the deadline")
                      : secured
                          ? secured->detail()
                          : "redis: the connection was lost: " + interlock::detail::Stream::explain(result);
        if (access != Access::read)
            return Failure::unknown(code, std::move(detail));
        return Failure{code, std::move(detail)};
    }

    Channel channel_;
    ReplyReader reader_;
    Reply reply_;  // kept for its memory
    bool unsent_{false};
    std::array<char, std::size_t{16} << 10> buffer_;
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_CONNECTION_HPP
