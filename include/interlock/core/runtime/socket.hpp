// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_RUNTIME_SOCKET_HPP
#define INTERLOCK_CORE_RUNTIME_SOCKET_HPP

/// @file
/// A stream of bytes to a store that an executor drives: the asynchronous twin of `stream.hpp`. TCP and unix
/// sockets are one type, so that the code above is written once:
///
///     AsyncSocket socket{strand};
///     AsyncEndpoint endpoint;
///     if (unix_endpoint("/run/store.sock", endpoint))
///         socket.async_connect(endpoint, [](error_code error) { ... });
///
/// Everything of one connection happens on its strand; nothing here may be called from elsewhere.

#include <interlock/fwd.hpp>
#include <interlock/separate_compilation.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/strand.hpp>
#include <boost/system/error_code.hpp>

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

/// All handlers of one connection run on one strand, so that its state needs no mutex.
using IoStrand = boost::asio::strand<boost::asio::any_io_executor>;
/// A socket of either kind.
using AsyncSocket = boost::asio::basic_stream_socket<boost::asio::generic::stream_protocol, IoStrand>;
/// An address of either kind.
using AsyncEndpoint = boost::asio::generic::stream_protocol::endpoint;

/// Turns host names into endpoints. One look-up at a time.
class AsyncResolver {
public:
    explicit AsyncResolver(IoStrand const& strand) : resolver_(strand) {}

    /// Looks `host` up and calls `done(error_code, std::vector<AsyncEndpoint>)` on the strand. How long the
    /// look-up takes is the system's business: cancelling may not end it before the system does.
    template <class F>
    void resolve(std::string const& host, std::uint16_t port, F done)
    {
        resolver_.async_resolve(
            host, std::to_string(port),
            [done = std::move(done)](
                boost::system::error_code error, Resolver::results_type const& found) mutable {
                std::vector<AsyncEndpoint> endpoints;
                for (auto const& entry : found)
                    endpoints.emplace_back(entry.endpoint());
                done(error, std::move(endpoints));
            });
    }
    /// Ends the look-up, soon: `done` is still called, with `operation_aborted`.
    void cancel() { resolver_.cancel(); }

private:
    using Resolver = boost::asio::ip::basic_resolver<boost::asio::ip::tcp, IoStrand>;
    Resolver resolver_;
};

/// The endpoint of a unix socket. False when `path` is longer than the system takes.
bool unix_endpoint(std::string const& path, AsyncEndpoint& endpoint);

/// Switches off Nagle's delay, which would keep the last packet of a command back. On a unix socket nothing
/// happens.
void set_no_delay(AsyncSocket& socket);

/// Whether the other side is still there, as far as this side knows, and has sent nothing that is not read
/// yet.
bool quiet(AsyncSocket& socket) noexcept;

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/runtime/impl/socket.ipp>
#endif

#endif  // INTERLOCK_CORE_RUNTIME_SOCKET_HPP
