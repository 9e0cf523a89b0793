// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_WAKEUP_LISTENER_HPP
#define INTERLOCK_CORE_KIT_WAKEUP_LISTENER_HPP

/// @file
/// For backends: who waits for which name, and the thread that hears from the server when to wake them.

#include <interlock/core/backoff.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/runtime/runtime.hpp>
#include <interlock/core/runtime/socket.hpp>
#include <interlock/core/runtime/stream.hpp>
#include <interlock/core/runtime/thread.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <memory>
#include <mutex>
#include <unordered_map>

namespace interlock {
inline namespace v0 {

/// Waiters by the hash of the name that they wait for, the holders that were lately waited for, and a thread that
/// listens on a connection of its own from the first `start` on; after a failure it tries again, later each time.
/// Without a thread, or without memory, nobody is woken: whoever waits must also look now and then.
///
/// `Waiting`: a struct with a member `waiter`. What derives from this is made by `std::make_shared`.
/// **Thread safety.** Everything that is public: safe. Its thread owns a reference, so it is never joined.
template <class Waiting>
class WakeupListener : public std::enable_shared_from_this<WakeupListener<Waiting>> {
public:
    WakeupListener(WakeupListener const&) = delete;
    WakeupListener& operator=(WakeupListener const&) = delete;

    /// When it returns, `waiter` is not being woken and will not be.
    void unsubscribe(std::uint64_t hash, Waiter& waiter) noexcept
    {
        std::lock_guard lock(mutex_);
        auto [it, end] = waiters_.equal_range(hash);
        while (it != end)
            it = it->second.waiter == &waiter ? waiters_.erase(it) : std::next(it);
    }

    /// Ends the thread, soon. Also done when it was never started.
    void stop() noexcept
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
        bell_.ring();
    }

    /// How many wait, now.
    std::size_t waiter_count() const
    {
        std::lock_guard lock(mutex_);
        return waiters_.size();
    }

protected:
    WakeupListener() = default;
    ~WakeupListener() = default;

    /// On the thread, without the mutex: connects, and listens until the connection breaks, the bell rings and it is
    /// `stopping`. False: it never came to listening.
    virtual bool listen() = 0;

    bool stopping() const
    {
        std::lock_guard lock(mutex_);
        return stopping_;
    }

    // With the mutex held:

    /// Whether there is a thread; the first call makes it.
    bool start()
    {
        if (stopping_)
            return false;
        if (!started_ && bell_.valid()) {  // else no descriptor is left
            try {
                detail::start_detached_thread([self = this->shared_from_this()] { self->run(); });
                started_ = true;
            } catch (std::exception const&) {  // nor a thread
            }
        }
        return started_;
    }

    /// Somebody asked in vain for what `holder` has, see `first_bytes`.
    void mark_wanted(std::uint64_t hash, std::uint32_t holder)
    {
        wants_[hash % wants_.size()] = {hash, holder, detail::add(SystemRuntime::now(), want_lasts)};
    }
    bool is_wanted(std::uint64_t hash, std::uint32_t holder) const
    {
        auto const& want = wants_[hash % wants_.size()];
        return want.hash == hash && want.holder == holder && SystemRuntime::now() < want.until;
    }

    /// What stands for an owner in messages: four bytes of its token.
    static std::uint32_t first_bytes(char const* token) noexcept
    {
        std::uint32_t out = 0;
        for (std::size_t i = 0; i < 4; ++i)
            out = out << 8 | static_cast<unsigned char>(token[i]);
        return out;
    }

    mutable std::mutex mutex_;
    detail::Doorbell bell_;
    std::unordered_multimap<std::uint64_t, Waiting> waiters_;

private:
    struct Want {
        std::uint64_t hash{0};
        std::uint32_t holder{0};
        TimePoint until{};
    };
    static constexpr std::chrono::seconds want_lasts{1};

    void run() noexcept
    {
        try {
            for (int failures = 0; !stopping();) {
                if (listen())
                    failures = 0;
                ++failures;
                auto const again =
                    detail::add(SystemRuntime::now(), backoff_.delay(failures, SystemRuntime::random_bits()));
                while (!stopping() && SystemRuntime::now() < again)
                    static_cast<void>(detail::wait_for_bell(again, bell_));
            }
        } catch (std::exception const&) {  // out of memory: waiters poll from now on
        }
    }

    Backoff backoff_{.initial = std::chrono::milliseconds{20}, .cap = std::chrono::seconds{2}, .immediate = 0};
    std::array<Want, 256> wants_{};  // by hash; a later one takes the place of an earlier one
    bool started_{false};
    bool stopping_{false};
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_WAKEUP_LISTENER_HPP
