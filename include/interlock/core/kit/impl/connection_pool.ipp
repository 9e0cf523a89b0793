// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_IMPL_CONNECTION_POOL_IPP
#define INTERLOCK_CORE_KIT_IMPL_CONNECTION_POOL_IPP

#include <interlock/core/kit/connection_pool.hpp>

namespace interlock {
inline namespace v0 {

template <class C, class R>
template <class Open>
Outcome<typename ConnectionPool<C, R>::Lease> ConnectionPool<C, R>::take(
    TimePoint until, bool& fresh, Open open)
{
    std::chrono::nanoseconds waited{0};
    auto taken = take_one(until, fresh, open, waited);
    auto const code = taken.errc();
    // That one could not be opened is told as an event of the connection.
    if (observer_ != nullptr &&
        (code == Errc::ok || code == Errc::deadline_exceeded || code == Errc::overloaded))
        observe_wait(code, waited);
    return taken;
}

template <class C, class R>
void ConnectionPool<C, R>::observe_wait(Errc result, std::chrono::nanoseconds waited) const
{
    PoolWaitEvent event{info_, result, waited, 0, 0};
    {
        std::lock_guard lock(mutex_);
        event.connections = count_;
        event.waiting = waiting_;
    }
    observer_->on_pool_wait(event);
}

template <class C, class R>
Failure ConnectionPool<C, R>::all_in_use() const
{
    return Failure{Errc::overloaded, store_ + ": all connections are in use; see Options::max_connections"};
}

template <class C, class R>
template <class Open>
Outcome<typename ConnectionPool<C, R>::Lease> ConnectionPool<C, R>::take_one(
    TimePoint until, bool& fresh, Open& open, std::chrono::nanoseconds& waited)
{
    for (;;) {
        std::unique_ptr<C> connection;
        {
            std::unique_lock lock(mutex_);
            if (runtime_.now() >= until) {
                // Whoever gives up may be the only one that was woken for what was given back.
                returned_.notify_one();
                if (waited.count() > 0)  // one was given back just when the deadline came
                    return all_in_use();
                return Failure{
                    Errc::deadline_exceeded, "the deadline came before anything was sent to " + store_};
            }
            if (idle_.empty() && count_ >= most_) {
                if (waiting_ >= most_waiting_)
                    return Failure{Errc::overloaded, store_ + ": too many callers wait for a connection"};
                ++waiting_;
                auto const began = runtime_.now();
                while (idle_.empty() && count_ >= most_ && runtime_.now() < until)
                    runtime_.wait_until(returned_, lock, until);
                --waiting_;
                waited += runtime_.now() - began;
                if (idle_.empty() && count_ >= most_)
                    return all_in_use();
                continue;
            }
            if (!idle_.empty()) {
                // The most recently used connection; the others may grow cold.
                connection = std::move(idle_.back());
                idle_.pop_back();
            } else {
                ++count_;
                // The room is taken before `open` runs, without the mutex, so that there are never too
                // many.
            }
        }
        if (connection) {
            if (connection->fit()) {
                fresh = false;
                return Lease{this, std::move(connection)};
            }
            connection.reset();
            lose();
            observe(ConnectionEvent::Kind::lost);
            continue;
        }
        fresh = true;
        try {
            auto opened = open();
            if (opened) {
                observe(ConnectionEvent::Kind::opened);
                return Lease{this, *std::move(opened)};
            }
            lose();
            observe(ConnectionEvent::Kind::failed, opened.errc());
            return std::move(opened).failure();
        } catch (...) {
            lose();
            throw;
        }
    }
}

template <class C, class R>
void ConnectionPool<C, R>::drop_idle() noexcept
{
    std::vector<std::unique_ptr<C>> dropped;
    {
        std::lock_guard lock(mutex_);
        dropped.swap(idle_);
        count_ -= dropped.size();
    }
    returned_.notify_all();
    for (auto& connection : dropped) {
        connection.reset();
        observe(ConnectionEvent::Kind::lost);
    }
}

template <class C, class R>
void ConnectionPool<C, R>::put_back(std::unique_ptr<C> connection) noexcept
{
    if (runtime_.generation() != generation_)
        return;  // in a forked child nobody may ever unlock the parent's mutex
    if (!connection->reusable()) {
        connection.reset();
        lose();
        return observe(ConnectionEvent::Kind::lost);
    }
    try {
        std::lock_guard lock(mutex_);
        idle_.push_back(std::move(connection));
    } catch (...) {
        return lose();  // without memory for the list the connection is closed instead
    }
    returned_.notify_one();
}

template <class C, class R>
void ConnectionPool<C, R>::lose() noexcept
{
    {
        std::lock_guard lock(mutex_);
        --count_;
    }
    returned_.notify_one();
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_IMPL_CONNECTION_POOL_IPP
