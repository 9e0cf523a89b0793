// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_NET_IMPL_CHANNEL_IPP
#define INTERLOCK_CORE_KIT_NET_IMPL_CHANNEL_IPP

#include <interlock/core/kit/net/channel.hpp>

namespace interlock {
inline namespace v0 {

INTERLOCK_DECL bool Channel::connect(Endpoint const& endpoint, TimePoint until, std::string& why)
{
    IoResult result;
    tls_.reset();
    stream_ = endpoint.unix_path.empty()
                  ? Stream::connect_tcp(endpoint.host, endpoint.port, until, result, why)
                  : Stream::connect_unix(endpoint.unix_path, until, result, why);
    return static_cast<bool>(stream_);
}

INTERLOCK_DECL void Channel::use_tls(std::unique_ptr<TlsSession> session)
{
    tls_ = std::make_unique<Tls>();
    tls_->session = std::move(session);
}

INTERLOCK_DECL detail::IoResult Channel::write(std::string_view bytes, TimePoint deadline)
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

INTERLOCK_DECL detail::IoResult
Channel::read_some(char* out, std::size_t size, TimePoint deadline, detail::Doorbell const* bell)
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
        result = stream_.read_some(tls_->cipher.data(), tls_->cipher.size(), deadline, bell);
        if (result.status != IoStatus::ok)
            return result;
        if (!tls_->session->feed({tls_->cipher.data(), result.size}))
            return {IoStatus::failed, 0, ENOMEM};
    }
}

INTERLOCK_DECL std::optional<Failure> Channel::tls_failure() const
{
    if (!tls_ || !tls_->session)
        return std::nullopt;
    auto failure = tls_->session->failure();
    return failure.detail().empty() ? std::nullopt : std::optional(std::move(failure));
}

INTERLOCK_DECL detail::IoResult Channel::flush(TimePoint deadline)
{
    tls_->out.clear();
    tls_->session->drain(tls_->out);
    return tls_->out.empty() ? IoResult{} : stream_.write(tls_->out, deadline);
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_NET_IMPL_CHANNEL_IPP
