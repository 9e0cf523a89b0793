// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KEY_HPP
#define INTERLOCK_CORE_KEY_HPP

/// @file
/// What decides which operations conflict: two operations conflict when their keys have the same bytes.
///
///     auto lock = locks.acquire("seat-12A");                              // a text names itself
///     service.do_in_transaction(42, [](Account& account) { ++account.balance; });
///     service.do_in_transaction(interlock::keys("alice", "bob"), [](Account& from, Account& to) {
///         std::swap(from.balance, to.balance);
///     });
///     service.do_in_transaction(interlock::keys(lines_of_the_order), [](std::span<Stock> stocks) {...});
///
/// Users pass values of their own key type, or a state that contains its key. `KeyTraits` turns them into
/// the bytes of a `Key`, which is what crosses the boundary to a store.
///
/// Choose keys so that what must not happen at the same time has the same key: a key per account lets two
/// transfers between other accounts run side by side, a key for the whole bank does not. Keys are names that
/// operators see, in the store and in its tools; put no secret into them.

#include <interlock/core/outcome.hpp>
#include <interlock/separate_compilation.hpp>

#include <algorithm>
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {

/// An encoded key: 1 to 512 bytes with any values, NUL included. Keys are compared and ordered byte by byte,
/// without regard to case, Unicode normalisation or collation.
///
/// **Guarantee.** Two different keys are never one key in any backend. **Failures.** Making a key never
/// fails but for want of memory: a key that is empty or too long is refused by the call that gets it, with
/// `invalid_argument`, before any I/O. **Thread safety.** A key never changes after it was made, except by
/// assignment. **Cost.** One `std::string` and its hash.
class Key {
public:
    /// The most bytes of a key.
    static constexpr std::size_t max_size = 512;

    /// An empty key, which every call refuses.
    Key() = default;
    explicit Key(std::string bytes) : bytes_(std::move(bytes)), hash_(std::hash<std::string_view>{}(bytes_))
    {}
    /// The bytes up to the first NUL.
    explicit Key(char const* text) : Key(std::string_view{text}) {}
    explicit Key(std::string_view bytes) : bytes_(bytes), hash_(std::hash<std::string_view>{}(bytes)) {}

    /// The bytes, valid as long as this key.
    std::string_view bytes() const noexcept { return bytes_; }
    /// `std::hash` of the bytes, computed once, when the key is made.
    std::size_t hash() const noexcept { return hash_; }

    /// Whether the key has a length that stores accept.
    bool valid() const noexcept { return !bytes_.empty() && bytes_.size() <= max_size; }
    /// Success, or `invalid_argument` with a text that says what is wrong with an empty or an overlong key.
    Outcome<void> validate() const;

    friend bool operator==(Key const& a, Key const& b) noexcept
    {
        return a.hash_ == b.hash_ && a.bytes_ == b.bytes_;
    }
    /// The order of the bytes as unsigned numbers. In this order the keys of one transaction are locked.
    friend std::strong_ordering operator<=>(Key const& a, Key const& b) noexcept
    {
        return a.bytes_.compare(b.bytes_) <=> 0;
    }

private:
    std::string bytes_;
    std::size_t hash_{0};  // kept, since queues, caches and shards look the same key up again and again
};

/// How a key type becomes bytes. The library specialises it for these types; `encode` gives:
///
/// - for everything that converts to `std::string_view`: its bytes;
/// - for integers and enumerations: 8 bytes, big-endian, so that the order of bytes is the order of numbers;
/// - for pairs, tuples and `BOOST_DESCRIBE_STRUCT` types of those: each part with its length in front.
///
/// Specialise `KeyTraits` for another key type with `static std::string encode(K const&)`, which must give
/// different bytes for different keys. Add `static K decode(std::string_view)` if a backend has to map the
/// key onto typed columns. `matches(key, value)`, where it is present, tells whether `key` is what `encode`
/// makes of `value`, without making a string for the answer.
template <class K>
struct KeyTraits;

/// Texts: the bytes as they are.
template <class K>
    requires std::convertible_to<K const&, std::string_view>
struct KeyTraits<K> {
    static std::string encode(std::string_view key) { return std::string(key); }
    static K decode(std::string_view bytes)
        requires std::constructible_from<K, std::string_view>
    {
        return K(bytes);
    }
    static bool matches(Key const& key, std::string_view value) noexcept { return key.bytes() == value; }
};

/// Integers: 8 bytes whatever the type, so that an `int` and a `long` of one value are one key. `decode`
/// gives the number back; bytes that `encode` did not make give some number.
template <class K>
    requires std::integral<K>
struct KeyTraits<K> {
    static std::string encode(K key)
    {
        auto bits = static_cast<std::uint64_t>(static_cast<std::int64_t>(key));
        if constexpr (std::is_signed_v<K>)
            bits ^= std::uint64_t{1} << 63;  // negative numbers come first: the order of bytes is numeric
        else
            bits = static_cast<std::uint64_t>(key);
        std::string out(8, '\0');
        for (int i = 0; i < 8; ++i)
            out[static_cast<std::size_t>(i)] = static_cast<char>(bits >> (56 - 8 * i));
        return out;
    }
    static K decode(std::string_view bytes) noexcept
    {
        std::uint64_t bits = 0;
        for (char c : bytes.substr(0, 8))
            bits = bits << 8 | static_cast<unsigned char>(c);
        if constexpr (std::is_signed_v<K>)
            bits ^= std::uint64_t{1} << 63;
        return static_cast<K>(bits);
    }
    static bool matches(Key const& key, K value) { return key.bytes() == encode(value); }
};

/// Enumerations: the number of the enumerator, so that renaming an enumerator changes no key.
template <class K>
    requires std::is_enum_v<K>
struct KeyTraits<K> {
    using U = std::underlying_type_t<K>;
    static std::string encode(K key) { return KeyTraits<U>::encode(static_cast<U>(key)); }
    static K decode(std::string_view bytes) noexcept { return static_cast<K>(KeyTraits<U>::decode(bytes)); }
};

namespace detail {
/// FNV-1a, 64 bits: the same on every machine and compiler, unlike std::hash. It is part of stored formats,
/// where it chooses shards and partitions. `hash`: that of the bytes before.
constexpr std::uint64_t fnv1a(std::string_view bytes, std::uint64_t hash = 14695981039346656037U) noexcept
{
    for (char const c : bytes)
        hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
    return hash;
}

/// The bytes of a key of several parts: each part with its length, as 4 bytes, in front. Without the lengths
/// ("ab", "c") and ("a", "bc") would be one key.
template <class Tuple>
std::string encode_key_parts(Tuple const& parts)
{
    std::string out;
    std::apply(
        [&](auto const&... part) {
            auto add = [&](std::string const& bytes) {
                out += KeyTraits<std::uint64_t>::encode(bytes.size()).substr(4);
                out += bytes;
            };
            (add(KeyTraits<std::remove_cvref_t<decltype(part)>>::encode(part)), ...);
        },
        parts);
    return out;
}

/// Takes the next part off the front of `bytes`. Bytes that no `encode` made give a part of unspecified
/// value, and never an access out of bounds.
template <class K>
K decode_key_part(std::string_view& bytes)
{
    std::size_t size = 0;
    for (char c : bytes.substr(0, 4))
        size = size << 8 | static_cast<unsigned char>(c);
    bytes.remove_prefix(std::min<std::size_t>(bytes.size(), 4));
    auto const part = bytes.substr(0, size);
    bytes.remove_prefix(part.size());
    return K(KeyTraits<K>::decode(part));
}

/// A part that a key of parts can be decoded into.
template <class K>
concept DecodableKey = requires(std::string_view bytes) { K(KeyTraits<K>::decode(bytes)); };
}  // namespace detail

/// Tuples: each part with its length in front. `decode` needs a `decode` of every part.
template <class... Parts>
struct KeyTraits<std::tuple<Parts...>> {
    static std::string encode(std::tuple<Parts...> const& key) { return detail::encode_key_parts(key); }
    static std::tuple<Parts...> decode(std::string_view bytes)
        requires(detail::DecodableKey<Parts> && ...)
    {
        // Braces, since they call from left to right: each part is taken off the front.
        return std::tuple<Parts...>{detail::decode_key_part<Parts>(bytes)...};
    }
};

/// Pairs: as a tuple of two parts, so that a pair and a tuple of the same parts are one key.
template <class A, class B>
struct KeyTraits<std::pair<A, B>> {
    static std::string encode(std::pair<A, B> const& key) { return detail::encode_key_parts(key); }
    static std::pair<A, B> decode(std::string_view bytes)
        requires(detail::DecodableKey<A> && detail::DecodableKey<B>)
    {
        return std::pair<A, B>{detail::decode_key_part<A>(bytes), detail::decode_key_part<B>(bytes)};
    }
};

/// A type that `KeyTraits` can turn into bytes: what a repository takes as its key type.
template <class K>
concept KeyType = requires(K const& key) {
    { KeyTraits<K>::encode(key) } -> std::convertible_to<std::string>;
};

namespace detail {

/// Whether a character array has other bytes behind the NUL that ends its text. A reader that took such an
/// array for a text would cut it there and name another key. What was meant is not guessed: callers refuse
/// the array.
template <class Array>
bool hides_bytes(Array const& array) noexcept
{
    std::string_view const text{array};
    return text.size() + 1 < std::extent_v<Array> &&
           std::string_view(array, std::extent_v<Array>).find_first_not_of('\0', text.size()) !=
               std::string_view::npos;
}

/// A part as `keys` keeps it. An array of characters becomes the `Key` of its text, or, if it hides bytes, an
/// empty `Key`, which every call refuses. Everything else is copied.
template <class A>
auto keys_part(A const& part)
{
    if constexpr (std::is_array_v<A> && std::convertible_to<A const&, std::string_view>)
        return Key{hides_bytes(part) ? std::string() : std::string(std::string_view{part})};
    else
        return part;
}

}  // namespace detail

/// Several keys, or states, of one transaction, in the order in which the operation receives them. `keys(a,
/// b)` makes one. It is a class with a constructor because g++ 12 destroys the temporaries of a `co_await`
/// expression twice when they are aggregates.
template <class... A>
class Keys {
public:
    /// How many they are.
    static constexpr std::size_t size = sizeof...(A);
    /// As `keys` does.
    explicit Keys(A... parts) : parts_(std::move(parts)...) {}
    /// The keys or states, in the order of the call. Arrays of characters are kept as `Key`.
    std::tuple<A...> const& parts() const noexcept { return parts_; }

private:
    std::tuple<A...> parts_;
};

/// The most keys that a range may name in one transaction. Each is a lock, a row or a version that is checked
/// when the transaction commits; whoever has more to change does it in several transactions.
inline constexpr std::size_t max_keys_of_a_range = 1000;

namespace detail {

/// What can be gone through and is not a text, which is one key.
template <class Range>
concept RangeOfParts = requires(Range& range) {
    { std::begin(range) } -> std::input_iterator;
    std::begin(range) != std::end(range);
} && !std::convertible_to<Range&, std::string_view>;
/// As what `keys` keeps a part of a range: as `keys_part` says.
template <class Range>
using range_part = std::decay_t<decltype(keys_part(
    std::declval<std::iter_value_t<decltype(std::begin(std::declval<Range&>()))> const&>()))>;

}  // namespace detail

/// The keys, or states, of one transaction, where their number is known at run time: `keys(range)`.
template <class A>
class KeyRange {
public:
    /// Copies the parts; of those beyond `max_keys_of_a_range` one, since every call refuses so many.
    template <class Range>
        requires(!std::same_as<std::remove_cvref_t<Range>, KeyRange>)
    explicit KeyRange(Range&& range)
    {
        auto const end = std::end(range);
        for (auto at = std::begin(range); at != end && parts_.size() <= max_keys_of_a_range; ++at)
            parts_.emplace_back(detail::keys_part(*at));
    }
    /// The keys or states, in the order of the range.
    std::vector<A> const& parts() const noexcept { return parts_; }

private:
    std::vector<A> parts_;
};

/// Names the keys, or states, of one transaction by a range: a vector, a set, a span, a view. The operation
/// gets all states at once, in the order of the range, in one of these forms, tried in this order:
///
///     service.do_in_transaction(interlock::keys(skus), [](std::span<Stock> stocks) {...});
///     service.do_in_transaction(interlock::keys(skus), [](std::span<Stock* const> stocks) {...});
///     service.do_in_transaction(interlock::keys(skus), [](std::vector<Stock*> const& stocks) {...});
///
/// The span of states needs them side by side: they are moved there before the operation runs, and back when
/// it has returned. What the policy offers besides follows, as behind a `T&`. Locks come as
/// `std::span<Lock<T>* const>`, or as `std::vector<Lock<T>*>` where the states come in a vector. What the
/// operation is given is valid while it runs, an awaiting one until it has ended.
///
/// A range itself may stand where `keys(range)` does, if it can be gone through as const and is not a key of
/// the repository.
///
/// **Guarantee.** That of `keys(a, b)`: locks in the order of the bytes, all or nothing, and no circle of
/// waiting. **Failures.** `invalid_argument`, before any I/O, for an empty range, for more than
/// `max_keys_of_a_range` keys, for a key that stands there twice, and for a bad key; the text says which,
/// counted from 1. A state that is missing is `not_found`, and the text names it.
///
/// **Lifetimes.** The parts are copied when `keys` is called. A `std::string_view` among them must stay valid
/// as long as the `KeyRange`. **Cost.** That of `keys(a, b)`, and a dozen allocations. `OptimisticVersioning`
/// loads all states in one trip where the store can; leases are taken one after the other.
template <detail::RangeOfParts Range>
auto keys(Range&& range)
{
    return KeyRange<detail::range_part<Range>>(std::forward<Range>(range));
}

/// Names the keys, or states, of one transaction. There must be at least two; if two of them are the same,
/// the call fails with `invalid_argument`.
///
/// **Guarantee.** The states are locked in the order of their encoded bytes, whatever order is given here.
/// Two transactions that name the same keys can therefore not wait for each other in a circle. The operation
/// gets the states in the order given here. **Lifetimes.** The parts are copied. A `std::string_view` among
/// them must stay valid as long as the `Keys`.
template <class... A>
    requires(sizeof...(A) >= 2)
auto keys(A const&... parts)
{
    return Keys<std::decay_t<decltype(detail::keys_part(parts))>...>(detail::keys_part(parts)...);
}

}  // namespace v0
}  // namespace interlock

template <>
struct std::hash<interlock::Key> {
    std::size_t operator()(interlock::Key const& key) const noexcept { return key.hash(); }
};

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/detail/impl/key.ipp>
#endif

#endif  // INTERLOCK_CORE_KEY_HPP
