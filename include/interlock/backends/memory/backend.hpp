// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_MEMORY_BACKEND_HPP
#define INTERLOCK_BACKENDS_MEMORY_BACKEND_HPP

/// @file
/// The memory backend as `open` knows it.

#include <interlock/backends/memory/idempotency_store.hpp>
#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/any_idempotency_store.hpp>
#include <interlock/core/open.hpp>  // IWYU pragma: export
#include <interlock/core/state_repository.hpp>

#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace memory {

/// For `open<T>("memory:", memory::backend)`. Every call opens a new, empty store.
struct Backend {
    static constexpr std::string_view scheme = "memory";

    /// A new store of states `T`. Throws `Error` (`invalid_argument`) for any URL but `memory:`.
    template <class T>
    interlock::StateRepository<T> open(std::string_view url) const
    {
        check(url);
        if constexpr (KeyedState<T>)
            return StateRepository<T>{};
        else
            return StateRepository<T, std::string>{};
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

/// What `open` is given.
inline constexpr Backend backend{};

}  // namespace memory
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_MEMORY_BACKEND_HPP
