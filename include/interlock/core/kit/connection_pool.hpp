// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_CONNECTION_POOL_HPP
#define INTERLOCK_CORE_KIT_CONNECTION_POOL_HPP

/// @file
/// For backends: a bounded number of connections, lent for one exchange or one transaction.

#include <interlock/core/deadline.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/runtime/runtime.hpp>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {

/// Connections of type `C`, lent one at a time, the one used last first. `R`: the runtime by whose clock callers wait.
///
/// `c.fit()`: whether an idle one may be lent. `c.reusable()`: whether one that comes back may be kept.
/// **Thread safety.** Everything: safe. Whoever has borrowed must give back before the pool goes.
template <class C, class R = SystemRuntime>
class ConnectionPool {
public:
    /// Gives back by itself.
    class Lease {
    public:
        Lease() = default;
        Lease(ConnectionPool* pool, std::unique_ptr<C> connection) noexcept : pool_(pool), connection_(std::move(connection)) {}
        Lease(Lease&&) noexcept = default;
        Lease& operator=(Lease&& other) noexcept
        {
            release();
            pool_ = other.pool_;
            connection_ = std::move(other.connection_);
            return *this;
        }
        ~Lease() { release(); }

        explicit operator bool() const noexcept { return connection_ != nullptr; }
        C& operator*() const noexcept { return *connection_; }
        C* operator->() const noexcept { return connection_.get(); }
        void release() noexcept
        {
            if (connection_)
                pool_->put_back(std::move(connection_));
        }

    private:
        ConnectionPool* pool_{nullptr};
        std::unique_ptr<C> connection_;
    };

    /// `store` begins the texts of failures.
    ConnectionPool(std::string store, std::size_t most, std::size_t most_waiting, R runtime = {})
        : store_(std::move(store)), most_(most), most_waiting_(most_waiting), runtime_(std::move(runtime)),
          generation_(runtime_.generation())
    {}
    ConnectionPool(ConnectionPool const&) = delete;
    ConnectionPool& operator=(ConnectionPool const&) = delete;

    /// An idle one, or else `open()`, an `Outcome<std::unique_ptr<C>>`, where there may be one more; waits until `until`.
    /// `fresh`: it was opened for this.
    ///
    /// **Outcome.** What `open` said; `deadline_exceeded`; `overloaded`: too many wait, or none was given back in time.
    template <class Open>
    Outcome<Lease> take(TimePoint until, bool& fresh, Open open)
    {
        for (;;) {
            std::unique_ptr<C> connection;
            {
                std::unique_lock lock(mutex_);
                if (runtime_.now() >= until)
                    return Failure{Errc::deadline_exceeded, "the deadline came before anything was sent to " + store_};
                if (idle_.empty() && count_ >= most_) {
                    if (waiting_ >= most_waiting_)
                        return Failure{Errc::overloaded, store_ + ": too many callers wait for a connection"};
                    ++waiting_;
                    while (idle_.empty() && count_ >= most_ && runtime_.now() < until)
                        runtime_.wait_until(returned_, lock, until);
                    --waiting_;
                    if (idle_.empty() && count_ >= most_)
                        return Failure{
                            Errc::overloaded, store_ + ": all connections are in use; see Options::max_connections"};
                    continue;
                }
                if (!idle_.empty()) {
                    connection = std::move(idle_.back());  // the last one used: the rest may grow cold
                    idle_.pop_back();
                } else {
                    ++count_;
                }
            }
            if (connection) {
                if (connection->fit()) {
                    fresh = false;
                    return Lease{this, std::move(connection)};
                }
                connection.reset();
                lose();
                continue;
            }
            fresh = true;
            try {
                auto opened = open();
                if (opened)
                    return Lease{this, *std::move(opened)};
                lose();
                return std::move(opened).failure();
            } catch (...) {
                lose();
                throw;
            }
        }
    }

    /// What is idle leads nowhere any more.
    void drop_idle() noexcept
    {
        std::vector<std::unique_ptr<C>> dropped;
        {
            std::lock_guard lock(mutex_);
            dropped.swap(idle_);
            count_ -= dropped.size();
        }
        returned_.notify_all();
    }

    /// In use or not.
    std::size_t count() const
    {
        std::lock_guard lock(mutex_);
        return count_;
    }
    std::size_t idle_count() const
    {
        std::lock_guard lock(mutex_);
        return idle_.size();
    }

private:
    void put_back(std::unique_ptr<C> connection) noexcept
    {
        if (runtime_.generation() != generation_)
            return;  // in a forked child, where the mutex may be one that nobody will unlock
        if (!connection->reusable()) {
            connection.reset();
            return lose();
        }
        try {
            std::lock_guard lock(mutex_);
            idle_.push_back(std::move(connection));
        } catch (...) {
            return lose();
        }
        returned_.notify_one();
    }

    void lose() noexcept
    {
        {
            std::lock_guard lock(mutex_);
            --count_;
        }
        returned_.notify_one();
    }

    std::string store_;
    std::size_t most_;
    std::size_t most_waiting_;
    [[no_unique_address]] R runtime_;
    std::uint64_t generation_;
    mutable std::mutex mutex_;
    std::condition_variable returned_;
    std::vector<std::unique_ptr<C>> idle_;
    std::size_t count_{0};
    std::size_t waiting_{0};
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_CONNECTION_POOL_HPP
