// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_STATE_TRAITS_HPP
#define INTERLOCK_CORE_STATE_TRAITS_HPP

/// @file
/// How a user's type is named and stored. A described struct needs nothing more than this:
///
///     struct Account {
///         std::string owner;  // the first member is the key
///         int balance = 0;
///     };
///     BOOST_DESCRIBE_STRUCT(Account, (), (owner, balance))
///
/// A type of another kind, or a stored form of your own, takes a specialisation of `StateTraits`: the example
/// `state_traits.cpp` shows one.

#include <interlock/core/codec/describe_codec.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/versioned.hpp>

#include <charconv>
#include <concepts>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {

/// The stored form that the library gives to strings, integers, `BOOST_DESCRIBE_STRUCT` types (nested ones,
/// too), and optionals, vectors, pairs and tuples of those: `encode`, `decode`, `encoded_size`. A
/// specialisation of `StateTraits` may inherit from it to keep those.
///
/// Strings are stored as their bytes and integers as decimal text. Everything else begins with a format byte;
/// a type with a described struct in it has the names and the kinds of its members there as well.
///
/// **A struct may get new members**, and two releases may run side by side: each reads what the other has
/// written. See "When a state gets a new member" in `core/README.md`, and `MemberHistory` for members that
/// are renamed or removed. A member of another kind is refused, as `corrupt_state` that names it.
template <class T>
struct DefaultStateTraits {
    /// Appends the stored form of `value` to `out`.
    static void encode(T const& value, std::string& out)
        requires(detail::codable<T>())
    {
        if constexpr (std::is_same_v<T, std::string>) {
            out += value;
        } else if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool> && sizeof(T) > 1) {
            char buffer[24];
            auto const end = std::to_chars(buffer, buffer + sizeof buffer, value);
            out.append(buffer, end.ptr);
        } else {
            detail::StringSink sink{out};
            detail::encode_described(sink, value);
        }
    }

    /// The value, or nothing: when the bytes are not a `T`, when there are bytes too many, or when their
    /// shape is one that `T` has neither grown from nor into.
    static std::optional<T> decode(std::string_view bytes)
        requires(detail::codable<T>())
    {
        if constexpr (std::is_same_v<T, std::string>) {
            return std::string(bytes);
        } else if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool> && sizeof(T) > 1) {
            T value{};
            auto const end = std::from_chars(bytes.data(), bytes.data() + bytes.size(), value);
            if (end.ec != std::errc{} || end.ptr != bytes.data() + bytes.size())
                return std::nullopt;
            return value;
        } else {
            detail::Reading reading;
            return detail::decode_described<T>(bytes, reading);
        }
    }

    /// How many bytes `encode` appends for `value`.
    static std::size_t encoded_size(T const& value)
        requires(detail::codable<T>())
    {
        if constexpr (std::is_same_v<T, std::string>) {
            return value.size();
        } else if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool> && sizeof(T) > 1) {
            char buffer[24];
            return static_cast<std::size_t>(
                std::to_chars(buffer, buffer + sizeof buffer, value).ptr - buffer);
        } else {
            detail::SizeSink sink;
            detail::encode_described(sink, value);
            return sink.size;
        }
    }
};

namespace detail {
/// The members of a described struct, as a tuple of references.
template <class K, template <class...> class L, class... D>
auto tie_members(K& key, L<D...>)
{
    return std::tie(key.*D::pointer...);
}
}  // namespace detail

/// For a struct whose members are its parts: the bytes are those of a tuple of the members. A class that has
/// some of them described as protected or private needs `KeyTraits` of its own: without those, two keys would
/// be one.
template <class K>
    requires(
        detail::Described<K> && detail::all_public<K>() && !std::convertible_to<K const&, std::string_view>)
