// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_SUBSCRIBER_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_SUBSCRIBER_HPP

/// @file
/// Wake-ups. A pool has one connection and one thread for them, started when somebody first waits, or first
/// hands a lock on.
///
/// All messages come on one channel, and they are hints:
/// - `f` and a hash: the name with this hash became free, or there is more to read under it.
/// - `w`, the first four bytes of a holder's owner token, and a hash: somebody asked in vain for the name, so
///   that its holder should not hand it on locally for ever.
///
/// Nothing depends on the arrival of a message. Whoever waits asks again when the lease is over or the poll
/// interval ends, whichever is first, and each time says `w` again.

#include <interlock/backends/postgres/detail/connection.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/kit/wakeup_listener.hpp>
#include <interlock/core/runtime/socket.hpp>
#include <interlock/core/runtime/stream.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// A hash that is the same in every process: FNV-1a of 64 bits, finished by a mixer.
std::uint64_t stable_hash(std::string_view store, std::string_view name) noexcept;

/// The same for what the usual spellings of a `name` have in common: `AB12` and `ab12 `, `{7F1C-01}` and
/// `7f1c01`, `007` and `7`, `1.50` and `1.5`. Other names may share the hash.
std::uint64_t folded_hash(std::string_view store, std::string_view name) noexcept;

/// The lowest `digits` hexadecimal digits of `number`.
std::string hex(std::uint64_t number, std::size_t digits);

/// The message that the name with this hash became free.
std::string free_wakeup(std::uint64_t hash);

/// One who waits for a name.
struct Waiting {
    Waiter* waiter;
};

/// What a message says.
struct WakeupMessage {
    std::uint64_t hash{0};                // of the name that it is about
    std::optional<std::uint32_t> wanted;  // of whose holder; empty: the name became free
};

/// Reads a message. Nothing for one that is neither of the two kinds: it is not from this library.
std::optional<WakeupMessage> read_wakeup(std::string_view payload) noexcept;

/// Keeps the waiters of one pool, and listens for them. `R`: the pool's runtime.
///
/// **Thread safety.** Every public member may be called from several threads at once.
template <class R>
class Subscriber final : public WakeupListener<Waiting, R> {
public:
    Subscriber(R runtime, Settings settings, std::string endpoint, std::string channel)
        : WakeupListener<Waiting, R>(std::move(runtime)), settings_(std::move(settings)),
          endpoint_(std::move(endpoint)), channel_(std::move(channel))
    {}

    std::string const& channel() const noexcept { return channel_; }

    /// Wakes `waiter` when the name with this hash becomes free. Wakes it once more when listening begins,
    /// since what happened before that was not heard.
    void subscribe(std::uint64_t hash, Waiter& waiter);

    /// Wakes those of this pool who wait for the name with this hash, and soon those of other processes:
    /// everything that is announced within 5 ms leaves as one message, by the connection that listens. The
    /// caller does not wait for it, and no transaction of the caller's has to do with it.
    void announce(std::uint64_t hash) noexcept;

    /// Whether somebody has lately asked in vain for what `owner` holds, as far as this pool knows. The
    /// question costs no trip. The first question starts the thread, and knows nothing yet.
    bool wanted(std::uint64_t hash, OwnerToken owner);

private:
    using WakeupListener<Waiting, R>::bell_;
    using WakeupListener<Waiting, R>::mutex_;
    using WakeupListener<Waiting, R>::waiters_;

    // After that time it is asked whether the server is still there.
    static constexpr std::chrono::seconds silence{15};

    bool listen() override;
    static TimePoint soon() { return interlock::detail::add(interlock::detail::socket_now(), silence); }
    static bool ask(Connection& connection, std::string text);
    // Listens until the connection breaks or it is time to stop. False: it never came to listening.
    bool serve(Connection& connection);
    void handle(std::string_view payload);
    void wake_all(std::uint64_t hash) noexcept;  // the caller holds the mutex
    // Sends what was announced, if it is time for that. False: the connection broke.
    bool send_announced(Connection& connection);
    // Until when to listen, so that what was announced is sent in time.
    TimePoint listen_until(TimePoint until) const;

    // That long after a message the next one may leave.
    static constexpr std::chrono::milliseconds between_messages{5};

    Settings settings_;     // how the server is reached
    std::string endpoint_;  // the server's name in failures
    std::string channel_;   // of NOTIFY

    // What follows is guarded by the mutex.
    std::vector<std::uint64_t> announced_;  // what others are still to be told
    TimePoint next_message_{};              // when the next message may leave; a time of sockets
};

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/subscriber.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_SUBSCRIBER_HPP
