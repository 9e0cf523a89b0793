// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_SUBSCRIBER_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_SUBSCRIBER_HPP

/// @file
/// Wake-ups. A pool has one connection and one thread for them, started when somebody first waits, or first
/// hands a lock on.
///
/// All messages come on one channel, and they are hints:
/// - `f` and a hash: the name with this hash became free.
/// - `w`, the first four bytes of a holder's owner token, and a hash: somebody asked in vain for the name, so
///   that its holder should not hand it on locally for ever.
///
/// Nothing depends on the arrival of a message. Whoever waits asks again when the lease is over or the poll
/// interval ends, whichever is first, and each time says `w` again.

#include <interlock/backends/postgres/detail/pqxx.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/kit/wakeup_listener.hpp>
#include <interlock/core/runtime/stream.hpp>

#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// A hash that is the same in every process: FNV-1a of 64 bits, finished by a mixer.
inline std::uint64_t stable_hash(std::string_view store, std::string_view name) noexcept
{
    std::uint64_t hash = 14695981039346656037ULL;
    auto const add = [&](char c) { hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL; };
    for (char c : store)
        add(c);
    add('\0');
    for (char c : name)
        add(c);
    hash ^= hash >> 33;
    hash *= 0xff51afd7ed558ccdULL;
    hash ^= hash >> 33;
    return hash;
}

/// The lowest `digits` hexadecimal digits of `number`.
inline std::string hex(std::uint64_t number, std::size_t digits)
{
    std::string out(digits, '0');
    for (std::size_t i = digits; i-- > 0; number >>= 4)
        out[i] = "0123456789abcdef"[number & 15U];
    return out;
}

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
inline std::optional<WakeupMessage> read_wakeup(std::string_view payload) noexcept
{
    auto const number = [](std::string_view digits, auto& out) {
        auto const end = std::from_chars(digits.data(), digits.data() + digits.size(), out, 16);
        return end.ec == std::errc{} && end.ptr == digits.data() + digits.size();
    };
    WakeupMessage message;
    if (payload.size() == 17 && payload[0] == 'f' && number(payload.substr(1), message.hash))
        return message;
    if (payload.size() == 25 && payload[0] == 'w' && number(payload.substr(1, 8), message.wanted.emplace()) &&
        number(payload.substr(9), message.hash))
        return message;
    return std::nullopt;
}

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
    void subscribe(std::uint64_t hash, Waiter& waiter)
    {
        std::lock_guard lock(mutex_);
        waiters_.emplace(hash, Waiting{&waiter});
        static_cast<void>(this->start());
    }

    /// Whether somebody has lately asked in vain for what `owner` holds, as far as this pool knows. The
    /// question costs no trip. The first question starts the thread, and knows nothing yet.
    bool wanted(std::uint64_t hash, OwnerToken owner)
    {
        std::lock_guard lock(mutex_);
        static_cast<void>(this->start());
        return this->is_wanted(hash, this->first_bytes(owner.bytes().data()));
    }

private:
    using WakeupListener<Waiting, R>::bell_;
    using WakeupListener<Waiting, R>::mutex_;
    using WakeupListener<Waiting, R>::waiters_;

    // After that time it is asked whether the server is still there.
    static constexpr std::chrono::seconds silence{15};

    bool listen() override
    {
        Connection connection;
        return connection.open(settings_, endpoint_, soon()) && serve(connection);
    }

    static TimePoint soon() { return interlock::detail::add(interlock::detail::socket_now(), silence); }

    static bool ask(Connection& connection, std::string text)
    {
        Batch batch;
        batch.add(std::move(text));
        auto const exchange = connection.run(batch, soon(), Connection::Bounded::by_caller);
        return exchange.progress == Progress::answered && !exchange.error;
    }

    // Listens until the connection breaks or it is time to stop. False: it never came to listening.
    bool serve(Connection& connection)
    {
        if (!ask(connection, "LISTEN " + channel_))
            return false;
        {
            std::lock_guard lock(mutex_);
            for (auto const& [hash, waiting] : waiters_)
                waiting.waiter->wake();
            // What became free before LISTEN was not heard, so everybody looks.
        }
        auto heard = interlock::detail::socket_now();
        std::vector<Notification> messages;
        while (!this->stopping()) {
            messages.clear();
            if (!connection.listen(messages, bell_, interlock::detail::add(heard, silence)))
                return true;
            for (auto const& message : messages)
                handle(message.payload);
            if (!messages.empty())
                heard = interlock::detail::socket_now();
            if (interlock::detail::socket_now() - heard >= silence) {
                if (!ask(connection, "SELECT 1"))
                    return true;
                heard = interlock::detail::socket_now();
            }
        }
        return true;
    }

    void handle(std::string_view payload)
    {
        auto const message = read_wakeup(payload);
        if (!message)
            return;
        std::lock_guard lock(mutex_);
        if (message->wanted)
            return this->note_wanted(message->hash, *message->wanted);
        auto const [begin, end] = waiters_.equal_range(message->hash);
        for (auto it = begin; it != end; ++it)
            it->second.waiter->wake();
    }

    Settings settings_;
    std::string endpoint_;
    std::string channel_;
};

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_SUBSCRIBER_HPP
