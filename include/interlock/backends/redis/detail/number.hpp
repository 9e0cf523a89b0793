// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_NUMBER_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_NUMBER_HPP

// Numbers that come as text: in URLs, in replies and in what is stored.

#include <interlock/core/kit/net/url.hpp>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

using interlock::detail::parse_number;

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_NUMBER_HPP
