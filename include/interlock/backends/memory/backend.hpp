// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_MEMORY_BACKEND_HPP
#define INTERLOCK_BACKENDS_MEMORY_BACKEND_HPP

/// @file
/// A program whose store is named by a URL, on its command line for example, opens the store by `open`. This
/// header lets it open one in memory, by the URL `memory:`.
///
///     auto const accounts = interlock::open<Account>("memory:", interlock::memory::backend);
///     accounts.insert(Account{"alice", 100}).value();
///     interlock::TransactionService<Account> const service{interlock::OptimisticVersioning{}, accounts};
///     service.do_in_transaction("alice", [](Account& a) { a.balance -= 5; });
///
/// A store in memory is nobody's default: a program that names no backend does not compile.

#include <interlock/backends/memory/fwd.hpp>
#include <interlock/backends/memory/idempotency_store.hpp>
#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/contracts/any_idempotency_store.hpp>
#include <interlock/core/open.hpp>  // IWYU pragma: export
#include <interlock/core/state_repository.hpp>
#include <interlock/fwd.hpp>

#include <concepts>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace memory {

namespace detail {

template <class Events>
constexpr void check_that_events_are_included() noexcept
{
    static_assert(
        requires { sizeof(Events); }, "write #include <interlock/backends/memory/event_repository.hpp>");
}

}  // namespace detail

/// The memory backend as `open` knows it. Every call opens a new, empty store: two calls with one URL share
/// nothing. A URL with parameters is refused, since a bound that is silently ignored is worse than none.
struct Backend {
    static constexpr std::string_view scheme = "memory";

    /// A new store of states `T`, with the default `RepositoryOptions`. A state without a key of its own gets
    /// text keys. Throws `Error` (`invalid_argument`) for any URL but `memory:`.
    template <class T>
    interlock::StateRepository<T> open(std::string_view url) const
    {
        check(url);
        if constexpr (KeyedState<T>)
            return StateRepository<T>{};
        else
            return StateRepository<T, std::string>{};
    }
    /// The same, whose operations record into `events`. Throws `Error` (`misconfigured`) where that is not a
    /// log in memory. Like `open_events` it needs `backends/memory/event_repository.hpp`.
    template <class T, class Events = EventRepository, std::same_as<AnyEventRepository> Any>
    interlock::StateRepository<T> open(std::string_view url, Any const& events) const
    {
        check(url);
        detail::check_that_events_are_included<Events>();
        auto const* const log = events.template held<Events>();
        if (log == nullptr)
            throw Error(
                Errc::misconfigured, "states in memory record into a log in memory, and this one is of '" +
                                         std::string(events.store_name()) + "'");
        if constexpr (KeyedState<T>)
            return StateRepository<T>{{.events = *log}};
        else
            return StateRepository<T, std::string>{{.events = *log}};
    }
    /// A new, empty log, under the same rule.
    template <class Events = EventRepository>
    auto open_events(std::string_view url) const
    {
        check(url);
        detail::check_that_events_are_included<Events>();
        return Events{};
    }
    /// A new store of idempotency records, under the same rule.
    // A template, so that the store is compiled only where one is opened.
    template <class Store = IdempotencyStore>
    AnyIdempotencyStore open_idempotency_store(std::string_view url) const
    {
        check(url);
        return Store{};
    }

private:
    static void check(std::string_view url)
    {
        if (url != "memory:")
            throw Error(
                Errc::invalid_argument, "the memory backend takes no parameters: write just 'memory:'");
    }
};

/// What `open` is given, beside a URL.
inline constexpr Backend backend{};

}  // namespace memory
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_MEMORY_BACKEND_HPP
