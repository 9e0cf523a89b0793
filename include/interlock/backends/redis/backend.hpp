// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_BACKEND_HPP
#define INTERLOCK_BACKENDS_REDIS_BACKEND_HPP

/// @file
/// The Redis backend as `open` knows it.

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/idempotency_store.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/core/any_idempotency_store.hpp>
#include <interlock/core/open.hpp>  // IWYU pragma: export
#include <interlock/core/state_repository.hpp>

#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace redis {

/// For `open<T>("redis://localhost", redis::backend)`. The URL is that of `Options::parse`; a bad one throws
/// `Error` (`invalid_argument`) without its text. Does not connect: that a server is not there says the first
/// call. States of different types need different name spaces: `redis://localhost?name_space=accounts`.
struct Backend {
    std::string_view scheme{"redis"};

    /// A repository of the name space that the URL names, on a client of its own.
    template <class T>
    interlock::StateRepository<T> open(std::string_view url) const
    {
        return open_client<T>(Client{url});
    }
    AnyIdempotencyStore open_idempotency_store(std::string_view url) const
    {
        return IdempotencyStore{Client{url}};
    }

    /// The same on a client that is there already.
    template <class T>
    static interlock::StateRepository<T> open_client(Client const& client)
    {
        if constexpr (KeyedState<T>)
            return StateRepository<T>{client};
        else
            return StateRepository<T, std::string>{client};
    }
};

/// For `open<T>(url, redis::backend)`: URLs that begin with `redis:`.
inline constexpr Backend backend{};
/// `open` chooses by one scheme, so each other one is an entry of its own. This one has no TLS and says so:
/// `redis::TlsBackend` of `backends/redis/tls.hpp` has.
inline constexpr Backend tls_backend{"rediss"};
inline constexpr Backend unix_backend{"unix"};

}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_BACKEND_HPP
