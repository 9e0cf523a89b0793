// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_SUBSCRIBER_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_SUBSCRIBER_HPP

// Wake-ups: one connection and one thread per pool, started when somebody first waits, or first hands a lock on.
//
// Messages are hints, on one channel. 'f' and a hash: the name with it became free. 'w', the first four bytes of its
// holder's owner token, and a hash: somebody asked for it in vain, so its holder should not hand it on locally for ever.
// Nothing depends on their arrival: who waits looks again at the latest when the lease is over or the poll interval ends,
// and each look says 'w' again.

#include <interlock/backends/postgres/detail/pqxx.hpp>
#include <interlock/core/backoff.hpp>
#include <interlock/core/concepts.hpp>
#include <interlock/core/runtime.hpp>
#include <interlock/core/transport.hpp>

#include <array>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// The same in every process: FNV-1a of 64 bits, finished by a mixer.
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

inline std::string hex(std::uint64_t number, std::size_t digits)
{
    std::string out(digits, '0');
    for (std::size_t i = digits; i-- > 0; number >>= 4)
        out[i] = "0123456789abcdef"[number & 15U];
    return out;
}

/// **Thread safety.** Everything: safe. Its thread owns a reference, so it is never joined.
class Subscriber : public std::enable_shared_from_this<Subscriber> {
public:
    Subscriber(Settings settings, std::string endpoint, std::string channel)
        : settings_(std::move(settings)), endpoint_(std::move(endpoint)), channel_(std::move(channel))
    {}
    Subscriber(Subscriber const&) = delete;
    Subscriber& operator=(Subscriber const&) = delete;

    std::string const& channel() const noexcept { return channel_; }

    /// Wakes `waiter` when the name with this hash becomes free, and once more when listening begins, since what happened
    /// before is not heard.
    void subscribe(std::uint64_t hash, Waiter& waiter)
    {
        std::lock_guard lock(mutex_);
        waiters_.emplace(hash, &waiter);
        start();
    }

    /// When it returns, `waiter` is not being woken and will not be.
    void unsubscribe(std::uint64_t hash, Waiter& waiter) noexcept
    {
        std::lock_guard lock(mutex_);
        auto [it, end] = waiters_.equal_range(hash);
        while (it != end)
            it = it->second == &waiter ? waiters_.erase(it) : std::next(it);
    }

    /// Whether somebody lately asked in vain for what `owner` holds, as far as is known here. No trip: the first question
    /// starts to listen and knows nothing yet.
    bool wanted(std::uint64_t hash, OwnerToken owner)
    {
        std::lock_guard lock(mutex_);
        start();
        auto const& want = wants_[hash % wants_.size()];
        return want.hash == hash && want.holder == first_bytes(owner) && SystemRuntime::now() < want.until;
    }

    /// Ends the thread, soon. Also done when it was never started.
    void stop() noexcept
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
        bell_.ring();
    }

    std::size_t waiter_count() const
    {
        std::lock_guard lock(mutex_);
        return waiters_.size();
    }

private:
    struct Want {
        std::uint64_t hash{0};
        std::uint64_t holder{0};
        TimePoint until{};
    };

    static constexpr std::chrono::seconds want_lasts{1};
    static constexpr std::chrono::seconds silence{15};  // then it is asked whether it is still there

    static std::uint64_t first_bytes(OwnerToken owner) noexcept
    {
        auto const bytes = owner.bytes();
        std::uint64_t out = 0;
        for (std::size_t i = 0; i < 4; ++i)
            out = out << 8 | static_cast<unsigned char>(bytes[i]);
        return out;
    }

    /// The mutex is held.
    void start()
    {
        if (started_ || stopping_ || !bell_.valid())  // without a descriptor waiters poll
            return;
        try {
            interlock::detail::start_detached_thread([self = shared_from_this()] { self->run(); });
            started_ = true;
        } catch (std::exception const&) {  // no thread left: likewise
        }
    }

    void run() noexcept
    {
        try {
            for (int failures = 0; !stopping();) {
                {
                    Connection connection;
                    if (connection.open(settings_, endpoint_, soon()) && serve(connection))
                        failures = 0;
                }
                ++failures;
                auto const again =
                    interlock::detail::add(SystemRuntime::now(), backoff_.delay(failures, SystemRuntime::random_bits()));
                while (!stopping() && SystemRuntime::now() < again)
                    static_cast<void>(interlock::detail::wait_for_bell(again, bell_));
            }
        } catch (std::exception const&) {  // out of memory: waiters poll from now on
        }
    }

    bool stopping() const
    {
        std::lock_guard lock(mutex_);
        return stopping_;
    }
    static TimePoint soon() { return interlock::detail::add(SystemRuntime::now(), silence); }

    static bool ask(Connection& connection, std::string text)
    {
        Batch batch;
        batch.add(std::move(text));
        auto const exchange = connection.run(batch, soon(), Connection::Bounded::by_caller);
        return exchange.progress == Progress::answered && !exchange.error;
    }

    /// Listens until the connection breaks or it is time to stop. False: it never came to that.
    bool serve(Connection& connection)
    {
        if (!ask(connection, "LISTEN " + channel_))
            return false;
        {
            std::lock_guard lock(mutex_);
            for (auto const& [hash, waiter] : waiters_)
                waiter->wake();
        }
        auto heard = SystemRuntime::now();
        std::vector<Notification> messages;
        while (!stopping()) {
            messages.clear();
            if (!connection.listen(messages, bell_, interlock::detail::add(heard, silence)))
                return true;
            for (auto const& message : messages)
                handle(message.payload);
            if (!messages.empty())
                heard = SystemRuntime::now();
            if (SystemRuntime::now() - heard >= silence) {
                if (!ask(connection, "SELECT 1"))
                    return true;
                heard = SystemRuntime::now();
            }
        }
        return true;
    }

    static bool number(std::string_view digits, std::uint64_t& out) noexcept
    {
        auto const end = std::from_chars(digits.data(), digits.data() + digits.size(), out, 16);
        return end.ec == std::errc{} && end.ptr == digits.data() + digits.size();
    }

    void handle(std::string_view payload)
    {
        std::uint64_t hash = 0;
        std::uint64_t holder = 0;
        if (payload.size() == 17 && payload[0] == 'f' && number(payload.substr(1), hash)) {
            std::lock_guard lock(mutex_);
            auto const [begin, end] = waiters_.equal_range(hash);
            for (auto it = begin; it != end; ++it)
                it->second->wake();
        } else if (
            payload.size() == 25 && payload[0] == 'w' && number(payload.substr(1, 8), holder) && number(payload.substr(9), hash)) {
            std::lock_guard lock(mutex_);
            wants_[hash % wants_.size()] = {hash, holder, interlock::detail::add(SystemRuntime::now(), want_lasts)};
        }
    }

    Settings settings_;
    std::string endpoint_;
    std::string channel_;
    Backoff backoff_{.initial = std::chrono::milliseconds{20}, .cap = std::chrono::seconds{2}, .immediate = 0};
    interlock::detail::Doorbell bell_;
    mutable std::mutex mutex_;
    std::unordered_multimap<std::uint64_t, Waiter*> waiters_;
    std::array<Want, 256> wants_{};  // by hash; a later one takes the place of an earlier one
    bool started_{false};
    bool stopping_{false};
};

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_SUBSCRIBER_HPP
