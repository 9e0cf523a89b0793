// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_CONNECTION_POOL_HPP
#define INTERLOCK_CORE_KIT_CONNECTION_POOL_HPP

/// @file
/// For authors of stores: a bounded number of connections, lent for one exchange or one transaction.
///
///     ConnectionPool<Connection> pool{"Redis", options.max_connections, options.max_waiting};
///     bool fresh = false;  // an old connection may turn out dead; a fresh one tells that the server is
///     auto lease = pool.take(until, fresh, [&] { return Connection::open(options, until); });
///     if (!lease)
///         return std::move(lease).failure();

#include <interlock/core/deadline.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/observer.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/runtime/runtime.hpp>

#include <chrono>
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

/// Lends connections of type `C`, one at a time to one borrower, the most recently used connection first.
/// `R`: the runtime by whose clock callers wait.
///
/// **Requirements.** `c.fit()` tells whether an idle connection may be lent; `c.reusable()` tells whether a
/// returned connection may be kept.
/// **Guarantee.** There are never more than `most` connections, and never more than `most_waiting` callers
/// wait (law P10).
/// **Lifetimes.** A borrower must give its connection back before the pool is destroyed.
/// **Thread safety.** Every member may be called from several threads at once.
template <class C, class R = SystemRuntime>
class ConnectionPool {
public:
    /// A borrowed connection, or none. The destructor gives the connection back.
    class Lease {
    public:
        Lease() = default;
        Lease(ConnectionPool* pool, std::unique_ptr<C> connection) noexcept
            : pool_(pool), connection_(std::move(connection))
        {}
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
        /// Gives the connection back now.
        void release() noexcept
        {
            if (connection_)
                pool_->put_back(std::move(connection_));
        }

    private:
        ConnectionPool* pool_{nullptr};
        std::unique_ptr<C> connection_;
    };

    /// `store`: the name with which the texts of failures begin. `most`: how many connections there may be.
    /// `most_waiting`: how many callers may wait for one. `observer` is told of connections and of waits as
    /// those of `info`, whose texts must outlive the pool; null: nobody is.
    ConnectionPool(
        std::string store, std::size_t most, std::size_t most_waiting, R runtime = {},
        Observer* observer = nullptr, StoreInfo info = {})
        : store_(std::move(store)), most_(most), most_waiting_(most_waiting), runtime_(std::move(runtime)),
          generation_(runtime_.generation()), observer_(observer), info_(info)
    {}
    ConnectionPool(ConnectionPool const&) = delete;
    ConnectionPool& operator=(ConnectionPool const&) = delete;

    /// Lends an idle connection. If none is idle and there may be one more, calls `open()`, which gives an
    /// `Outcome<std::unique_ptr<C>>`. If there may be none, waits until one is given back, at most until
    /// `until`. `fresh` becomes true when the connection was opened for this call.
    ///
    /// **Outcome.** The failure of `open`; `deadline_exceeded`, when the deadline came before a connection
    /// could be taken; `overloaded`, when too many callers wait or none was given back in time. An exception
    /// of `open` is passed on.
    template <class Open>
    Outcome<Lease> take(TimePoint until, bool& fresh, Open open);

    /// Closes the idle connections, since they lead nowhere any more: to a server that is gone, say. Borrowed
    /// connections stay.
    void drop_idle() noexcept;

    /// How many connections there are, borrowed or idle.
    std::size_t count() const
    {
        std::lock_guard lock(mutex_);
        return count_;
    }
    /// How many connections are idle.
    std::size_t idle_count() const
    {
        std::lock_guard lock(mutex_);
        return idle_.size();
    }

private:
    template <class Open>
    Outcome<Lease> take_one(TimePoint until, bool& fresh, Open& open, std::chrono::nanoseconds& waited);

    void observe(ConnectionEvent::Kind kind, Errc result = Errc::ok) const noexcept
    {
        if (observer_ != nullptr)
            observer_->on_connection({kind, info_, result});
    }
    void observe_wait(Errc result, std::chrono::nanoseconds waited) const;
    Failure all_in_use() const;

    void put_back(std::unique_ptr<C> connection) noexcept;

    // A connection is gone, and somebody else may open one.
    void lose() noexcept;

    std::string store_;  // the beginning of the texts of failures
    std::size_t most_;
    std::size_t most_waiting_;
    [[no_unique_address]] R runtime_;
    std::uint64_t generation_;  // the process that made the pool
    Observer* observer_;
    StoreInfo info_;
    mutable std::mutex mutex_;
    std::condition_variable returned_;      // a connection was given back, or there may be one more
    std::vector<std::unique_ptr<C>> idle_;  // the most recently used one last
    std::size_t count_{0};                  // borrowed, idle, and being opened
    std::size_t waiting_{0};                // callers in `take` that wait for a connection
};

}  // namespace v0
}  // namespace interlock

#include <interlock/core/kit/impl/connection_pool.ipp>

#endif  // INTERLOCK_CORE_KIT_CONNECTION_POOL_HPP
