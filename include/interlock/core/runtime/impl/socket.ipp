// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_RUNTIME_IMPL_SOCKET_IPP
#define INTERLOCK_CORE_RUNTIME_IMPL_SOCKET_IPP

#include <interlock/core/runtime/socket.hpp>

namespace interlock {
inline namespace v0 {

namespace detail {

INTERLOCK_DECL bool unix_endpoint(std::string const& path, AsyncEndpoint& endpoint)
{
    if (path.size() >= sizeof(sockaddr_un::sun_path))
        return false;
    endpoint = boost::asio::local::stream_protocol::endpoint(path);
    return true;
}

INTERLOCK_DECL void set_no_delay(AsyncSocket& socket)
{
    boost::system::error_code ignored;  // a unix socket knows no such option
    socket.set_option(boost::asio::ip::tcp::no_delay(true), ignored);
}

INTERLOCK_DECL bool quiet(AsyncSocket& socket) noexcept
{
    char byte = 0;
    auto const got = ::recv(socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

}  // namespace detail

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_RUNTIME_IMPL_SOCKET_IPP
