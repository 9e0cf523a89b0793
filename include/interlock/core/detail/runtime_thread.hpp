// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_RUNTIME_THREAD_HPP
#define INTERLOCK_CORE_DETAIL_RUNTIME_THREAD_HPP

// A thread for what must listen for as long as somebody is interested: wake-ups of a store.

#include <thread>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Runs `work` on a thread of its own that nobody joins, so that whatever it keeps alive may be dropped on it. `work`
/// must own all it touches, and must not throw. Throws `std::system_error` when the system has no thread to give.
template <class F>
void start_detached_thread(F work)
{
    std::thread(std::move(work)).detach();
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_RUNTIME_THREAD_HPP
