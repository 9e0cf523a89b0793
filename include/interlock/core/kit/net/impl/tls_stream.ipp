// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_NET_IMPL_TLS_STREAM_IPP
#define INTERLOCK_CORE_KIT_NET_IMPL_TLS_STREAM_IPP

#include <interlock/core/kit/net/tls_stream.hpp>

namespace interlock {
inline namespace v0 {

INTERLOCK_DECL bool TlsStream::seal(std::string_view batch)
{
    sealed_.clear();
    written_ = 0;
    records_.clear();
    while (!batch.empty()) {
        auto const part = batch.substr(0, TlsSession::record_size);
        batch.remove_prefix(part.size());
        records_.push_back({sealed_.size(), part.size()});
        if (session_->encrypt(part) != TlsStatus::ok)
            return false;
        session_->drain(sealed_);
    }
    return true;
}

INTERLOCK_DECL std::size_t TlsStream::wrote(std::size_t size)
{
    written_ += size;
    std::size_t plain = 0;
    for (; !records_.empty() && records_.front().begin < written_; records_.pop_front())
        plain += records_.front().plain;
    return plain;
}

INTERLOCK_DECL void TlsStream::shrink(std::size_t bound)
{
    if (sealed_.capacity() > bound)
        sealed_ = {};
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_NET_IMPL_TLS_STREAM_IPP
