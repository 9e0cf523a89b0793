// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_HANDSHAKE_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_HANDSHAKE_HPP

// From a connected socket to a connection that may be used: TLS, the greeting, and what the server says to
// both.
//
// A machine without I/O: its driver writes `output()`, hands over what it reads, and reports losses. The
// blocking connection and the pipeline drive the same machine, so that the rules are written once:
// * through TLS nothing of the greeting, the password least of all, is sent before the TLS session is ready;
// * whoever is not let in (login, database, a server that loads its data) has a connection of no use;
// * the connection is ready only when every reply to the greeting was read, and not a byte more has come:
// what follows would be taken for the reply to the first command;
// * every failure is "not applied", since no command of a user was sent.

#include <interlock/backends/redis/detail/greeting.hpp>
#include <interlock/backends/redis/detail/hiredis.hpp>
#include <interlock/backends/redis/detail/life.hpp>
#include <interlock/backends/redis/options.hpp>
#include <interlock/backends/redis/reply.hpp>
#include <interlock/core/kit/net/tls_handshake.hpp>
#include <interlock/core/kit/net/tls_session.hpp>
#include <interlock/core/outcome.hpp>

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

[[gnu::cold]] inline Failure cannot_connect(Options const& options, std::string_view why)
{
    return Failure{
        Errc::unavailable, "redis: cannot connect to " + options.endpoint() + ": " + std::string(why)};
}

/// A session for a new connection; null where the options ask for none. The context is there: see
/// `missing_tls`.
[[gnu::cold]] inline Outcome<std::unique_ptr<TlsSession>> new_tls_session(Options const& options)
{
    if (!options.tls)
        return std::unique_ptr<TlsSession>{};
    auto session = options.tls_context->session(options.host);
    if (!session)
        return Failure{Errc::unavailable, "redis: TLS: no session can be made for this host"};
    return session;
}

/// Makes one connection ready.
///
/// **Thread safety.** One thread at a time.
class Handshake {
public:
    /// Everything that is passed by reference or pointer outlives it. `tls`: null in the clear. `reader` is
    /// new; `reply` becomes the last reply that was read. `life`: null where nobody cares which server it is.
    [[gnu::cold]] Handshake(
        Options const& options, TlsSession* tls, ReplyReader& reader, Reply& reply, Life* life)
        : options_(options), tls_(tls), reader_(reader), reply_(reply), greeting_(options, life)
    {
        if (tls != nullptr)
            secure_.emplace(*tls);
    }

    [[gnu::cold]] HandshakeAction begin() { return secure_ ? secured(secure_->begin()) : greet(); }

    /// What is to be sent, as it goes over the wire. Stays as it is until the next event.
    std::string_view output() const noexcept
    {
        return secure_ ? secure_->output() : tls_ != nullptr ? std::string_view{sealed_} : greeting_.bytes();
    }

    [[gnu::cold]] HandshakeAction sent()
    {
        if (secure_)
            return secured(secure_->sent());
        greeting_.forget();
        sent_ = true;
        return HandshakeAction::receive;
    }

    [[gnu::cold]] HandshakeAction received(std::string_view bytes)
    {
        if (secure_)
            return secured(secure_->received(bytes));
        if (tls_ == nullptr)
            reader_.feed(bytes);
        else if (!open(bytes))
            return fail("the server closed it");
        return judge();
    }

    /// The driver could not send or receive.
    [[gnu::cold]] HandshakeAction lost(HandshakeLoss loss, std::string_view why)
    {
        if (secure_) {
            auto const action = secure_->lost(loss, why);
            late_ = secure_->timed_out();
            return secured(action);
        }
        late_ = loss == HandshakeLoss::timed_out;
        if (!late_ && tls_ == nullptr && !std::exchange(sent_, true)) {
            // A server that takes nobody says why and closes, perhaps before it was greeted.
            greeting_.forget();
            unsent_ = why;
            return HandshakeAction::receive;
        }
        return fail(late_ ? "timed out" : unsent_.empty() ? why : std::string_view{unsent_});
    }

    /// Why it failed.
    Failure const& failure() const noexcept { return *failure_; }

private:
    [[gnu::cold]] HandshakeAction secured(HandshakeAction action)
    {
        if (action == HandshakeAction::failed)
            return fail(secure_->why());
        if (action != HandshakeAction::done)
            return action;
        secure_.reset();
        return greet();
    }

    [[gnu::cold]] HandshakeAction greet()
    {
        if (greeting_.replies() == 0)
            return HandshakeAction::done;
        if (tls_ == nullptr)
            return HandshakeAction::send;
        for (auto plain = greeting_.bytes(); !plain.empty();) {
            auto const part = plain.substr(0, TlsSession::record_size);
            plain.remove_prefix(part.size());
            if (tls_->encrypt(part) != TlsStatus::ok)
                return fail("TLS failed");
        }
        tls_->drain(sealed_);
        return HandshakeAction::send;
    }

    /// False: the session is over.
    [[gnu::cold]] bool open(std::string_view bytes)
    {
        if (!tls_->feed(bytes))
            return false;
        std::array<char, 4096> plain;
        for (;;) {
            std::size_t got = 0;
            auto const status = tls_->decrypt(plain.data(), plain.size(), got);
            if (status != TlsStatus::ok)
                return status == TlsStatus::more;
            reader_.feed({plain.data(), got});
        }
    }

    /// What the server has said so far.
    [[gnu::cold]] HandshakeAction judge()
    {
        for (;;) {
            auto const status = reader_.next(reply_);
            if (status == ReplyReader::Status::more)
                return HandshakeAction::receive;
            if (status != ReplyReader::Status::ready)
                return fail("what the server sent is no reply");
            if (auto refused = greeting_.refused(++heard_, reply_.root())) {
                failure_ = std::move(refused);
                return HandshakeAction::failed;
            }
            if (heard_ < greeting_.replies())
                continue;
            if (!unsent_.empty())
                return fail(unsent_);
            if (reader_.empty() && (tls_ == nullptr || tls_->empty()))
                return HandshakeAction::done;
            return fail("the server sent what nobody asked for");
        }
    }

    /// TLS knows more about it than the driver, unless it was just too slow.
    [[gnu::cold]] HandshakeAction fail(std::string_view why)
    {
        if (tls_ != nullptr && !late_)
            if (auto failure = tls_->failure(); !failure.detail().empty())
                failure_ = std::move(failure);
        if (!failure_)
            failure_ = cannot_connect(options_, why);
        return HandshakeAction::failed;
    }

    Options const& options_;
    TlsSession* tls_;
    ReplyReader& reader_;
    Reply& reply_;
    std::optional<TlsHandshake>
        secure_;  // until the session is ready; from then on only the greeting is left
    Greeting greeting_;
    std::string sealed_;  // the greeting as it goes over the wire through TLS
    bool sent_{false};    // the greeting, or as much of it as was to be
    std::string unsent_;  // why it could not be sent; empty: it was
    int heard_{0};        // replies to the greeting
    bool late_{false};    // it failed for want of time only, which TLS knows nothing of
    std::optional<Failure> failure_;
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_HANDSHAKE_HPP