struct KeyTraits<K> {
    static std::string encode(K const& key)
    {
        return detail::encode_key_parts(detail::tie_members(key, detail::described_members<K>{}));
    }
    static K decode(std::string_view bytes)
        requires std::default_initializable<K>
    {
        K key{};
        std::apply(
            [&](auto&... part) {
                ((part = detail::decode_key_part<std::remove_cvref_t<decltype(part)>>(bytes)), ...);
            },
            detail::tie_members(key, detail::described_members<K>{}));
        return key;
    }
};

namespace detail {
/// The first described member of `T`, which is its key by default. Undefined where there is none.
template <class T>
struct first_member;
template <class T>
    requires(Described<T> && boost::mp11::mp_size<described_members<T>>::value > 0)
struct first_member<T> {
    static constexpr auto pointer = boost::mp11::mp_front<described_members<T>>::pointer;
    using type = std::remove_cvref_t<decltype(std::declval<T&>().*pointer)>;
};
}  // namespace detail

/// What the library must know about a state `T`. Customise it by a specialisation. Each member is optional
/// until a backend or a service needs it; without it, that use does not compile.
///
/// | member | meaning | by default |
/// |---|---|---|
/// | `key_type` | what names a state; has `KeyTraits` | type of the first member; `T` for strings, integers |
/// | `key(T const&)` | the key of a state | the first described member; the value itself |
/// | `from_key(key)` | a fresh state with that key | a default `T` with the first member set |
/// | `encode(T const&, std::string&)` | appends the stored form | see `DefaultStateTraits` |
/// | `decode(std::string_view)` | `std::optional<T>`, empty for foreign bytes | likewise |
/// | `encoded_size(T const&)` | how many bytes `encode` appends | likewise |
///
/// A class that keeps its members to itself is given a key and a stored form like this:
///
///     template <>
///     struct interlock::StateTraits<Cabin> {
///         using key_type = std::string;
///         static key_type key(Cabin const& cabin) { return cabin.flight(); }
///         static void encode(Cabin const& cabin, std::string& out) { out += cabin.to_text(); }
///         static std::optional<Cabin> decode(std::string_view bytes) { return Cabin::from_text(bytes); }
///     };
///
/// **Stability.** What `encode` writes stays in the store. A later version of the program must still `decode`
/// it, also while both versions run beside each other during a deploy.
/// **Changes.** A state is written when its stored form has changed: described members are compared one by
/// one, and what `encode` makes of types with a form of their own. The `==` of a class is not trusted alone,
/// since entities are often equal when their ids are. A type that is neither counts as changed.
/// **Failures.** If `encode` throws, the write fails with `invalid_argument` and nothing is stored. If
/// `decode` throws or gives nothing, the read fails with `corrupt_state`. `std::bad_alloc` alone is passed
/// on.
/// **Thread safety.** The members are static, and several threads call them at once.
template <class T>
struct StateTraits : DefaultStateTraits<T> {};

/// A string or an integer is its own key.
template <class T>
    requires(std::same_as<T, std::string> || (std::integral<T> && !std::same_as<T, bool>))
struct StateTraits<T> : DefaultStateTraits<T> {
    using key_type = T;
    static T const& key(T const& value) noexcept { return value; }
    static T from_key(T key) { return key; }
};

/// A described struct is named by its first member.
template <class T>
    requires requires { typename detail::first_member<T>::type; }
struct StateTraits<T> : DefaultStateTraits<T> {
    using key_type = typename detail::first_member<T>::type;
    static key_type const& key(T const& value) noexcept { return value.*detail::first_member<T>::pointer; }
    static T from_key(key_type key)
        requires std::default_initializable<T>
    {
        T value{};
        value.*detail::first_member<T>::pointer = std::move(key);
        return value;
    }
};

/// A type whose key the library can derive from a value, so that calls may name a state by itself:
/// `service.do_in_transaction(account, ...)`. A type that does not model it needs a `StateRepository<T,
/// Key>`.
template <class T>
concept KeyedState = requires(T const& value) {
    typename StateTraits<T>::key_type;
    { StateTraits<T>::key(value) } -> std::convertible_to<typename StateTraits<T>::key_type>;
};

