// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_IMPL_WAKEUP_LISTENER_IPP
#define INTERLOCK_CORE_KIT_IMPL_WAKEUP_LISTENER_IPP

#include <interlock/core/kit/assertion.hpp>
#include <interlock/core/kit/wakeup_listener.hpp>

namespace interlock {
inline namespace v0 {

template <class Waiting, class R>
void WakeupListener<Waiting, R>::unsubscribe(std::uint64_t hash, Waiter& waiter) noexcept
{
    std::lock_guard lock(mutex_);
    auto [it, end] = waiters_.equal_range(hash);
    while (it != end)
        it = it->second.waiter == &waiter ? waiters_.erase(it) : std::next(it);
}

template <class Waiting, class R>
void WakeupListener<Waiting, R>::stop() noexcept
{
    std::lock_guard lock(mutex_);
    stopping_ = true;
    bell_.ring();
    stopped_.notify_all();
}

template <class Waiting, class R>
bool WakeupListener<Waiting, R>::start()
{
    INTERLOCK_ASSERT(detail::is_locked(mutex_), "the mutex guards who waits");
    if (stopping_)
        return false;
    if (!started_ && bell_.valid()) {  // else no descriptor was left
        try {
            detail::start_detached_thread([self = this->shared_from_this()] { self->run(); });
            started_ = true;
        } catch (std::exception const&) {  // no thread was left either: waiters poll
        }
    }
    return started_;
}

template <class Waiting, class R>
void WakeupListener<Waiting, R>::note_wanted(std::uint64_t hash, std::uint32_t holder)
{
    INTERLOCK_ASSERT(detail::is_locked(mutex_), "the mutex guards who waits");
    wants_[hash % wants_.size()] = {hash, holder, detail::add(runtime_.now(), want_lasts)};
}

template <class Waiting, class R>
bool WakeupListener<Waiting, R>::is_wanted(std::uint64_t hash, std::uint32_t holder) const
{
    INTERLOCK_ASSERT(detail::is_locked(mutex_), "the mutex guards who waits");
    auto const& want = wants_[hash % wants_.size()];
    return want.hash == hash && want.holder == holder && runtime_.now() < want.until;
}

template <class Waiting, class R>
std::uint32_t WakeupListener<Waiting, R>::first_bytes(char const* token) noexcept
{
    std::uint32_t out = 0;
    for (std::size_t i = 0; i < 4; ++i)
        out = out << 8 | static_cast<unsigned char>(token[i]);
    return out;
}

template <class Waiting, class R>
void WakeupListener<Waiting, R>::run() noexcept
{
    try {
        for (int failures = 0; !stopping();) {
            auto const began = runtime_.now();
            // A server that lets one listen, and hangs up at once, has failed as well.
            if (listen() && runtime_.now() - began >= backoff_.cap)
                failures = 0;
            ++failures;
            auto const again = detail::add(runtime_.now(), backoff_.delay(failures, runtime_.random_bits()));
            std::unique_lock lock(mutex_);
            while (!stopping_ && runtime_.now() < again)
                runtime_.wait_until(stopped_, lock, again);
        }
    } catch (std::exception const&) {  // out of memory: waiters poll from now on
    }
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_IMPL_WAKEUP_LISTENER_IPP
