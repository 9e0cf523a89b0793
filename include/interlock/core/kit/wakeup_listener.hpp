// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_WAKEUP_LISTENER_HPP
#define INTERLOCK_CORE_KIT_WAKEUP_LISTENER_HPP

/// @file
/// For authors of stores: who waits for which name, and the thread that hears from the server when to wake
/// them.
///
/// A store derives from `WakeupListener`, connects and listens in `listen()`, and wakes the waiters of a name
/// when the server sends a message about that name. Wake-ups are hints: a lost one costs time and nothing
/// else.

#include <interlock/core/backoff.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/runtime/runtime.hpp>
#include <interlock/core/runtime/socket.hpp>
#include <interlock/core/runtime/stream.hpp>
#include <interlock/core/runtime/thread.hpp>

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace interlock {
inline namespace v0 {

/// Keeps the waiters, by the hash of the name that each waits for, and the holders for whose locks somebody
/// has lately waited. From the first `start` on a thread listens on a connection of its own. After a failure
/// it connects again, later each time (`Backoff`, up to 2 seconds).
///
/// **Does not guarantee.** A wake-up. Without a thread, a descriptor or memory nobody is woken, so whoever
/// waits must also look now and then.
/// **Requirements.** `Waiting` is a struct with a member `waiter`, a `Waiter*`. `R` is the runtime by whose
/// clock the thread connects again and notes grow old. Objects of derived classes are made by
/// `std::make_shared`.
/// **Lifetimes.** The thread owns a reference to the object and is never joined; `stop` ends it.
/// **Thread safety.** Every public member may be called from several threads at once.
template <class Waiting, class R = SystemRuntime>
class WakeupListener : public std::enable_shared_from_this<WakeupListener<Waiting, R>> {
public:
    WakeupListener(WakeupListener const&) = delete;
    WakeupListener& operator=(WakeupListener const&) = delete;

    /// Forgets `waiter`. Once the call returns, `waiter` is not being woken and will not be.
    void unsubscribe(std::uint64_t hash, Waiter& waiter) noexcept;

    /// Ends the thread, soon. If there is no thread, none will start any more.
    void stop() noexcept;

    /// How many waiters there are, for tests.
    std::size_t waiter_count() const
    {
        std::lock_guard lock(mutex_);
        return waiters_.size();
    }

protected:
    explicit WakeupListener(R runtime = {}) : runtime_(std::move(runtime)) {}
    ~WakeupListener() = default;

    /// Runs on the thread, without the mutex: connects, and listens until the connection breaks, or until the
    /// bell rings and `stopping` is true. Returns false if it never came to listening. The next attempt
    /// comes later each time, until one has listened for two seconds.
    virtual bool listen() = 0;

    bool stopping() const
    {
        std::lock_guard lock(mutex_);
        return stopping_;
    }

    // The caller of the following members holds the mutex.

    /// Whether there is a thread; the first call makes it. The caller holds the mutex.
    bool start();

    /// Notes, for a second, that somebody has asked in vain for what `holder` has (see `first_bytes`). A
    /// holder of whom this is noted does not hand its lock on to local callers for long. The caller holds the
    /// mutex.
    void note_wanted(std::uint64_t hash, std::uint32_t holder);
    /// Whether somebody has lately asked in vain for what `holder` has. The caller holds the mutex.
    bool is_wanted(std::uint64_t hash, std::uint32_t holder) const;

    /// What stands for an owner in messages: the first four bytes of its token. The whole token is secret.
    static std::uint32_t first_bytes(char const* token) noexcept;

    mutable std::mutex mutex_;
    detail::Doorbell bell_;                                    // wakes the thread while it listens
    std::unordered_multimap<std::uint64_t, Waiting> waiters_;  // by the hash of the name that each waits for

private:
    /// One note of `note_wanted`.
    struct Want {
        std::uint64_t hash{0};
        std::uint32_t holder{0};
        TimePoint until{};
    };
    static constexpr std::chrono::seconds want_lasts{1};  // a waiter repeats its note when it asks again

    void run() noexcept;

    [[no_unique_address]] R runtime_;
    std::condition_variable stopped_;  // `stop` was called
    Backoff backoff_{
        .initial = std::chrono::milliseconds{20}, .cap = std::chrono::seconds{2}, .immediate = 0};
    std::array<Want, 256> wants_{};  // by hash; a note that comes later takes the place of an earlier one
    bool started_{false};            // the thread exists
    bool stopping_{false};           // `stop` was called
};

}  // namespace v0
}  // namespace interlock

#include <interlock/core/kit/impl/wakeup_listener.ipp>

#endif  // INTERLOCK_CORE_KIT_WAKEUP_LISTENER_HPP