/// A type that can be turned into bytes and back: the states of remote stores, and the results of operations
/// with an operation id or an idempotency key. `void` counts as one.
template <class T>
concept StorableState = std::is_void_v<T> || requires(T const& value, std::string& out, std::string_view in) {
    StateTraits<T>::encode(value, out);
    { StateTraits<T>::decode(in) } -> std::convertible_to<std::optional<T>>;
};

/// What may name a state in a call to a repository with values `T` and keys `K`: a `T` exactly, if its key
/// can be derived, or anything that converts to `K`.
template <class A, class T, class K>
concept KeyOrState =
    (std::same_as<std::remove_cvref_t<A>, T> && KeyedState<T>) || std::convertible_to<A const&, K> ||
    (std::same_as<K, std::string> && std::convertible_to<A const&, std::string_view>) ||
    std::same_as<std::remove_cvref_t<A>, Key>;

/// The key that `argument` names in a repository with values `T` and keys `K`. A `Key` is taken as it is.
///
/// A string literal, or a buffer, that has other bytes behind the NUL which ends its text becomes an empty
/// `Key`, and every call refuses an empty key with `invalid_argument`: the library does not guess what was
/// meant. Pass a `std::string_view` with the length instead.
template <class T, class K, KeyOrState<T, K> A>
Key make_key(A const& argument)
{
    using Argument = std::remove_cvref_t<A>;
    if constexpr (std::same_as<Argument, Key>) {
        return argument;
    } else if constexpr (std::same_as<Argument, T> && KeyedState<T>) {
        return Key{KeyTraits<typename StateTraits<T>::key_type>::encode(StateTraits<T>::key(argument))};
    } else if constexpr (std::is_array_v<Argument> && std::convertible_to<A const&, std::string_view>) {
        if (detail::hides_bytes(argument))
            return Key{};
        std::string_view const text{argument};
        if constexpr (std::same_as<K, std::string>)
            return Key{text};
        else
            return Key{KeyTraits<K>::encode(K(text))};
    } else if constexpr (std::convertible_to<A const&, std::string_view> && std::same_as<K, std::string>) {
        return Key{std::string_view{argument}};
    } else {
        return Key{KeyTraits<K>::encode(static_cast<K>(argument))};
    }
}

namespace detail {

/// `StateTraits<T>::key_type`, or `void` where there is none.
template <class T, class K>
struct key_type_or {
    using type = void;
};
template <class T, class K>
    requires KeyedState<T>
struct key_type_or<T, K> {
    using type = typename StateTraits<T>::key_type;
};

/// The key type that a repository for `T` was given; if it was given none (`void`), that of `T` itself.
template <class T, class K>
struct repository_key {
    using type = K;
};
template <class T, class K>
struct repository_key<T const, K> {
    static_assert(
        sizeof(T) == 0, "write the type of a state without const: a repository is there to change it");
    using type = std::string;
};
template <class T>
struct repository_key<T const, void> : repository_key<T const, std::string> {};
template <class T>
struct repository_key<T, void> {
    static_assert(
        !KeyedState<T> || KeyType<typename key_type_or<T, void>::type>,
        "the first described member is the key, and a type like this cannot be one: describe an integer, a "
        "string or an "
        "enumeration first, or specialise KeyTraits for it");
    static_assert(
        KeyedState<T>,
        "this state has no key: describe it with BOOST_DESCRIBE_STRUCT, give its StateTraits a key, or name "
        "the "
        "type of the key, as in StateRepository<T, std::string>");
    // A type without a key goes on as if its key were a string, so that the message above stays the only one.
    using type = std::conditional_t<KeyedState<T>, typename key_type_or<T, void>::type, std::string>;
};
template <class T, class K>
using repository_key_t = typename repository_key<T, K>::type;

}  // namespace detail

}  // namespace v0
}  // namespace interlock

#include <interlock/core/detail/impl/state_traits.ipp>

#endif  // INTERLOCK_CORE_STATE_TRAITS_HPP
