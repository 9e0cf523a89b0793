// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_BACKEND_HPP
#define INTERLOCK_BACKENDS_POSTGRES_BACKEND_HPP

/// @file
/// The PostgreSQL backend as `open` knows it: for programs that choose their store at run time.
///
///     auto const accounts = open<Account>("postgresql://db/shop", postgres::backend, memory::backend);
///     TransactionService service{OptimisticVersioning{}, accounts};

#include <interlock/backends/postgres/idempotency_store.hpp>
#include <interlock/backends/postgres/pool.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/any_idempotency_store.hpp>
#include <interlock/core/open.hpp>  // IWYU pragma: export
#include <interlock/core/state_repository.hpp>

#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace postgres {

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
