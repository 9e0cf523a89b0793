// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_RUNTIME_IMMORTAL_HPP
#define INTERLOCK_CORE_RUNTIME_IMMORTAL_HPP

/// @file
/// Objects that live as long as the process, for the statics of the library itself:
///
///     static auto& word = immortal<std::string>("word");
///     auto& registry = immortal_of_process<Registry>();  // a forked child has one of its own

#include <interlock/core/runtime/random.hpp>
#include <interlock/fwd.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Makes an object that is never destroyed. A function that has a static of a type with a destructor writes
/// `static auto& x = immortal<X>(...)`. The reason: `exit` destroys statics while the threads of the library
/// still run, and such a thread must not meet a destroyed object.
template <class T, class... Arguments>
#if __has_cpp_attribute(gnu::no_dangling)
[[gnu::no_dangling]]  // g++ 14 would suspect that it returns one of its arguments
#endif
T& immortal(Arguments&&... arguments)
{
    return *new T(std::forward<Arguments>(arguments)...);
}

/// The one `T` of this process, which is never destroyed. A forked child has a `T` of its own, since a
/// thread that exists in its parent alone may have been changing that one, or holds its mutex. `T` is made
/// by whoever asks first, and of several who do at once all get the same; another one that was made for
/// nothing is destroyed. Throws what making it throws. Once it is made, asking costs three loads.
template <class T>
T& immortal_of_process()
{
    // The number of the process is in what is published, so that nobody takes the parent's for that of the
    // child. There is no mutex, which a child could find locked by a thread that it does not have.
    struct Made {
        std::uint64_t generation;
        T object{};
    };
    static constinit std::atomic<Made*> current{nullptr};
    auto const generation = process_generation();
    auto* made = current.load(std::memory_order_acquire);
    while (made == nullptr || made->generation != generation) {
        std::unique_ptr<Made> mine(new Made{generation});
        if (current.compare_exchange_strong(made, mine.get(), std::memory_order_acq_rel))
            made = mine.release();
    }
    return made->object;
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_RUNTIME_IMMORTAL_HPP
