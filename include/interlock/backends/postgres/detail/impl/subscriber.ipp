// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_SUBSCRIBER_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_SUBSCRIBER_IPP

#include <interlock/backends/postgres/detail/subscriber.hpp>

#include <algorithm>
#include <charconv>
#include <exception>
#include <mutex>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// A hash of characters that come one by one.
class StableHash {
public:
    explicit StableHash(std::string_view store) noexcept
    {
        for (char c : store)
            add(c);
        add('\0');
    }
    void add(char c) noexcept { hash_ = interlock::detail::fnv1a({&c, 1}, hash_); }
    std::uint64_t finished() const noexcept
    {
        auto hash = hash_;
        hash ^= hash >> 33;
        hash *= 0xff51afd7ed558ccdULL;
        hash ^= hash >> 33;
        return hash;
    }

private:
    std::uint64_t hash_{interlock::detail::fnv1a({})};
};

INTERLOCK_DECL std::uint64_t stable_hash(std::string_view store, std::string_view name) noexcept
{
    StableHash hash{store};
    for (char c : name)
        hash.add(c);
    return hash.finished();
}

INTERLOCK_DECL std::uint64_t folded_hash(std::string_view store, std::string_view name) noexcept
{
    StableHash hash{store};
    bool in_number = false;  // a digit that is no zero came, or a point: zeros count if another one follows
    bool in_fraction = false;
    std::size_t zeros = 0;  // that may count
    for (char c : name) {
        if (c >= 'A' && c <= 'Z')
            c = static_cast<char>(c + ('a' - 'A'));
        bool const is_digit = c >= '0' && c <= '9';
        bool const is_letter = (c >= 'a' && c <= 'z') || (c & 0x80) != 0;
        if (c == '0') {
            zeros += in_number ? 1U : 0U;
        } else if (is_digit || is_letter || c == '.') {
            // The zeros at the end of a fraction do not count, those at the end of another number do.
            for (; zeros > 0 && (is_digit || !in_fraction); --zeros)
                hash.add('0');
            zeros = 0;
            in_fraction = c == '.' || (in_fraction && is_digit);
            in_number = is_digit || c == '.';
            if (c != '.')
                hash.add(c);
        }
    }
    for (; zeros > 0 && !in_fraction; --zeros)
        hash.add('0');
    return hash.finished();
}

[[gnu::noinline]] INTERLOCK_DECL std::string hex(std::uint64_t number, std::size_t digits)
{
    std::string out(digits, '0');
    for (std::size_t i = digits; i-- > 0; number >>= 4)
        out[i] = "0123456789abcdef"[number & 15U];
    return out;
}

[[gnu::noinline]] INTERLOCK_DECL std::string free_wakeup(std::uint64_t hash)
{
    return "f" + hex(hash, 16);
}

INTERLOCK_DECL std::optional<WakeupMessage> read_wakeup(std::string_view payload) noexcept
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

template <class R>
void Subscriber<R>::subscribe(std::uint64_t hash, Waiter& waiter)
{
    std::lock_guard lock(mutex_);
    waiters_.emplace(hash, Waiting{&waiter});
    static_cast<void>(this->start());
}

template <class R>
void Subscriber<R>::announce(std::uint64_t hash) noexcept
{
    std::lock_guard lock(mutex_);
    wake_all(hash);
    if (std::find(announced_.begin(), announced_.end(), hash) != announced_.end())
        return;
    try {
        announced_.push_back(hash);
        static_cast<void>(this->start());
    } catch (std::exception const&) {  // no memory: others look by themselves
    }
    if (announced_.size() == 1)
        bell_.ring();
}

template <class R>
bool Subscriber<R>::wanted(std::uint64_t hash, OwnerToken owner)
{
    std::lock_guard lock(mutex_);
    static_cast<void>(this->start());
    return this->is_wanted(hash, this->first_bytes(owner.bytes().data()));
}

template <class R>
bool Subscriber<R>::listen()
{
    Connection connection;
    return connection.open(settings_, endpoint_, soon()) && serve(connection);
}

template <class R>
bool Subscriber<R>::ask(Connection& connection, std::string text)
{
    Batch batch;
    batch.add(std::move(text));
    auto const exchange = connection.run(batch, soon(), Connection::Bounded::by_caller);
    return exchange.progress == Progress::answered && !exchange.error;
}

template <class R>
bool Subscriber<R>::serve(Connection& connection)
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
        if (!connection.listen(messages, bell_, listen_until(interlock::detail::add(heard, silence))))
            return true;
        if (!send_announced(connection))
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

template <class R>
void Subscriber<R>::handle(std::string_view payload)
{
    auto const message = read_wakeup(payload);
    if (!message)
        return;
    std::lock_guard lock(mutex_);
    if (message->wanted)
        return this->note_wanted(message->hash, *message->wanted);
    wake_all(message->hash);
}

template <class R>
void Subscriber<R>::wake_all(std::uint64_t hash) noexcept
{
    auto const [begin, end] = waiters_.equal_range(hash);
    for (auto it = begin; it != end; ++it)
        it->second.waiter->wake();
}

template <class R>
TimePoint Subscriber<R>::listen_until(TimePoint until) const
{
    std::lock_guard lock(mutex_);
    return announced_.empty() ? until : std::min(until, next_message_);
}

template <class R>
bool Subscriber<R>::send_announced(Connection& connection)
{
    std::vector<std::uint64_t> now;
    {
        std::lock_guard lock(mutex_);
        if (announced_.empty() || interlock::detail::socket_now() < next_message_)
            return true;
        now.swap(announced_);
        next_message_ = interlock::detail::add(interlock::detail::socket_now(), between_messages);
    }
    // A hint need not be on a disk, nor on a standby, which may be gone.
    std::string text = "SELECT set_config('synchronous_commit', 'off', true)";
    for (auto const hash : now)
        text += ", pg_notify('" + channel_ + "', '" + free_wakeup(hash) + "')";
    return ask(connection, std::move(text));
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_SUBSCRIBER_IPP
