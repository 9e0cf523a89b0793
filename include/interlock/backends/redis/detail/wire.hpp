// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_WIRE_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_WIRE_HPP

// A connection as the pipeline's strand sees it: a socket, and what makes replies of its bytes.

#include <interlock/backends/redis/detail/error.hpp>
#include <interlock/backends/redis/detail/hiredis.hpp>
#include <interlock/backends/redis/reply.hpp>
#include <interlock/core/kit/net/tls_session.hpp>
#include <interlock/core/kit/net/tls_stream.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/runtime/socket.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/system/error_code.hpp>

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// What a connection consists of. Belongs to the execution context, and is used on the strand only.
struct Wire {
    [[gnu::cold]] explicit Wire(boost::asio::any_io_executor const& executor)
        : strand(executor), socket(strand), resolver(strand)
    {}

    [[gnu::cold]] void close_socket()
    {
        boost::system::error_code ignored;
        socket.close(ignored);
    }

    /// Takes what the server has sent, through TLS where there is TLS. Calls `take(Reply*)` for each whole
    /// reply, with null for one that was too large; it returns what is wrong with the reply, or null. Returns
    /// what is wrong, if anything.
    template <class Take>
    std::optional<Failure> take_in(std::string_view bytes, Take take)
    {
        char const* wrong = nullptr;
        if (!tls) {
            wrong = take_replies(bytes, take);
        } else {
            auto const status = tls->open(bytes, [&](std::string_view plain) {
                wrong = take_replies(plain, take);
                return wrong == nullptr;
            });
            if (status == TlsStatus::closed)
                return Failure{Errc::unavailable, "redis: the connection was lost: the server closed it"};
            if (status == TlsStatus::failed) {
                auto const failure = tls->session().failure();
                return Failure{
                    Errc::unavailable,
                    failure.detail().empty() ? "redis: TLS: no memory" : std::string(failure.detail())};
            }
        }
        if (wrong == nullptr)
            return std::nullopt;
        return Failure{Errc::corrupt_state, wrong};
    }

    /// False: TLS failed. `batch` stays as it is until all of it was written, or the write was given up.
    bool begin_to_write(std::string_view batch)
    {
        rest_ = batch;
        return !tls || tls->seal(batch);
    }
    /// What is left of the batch, as it goes over the wire.
    std::string_view unwritten() const noexcept { return tls ? tls->unwritten() : rest_; }
    /// So many bytes of `unwritten()` were written. Returns the bytes of the batch that may have reached the
    /// server.
    std::size_t wrote(std::size_t size)
    {
        if (tls)
            return tls->wrote(size);
        rest_.remove_prefix(size);
        return size;
    }
    /// Whether all that the server has sent was taken.
    bool nothing_left() const noexcept { return reader->empty() && (!tls || tls->session().empty()); }

    interlock::detail::IoStrand strand;
    interlock::detail::AsyncSocket socket;
    interlock::detail::AsyncResolver resolver;
    std::optional<ReplyReader> reader;  // a connection has one of its own
    Reply reply;                        // what was read last; kept for its memory
    std::unique_ptr<TlsStream> tls;     // from the handshake on, until the next connection; null in the clear
    std::array<char, std::size_t{64} << 10> buffer;

private:
    static constexpr std::size_t feed_size = std::size_t{4}
                                             << 10;  // hiredis moves the rest after each kilobyte

    template <class Take>
    char const* take_replies(std::string_view bytes, Take& take)
    {
        while (!bytes.empty()) {
            auto const part = bytes.substr(0, feed_size);
            bytes.remove_prefix(part.size());
            reader->feed(part);
            for (;;) {
                auto const status = reader->next(reply);
                if (status == ReplyReader::Status::more)
                    break;
                if (status == ReplyReader::Status::broken)
                    return reader->too_large() ? large_reply.data()
                                               : "redis: what the server sent is no reply";
                if (auto const* const wrong = take(status == ReplyReader::Status::large ? nullptr : &reply))
                    return wrong;
            }
        }
        return nullptr;
    }

    std::string_view rest_;  // of the batch: not written yet, where it goes in the clear
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_WIRE_HPP
