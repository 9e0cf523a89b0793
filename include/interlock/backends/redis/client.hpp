// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_CLIENT_HPP
#define INTERLOCK_BACKENDS_REDIS_CLIENT_HPP

/// @file
/// A Redis server, as repositories and stores share it. A program makes one client per server, and everything
/// that it keeps there on that client:
///
///     interlock::redis::Client const client{"redis://:secret@db.example.org?name_space=shop"};
///     interlock::redis::StateRepository<Stock> const stock{client};
///     interlock::redis::IdempotencyStore const answers{client};
///     client.server_check().value();  // throws when the server is away, or cannot keep what is promised

#include <interlock/backends/redis/connection_statistics.hpp>
#include <interlock/backends/redis/fwd.hpp>
#include <interlock/backends/redis/options.hpp>
#include <interlock/backends/redis/server_check.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/runtime/runtime.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/execution_context.hpp>

#include <concepts>
#include <cstddef>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {

namespace detail {
template <class R>
class ClientState;
}

/// A Redis server (7.0 or later) or Valkey (8 or later), and the connections to it.
///
/// **Guarantee.** A command of which nothing was written is `unavailable` or `deadline_exceeded`: not
/// applied. Once a byte of a writing command may have left, a lost or late reply is `outcome_unknown`; the
/// command is never sent again. A connection with a reply that was not read is closed. Passwords are in no
/// error.
/// **Does not guarantee.** Anything in a cluster: `misconfigured`.
/// **Lifetimes.** A shared handle. Connections and the thread for wake-ups live as long as any handle, or any
/// repository or store made from one. In a forked child every call is `misconfigured`: make a new client
/// there.
/// **Executor.** The one named in the constructor does the I/O of asynchronous calls, of all on one
/// connection that pipelines (see `Connection`, which says what happens when its execution context goes
/// away); completion handlers run on executors of their own. Without one it is the process's own threads
/// (`boost::asio::system_executor`): simpler, and two switches of threads per turn dearer. Blocking calls do
/// not use it.
/// **Thread safety.** Everything: safe.
/// **Runtime.** `Client` is the client of the system's runtime. Another one, in tests, moves the time of
/// everything but blocking reads and writes, for which the system waits.
/// **Cost.** None until the first call. A blocking call does its own I/O on the calling thread and a pooled
/// connection. One connection more for all asynchronous calls, and one with a thread once somebody waits for
/// a lock.
template <class Runtime>
class BasicClient {
public:
    /// Throws `Error` (`invalid_argument`) for options out of range. Does not connect.
    explicit BasicClient(Options options);
    /// As `Options::parse`; throws `Error` (`invalid_argument`, without the URL's text).
    explicit BasicClient(std::string_view url);
    explicit BasicClient(char const* url) : BasicClient(std::string_view{url}) {}
    /// The I/O of asynchronous calls is done on `executor`. Its execution context outlives all calls that are
    /// to complete.
    BasicClient(boost::asio::any_io_executor executor, Options options);
    BasicClient(boost::asio::any_io_executor executor, std::string_view url);
    /// With a runtime that is not the system's: for tests. The I/O of asynchronous calls is done on its
    /// executor.
    BasicClient(Runtime runtime, Options options);
    /// On the executor of an execution context; `where` is options or a URL.
    template <class Context, class Where>
        requires std::derived_from<Context, boost::asio::execution_context> &&
                 (std::same_as<std::remove_cvref_t<Where>, Options> ||
                  std::convertible_to<Where, std::string_view>)
    BasicClient(Context& context, Where&& where)
        : BasicClient(context.get_executor(), std::forward<Where>(where))
    {}

    /// The options that the client was made with.
    Options const& options() const noexcept;

    /// What the server says about itself; asked once, and again after a failure. `misconfigured` names what
    /// keeps fenced locks, operation ids and idempotency keys from being safe there: a version below 7, a
    /// cluster, a replica, a policy that evicts. A user who may not ask INFO gets `verified == false`. One
    /// round trip the first time, none afterwards.
    Outcome<ServerCheck> server_check(Deadline deadline = {}) const;

    /// What the connection of the asynchronous calls has done so far.
    ConnectionStatistics statistics() const;
    /// How many connections for blocking calls there are now, in use or not.
    std::size_t connection_count() const;

private:
    template <class, class, class>
    friend class StateRepository;
    template <class>
    friend class BasicCounters;
    template <class>
    friend class BasicIdempotencyStore;
    template <class>
    friend class BasicEventRepository;

    // What all handles of the client share. The stores on the client take it from here, and keep it alive.
    std::shared_ptr<detail::ClientState<Runtime>> state_;
};

}  // namespace redis
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/redis/impl/client.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_REDIS_CLIENT_HPP
