// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_NET_IMPL_TLS_HANDSHAKE_IPP
#define INTERLOCK_CORE_KIT_NET_IMPL_TLS_HANDSHAKE_IPP

#include <interlock/core/kit/net/tls_handshake.hpp>

namespace interlock {
inline namespace v0 {

INTERLOCK_DECL HandshakeAction TlsHandshake::sent()
{
    output_.clear();
    switch (status_) {
    case TlsStatus::ok: return HandshakeAction::done;
    case TlsStatus::more: return HandshakeAction::receive;
    case TlsStatus::closed:
    case TlsStatus::failed: break;
    }
    return fail("the server ended the TLS handshake");
}

INTERLOCK_DECL HandshakeAction TlsHandshake::received(std::string_view bytes)
{
    return session_.feed(bytes) ? advance() : fail("no memory for TLS");
}

INTERLOCK_DECL HandshakeAction TlsHandshake::lost(HandshakeLoss loss, std::string_view why)
{
    // The session had failed, and the server was about to be told: that explains more than the loss of
    // the connection.
    if (status_ == TlsStatus::failed || status_ == TlsStatus::closed)
        return sent();
    timed_out_ = loss == HandshakeLoss::timed_out;
    if (timed_out_)
        return fail("the TLS handshake was not finished in time; does the server speak TLS at this port?");
    return fail("the TLS handshake was cut off: " + std::string(why));
}

INTERLOCK_DECL HandshakeAction TlsHandshake::advance()
{
    status_ = session_.handshake();
    output_.clear();
    session_.drain(output_);
    // Also when it failed: the server is told why.
    return output_.empty() ? sent() : HandshakeAction::send;
}

INTERLOCK_DECL HandshakeAction TlsHandshake::fail(std::string why)
{
    why_ = std::move(why);
    return HandshakeAction::failed;
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_NET_IMPL_TLS_HANDSHAKE_IPP
