// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_BACKEND_HPP
#define INTERLOCK_BACKENDS_POSTGRES_BACKEND_HPP

/// @file
/// The PostgreSQL backend as `open` knows it: for programs that choose their store at run time.
///
///     auto const accounts = open<Account>("postgresql://db/shop", postgres::backend, memory::backend);
///     TransactionService service{OptimisticVersioning{}, accounts};

#include <interlock/backends/postgres/fwd.hpp>
#include <interlock/backends/postgres/idempotency_store.hpp>
#include <interlock/backends/postgres/pool.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/contracts/any_idempotency_store.hpp>
#include <interlock/core/open.hpp>  // IWYU pragma: export
#include <interlock/core/state_repository.hpp>

#include <concepts>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace postgres {

namespace detail {

template <class Events>
constexpr void check_that_events_are_included() noexcept
{
    static_assert(
        requires { sizeof(Events); }, "write #include <interlock/backends/postgres/event_repository.hpp>");
}

}  // namespace detail

/// For `open<T>("postgresql://localhost/shop", postgres::backend)`. The URL is that of `Options::parse`; a
/// bad one throws `Error` (`invalid_argument`) without its text. Does not connect: that a server is not
/// there, or its tables are not (see `create_schema`), says the first call. States are in the library's
/// table; those of different types need different name spaces:
/// `postgresql://localhost/shop?name_space=accounts`.
struct Backend {
    std::string_view scheme{"postgresql"};

    /// The states `T` in the library's own table of that server.
    template <class T>
    interlock::StateRepository<T> open(std::string_view url) const
    {
        Pool const pool{url};
        if constexpr (KeyedState<T>)
            return StateRepository<T>{pool};
        else
            return StateRepository<T, std::string>{pool};
    }
    /// The same, whose operations record into `events`: on the pool of that log, since a commit is on one
    /// connection. Throws `Error` (`misconfigured`) where `events` is no log of the server and the name space
    /// that the URL names. Like `open_events` it needs `backends/postgres/event_repository.hpp`.
    template <class T, class Events = EventRepository, std::same_as<AnyEventRepository> Any>
    interlock::StateRepository<T> open(std::string_view url, Any const& events) const
    {
        detail::check_that_events_are_included<Events>();
        auto const* const log = events.template held<Events>();
        if (log == nullptr ||
            PoolAccess::state(log->pool())->identity() != PoolAccess::state(Pool{url})->identity())
            throw Error(
                Errc::misconfigured,
                "the states at this URL record into a log of the same server and name "
                "space, and this is another one, of '" +
                    std::string(events.store_name()) + "'");
        RepositoryOptions options;
        options.events = *log;
        if constexpr (KeyedState<T>)
            return StateRepository<T>{log->pool(), options};
        else
            return StateRepository<T, std::string>{log->pool(), options};
    }
    /// The log of that server and name space, with the default `EventRepositoryOptions`.
    template <class Events = EventRepository>
    auto open_events(std::string_view url) const
    {
        detail::check_that_events_are_included<Events>();
        return Events{Pool{url}};
    }
    /// The idempotency records of that server and name space.
    AnyIdempotencyStore open_idempotency_store(std::string_view url) const
    {
        return IdempotencyStore{Pool{url}};
    }
};

/// What `open` is given for `postgresql:` URLs.
inline constexpr Backend backend{};
/// `open` chooses by one scheme, so the other one is an entry of its own.
inline constexpr Backend short_backend{"postgres"};

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_BACKEND_HPP
