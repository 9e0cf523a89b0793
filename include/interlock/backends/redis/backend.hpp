// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_BACKEND_HPP
#define INTERLOCK_BACKENDS_REDIS_BACKEND_HPP

/// @file
/// The Redis backend as `open` knows it, for a program whose store is named by its configuration:
///
///     auto const stock = interlock::open<Stock>(
///         config.url, interlock::redis::backend, interlock::redis::unix_backend);
///     interlock::TransactionService<Stock> service{interlock::SetNxLock{}, stock};
///     service.do_in_transaction("sku-1", [](Stock& s) { return --s.quantity; });

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/fwd.hpp>
#include <interlock/backends/redis/idempotency_store.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/core/contracts/any_idempotency_store.hpp>
#include <interlock/core/open.hpp>  // IWYU pragma: export
#include <interlock/core/state_repository.hpp>

#include <concepts>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace redis {

namespace detail {

template <class Events>
constexpr void check_that_events_are_included() noexcept
{
    static_assert(
        requires { sizeof(Events); }, "write #include <interlock/backends/redis/event_repository.hpp>");
}

}  // namespace detail

/// For `open<T>("redis://localhost", redis::backend)`. The URL is that of `Options::parse`; a bad one throws
/// `Error` (`invalid_argument`) without its text. Does not connect: that a server is not there says the first
/// call. States of different types need different name spaces: `redis://localhost?name_space=accounts`.
struct Backend {
    /// What the URLs begin with that this entry is for.
    std::string_view scheme{"redis"};

    /// A repository of the name space that the URL names, on a client of its own.
    template <class T>
    interlock::StateRepository<T> open(std::string_view url) const
    {
        return open_client<T>(Client{url});
    }
    /// The same, whose operations record into `events`. Throws `Error` (`misconfigured`) where `events` is no
    /// log of the server and the name space that the URL names. Like `open_events` it needs
    /// `backends/redis/event_repository.hpp`.
    template <class T, class Events = EventRepository, std::same_as<AnyEventRepository> Any>
    interlock::StateRepository<T> open(std::string_view url, Any const& events) const
    {
        return open_client<T, Events>(Client{url}, events);
    }
    /// The log of that name space, on a client of its own, with the default `EventRepositoryOptions`.
    template <class Events = EventRepository>
    auto open_events(std::string_view url) const
    {
        detail::check_that_events_are_included<Events>();
        return Events{Client{url}};
    }
    /// The idempotency records of that name space, likewise.
    AnyIdempotencyStore open_idempotency_store(std::string_view url) const
    {
        return IdempotencyStore{Client{url}};
    }

    /// A repository on a client that is there already. A scalar state has no key member, so its keys are
    /// texts.
    template <class T>
    static interlock::StateRepository<T> open_client(Client const& client)
    {
        if constexpr (KeyedState<T>)
            return StateRepository<T>{client};
        else
            return StateRepository<T, std::string>{client};
    }
    /// The same, whose operations record into `events`: a log of the server and the name space of `client`.
    template <class T, class Events = EventRepository, std::same_as<AnyEventRepository> Any>
    static interlock::StateRepository<T> open_client(Client const& client, Any const& events)
    {
        detail::check_that_events_are_included<Events>();
        auto const* const log = events.template held<Events>();
        if (log == nullptr || Events{client}.identity() != log->identity())
            throw Error(
                Errc::misconfigured,
                "the states at this URL record into a log of the same server and name "
                "space, and this is another one, of '" +
                    std::string(events.store_name()) + "'");
        RepositoryOptions options;
        options.events = *log;
        if constexpr (KeyedState<T>)
            return StateRepository<T>{client, options};
        else
            return StateRepository<T, std::string>{client, options};
    }
};

/// For `open<T>(url, redis::backend)`: URLs that begin with `redis:`.
inline constexpr Backend backend{};
/// `open` chooses by one scheme, so each other one is an entry of its own. This one has no TLS and says so:
/// `redis::TlsBackend` of `backends/redis/tls.hpp` has.
inline constexpr Backend tls_backend{"rediss"};
/// For URLs as `unix:///run/redis.sock`.
inline constexpr Backend unix_backend{"unix"};

}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_BACKEND_HPP
