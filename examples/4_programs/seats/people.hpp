// SPDX-License-Identifier: BSL-1.0

#ifndef SEATS_PEOPLE_HPP
#define SEATS_PEOPLE_HPP

// The other side of the wire.

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>

namespace seats {

/// Ann and Bob look at seat C4, and both take it. Whether one of them has it, and the other one was told who.
boost::asio::awaitable<bool> two_want_one(boost::asio::ip::tcp::endpoint server);

}  // namespace seats

#endif  // SEATS_PEOPLE_HPP
