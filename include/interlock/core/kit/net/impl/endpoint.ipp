// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_NET_IMPL_ENDPOINT_IPP
#define INTERLOCK_CORE_KIT_NET_IMPL_ENDPOINT_IPP

#include <interlock/core/kit/net/endpoint.hpp>

namespace interlock {
inline namespace v0 {

INTERLOCK_DECL std::string Endpoint::text() const
{
    if (!unix_path.empty())
        return "unix:" + unix_path;
    return (host.find(':') != std::string::npos ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_NET_IMPL_ENDPOINT_IPP
