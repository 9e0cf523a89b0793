// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_CONNECTOR_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_CONNECTOR_HPP

// How the pipeline gets a connection: looks the name up, tries its addresses, and drives the handshake.

#include <interlock/backends/redis/detail/handshake.hpp>
#include <interlock/backends/redis/detail/hiredis.hpp>
#include <interlock/backends/redis/detail/life.hpp>
#include <interlock/backends/redis/detail/wire.hpp>
#include <interlock/backends/redis/options.hpp>
#include <interlock/core/kit/net/tls_handshake.hpp>
#include <interlock/core/kit/net/tls_stream.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/runtime/socket.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/system/error_code.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// One error's words, where the end of the stream is the server's doing.
[[gnu::cold]] inline std::string why_lost(boost::system::error_code error)
{
    return error == boost::asio::error::eof ? std::string("the server closed it") : error.message();
}

/// One attempt after the other. Its `Owner` has
///
/// | member | meaning |
/// |---|---|
/// | `wire()` | the connection to be |
/// | `options()`, `life()` | where to connect to; whom to tell which server it is, or null |
/// | `connecting()` | false: nobody waits for this attempt any more |
/// | `connected()`, `connect_failed(Failure)` | how an attempt ends |
/// | `connector()` | this |
/// | `Transfer` | a handler of reads and writes: made of the owner and of what to call with it |
///
/// **Thread safety.** On the owner's strand.
template <class Owner>
class Connector {
    using Error = boost::system::error_code;
    using Self = std::shared_ptr<Owner>;  // keeps the owner, and this with it, while something is under way

public:
    explicit Connector(Owner& owner) noexcept : owner_(owner) {}

    [[gnu::cold]] void start(Self self)
    {
        timed_out_ = false;
        endpoints_.clear();
        next_endpoint_ = 0;
        owner_.wire().tls.reset();
        auto const& options = owner_.options();
        if (options.unix_path.empty())
            return owner_.wire().resolver.resolve(
                options.host, options.port,
                [this, self = std::move(self)](
                    Error error, std::vector<interlock::detail::AsyncEndpoint> found) mutable {
                    auto const silent = std::find(found.begin(), found.end(), silent_);
                    if (silent != found.end())
                        std::rotate(found.begin(), silent + 1, found.end());
                    endpoints_ = std::move(found);
                    connect_next(std::move(self), error);
                });
        interlock::detail::AsyncEndpoint endpoint;
        if (!interlock::detail::unix_endpoint(options.unix_path, endpoint))
            return fail("the path is too long");
        endpoints_.push_back(endpoint);
        connect_next(std::move(self), {});
    }

    /// The time for this attempt is over. An address that does not answer may hide others that would: the
    /// next attempt begins behind it.
    [[gnu::cold]] void stop()
    {
        if (std::exchange(timed_out_, true))
            return;
        if (next_endpoint_ > 0)
            silent_ = endpoints_[next_endpoint_ - 1];
        owner_.wire().resolver.cancel();
        owner_.wire().close_socket();
    }

private:
    [[gnu::cold]] void connect_next(Self self, Error error)
    {
        if (!owner_.connecting())
            return;
        if (timed_out_ || next_endpoint_ == endpoints_.size())
            return fail(timed_out_ ? "timed out" : error.message());
        auto& socket = owner_.wire().socket;
        owner_.wire().close_socket();
        socket.async_connect(
            endpoints_[next_endpoint_++], [this, self = std::move(self)](Error result) mutable {
                if (result)
                    return connect_next(std::move(self), result);
                shake_hands(std::move(self));
            });
    }

    [[gnu::cold]] void shake_hands(Self self)
    {
        if (!owner_.connecting())
            return;
        if (timed_out_)
            return fail("timed out");
        auto& wire = owner_.wire();
        auto const& options = owner_.options();
        if (options.unix_path.empty())
            interlock::detail::set_no_delay(wire.socket);
        auto session = new_tls_session(options);
        if (!session)
            return owner_.connect_failed(std::move(session).failure());
        if (*session)
            wire.tls = std::make_unique<TlsStream>(*std::move(session));
        wire.reader.emplace(ReplyLimits{options.max_reply_bytes});
        handshake_ = std::make_unique<Handshake>(
            options, wire.tls ? &wire.tls->session() : nullptr, *wire.reader, wire.reply, owner_.life());
        go_on(std::move(self), handshake_->begin());
    }

    /// Carries out what the handshake asks for.
    [[gnu::cold]] void go_on(Self self, HandshakeAction action)
    {
        auto& wire = owner_.wire();
        switch (action) {
        case HandshakeAction::send: unsent_ = handshake_->output(); return send(std::move(self));
        case HandshakeAction::receive:
            return wire.socket.async_read_some(
                boost::asio::buffer(wire.buffer),
                typename Owner::Transfer{std::move(self), [](Self owner, Error error, std::size_t size) {
                                             auto& me = owner->connector();
                                             me.on_received(std::move(owner), error, size);
                                         }});
        case HandshakeAction::done: handshake_.reset(); return owner_.connected();
        case HandshakeAction::failed:
            return owner_.connect_failed(std::exchange(handshake_, nullptr)->failure());
        }
    }
    [[gnu::cold]] void send(Self self)
    {
        owner_.wire().socket.async_write_some(
            boost::asio::buffer(unsent_.data(), unsent_.size()),
            typename Owner::Transfer{std::move(self), [](Self owner, Error error, std::size_t size) {
                                         auto& me = owner->connector();
                                         me.on_sent(std::move(owner), error, size);
                                     }});
    }
    [[gnu::cold]] void on_sent(Self self, Error error, std::size_t size)
    {
        if (!owner_.connecting())
            return;
        unsent_.remove_prefix(size);
        if (!error && !unsent_.empty())
            return send(std::move(self));
        go_on(std::move(self), error ? lost(error) : handshake_->sent());
    }
    [[gnu::cold]] void on_received(Self self, Error error, std::size_t size)
    {
        if (owner_.connecting())
            go_on(
                std::move(self),
                error ? lost(error) : handshake_->received({owner_.wire().buffer.data(), size}));
    }
    [[gnu::cold]] HandshakeAction lost(Error error)
    {
        return handshake_->lost(
            timed_out_ ? HandshakeLoss::timed_out : HandshakeLoss::broken, why_lost(error));
    }
    [[gnu::cold]] void fail(std::string const& why)
    {
        owner_.connect_failed(cannot_connect(owner_.options(), why));
    }

    Owner& owner_;
    bool timed_out_{false};  // the present attempt has taken too long; its handlers come back and find this
    std::vector<interlock::detail::AsyncEndpoint> endpoints_;  // of the server's name
    std::size_t next_endpoint_{0};                             // to be tried next
    interlock::detail::AsyncEndpoint silent_;                  // the last one that has not answered
    std::unique_ptr<Handshake> handshake_;                     // once a socket is connected
    std::string_view unsent_;                                  // of what the handshake sends at present
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_CONNECTOR_HPP
