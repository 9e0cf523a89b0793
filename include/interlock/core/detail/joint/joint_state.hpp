// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_JOINT_JOINT_STATE_HPP
#define INTERLOCK_CORE_DETAIL_JOINT_JOINT_STATE_HPP

/// @file
/// A state of one of several repositories, and its key. To policies such states are of one type, so that a
/// call that changes states of several types is to them what `keys(a, b)` is of one.

#include <interlock/core/key.hpp>
#include <interlock/core/state_traits.hpp>

#include <concepts>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Which of several repositories a key belongs to, in front of the key's own bytes: the place of the
/// repository among all in the order of `place_in_order`, as a digit; its place in the `JointRepository`, as
/// a letter; a colon. The digit comes first, so that the order of keys does not depend on the order in which
/// a program names its repositories: the home of an operation is the same key in every program.
struct JointMark {
    static constexpr std::size_t size = 3;
    static constexpr std::size_t most = 9;  // repositories
    static constexpr std::size_t nowhere = most;

    std::size_t place{nowhere};
    std::size_t index{nowhere};

    std::string in_front_of(std::string_view bytes) const
    {
        std::string out;
        out.reserve(size + bytes.size());
        out += static_cast<char>('1' + place);
        out += static_cast<char>('a' + index);
        out += ':';
        out += bytes;
        return out;
    }
    /// The mark in front of `bytes`; of bytes that have none, one that belongs nowhere.
    static JointMark of(std::string_view bytes) noexcept
    {
        if (bytes.size() < size)
            return {};
        return {static_cast<std::size_t>(bytes[0] - '1'), static_cast<std::size_t>(bytes[1] - 'a')};
    }
    static std::string_view behind(std::string_view bytes) noexcept
    {
        return bytes.substr(bytes.size() < size ? bytes.size() : size);
    }
};

/// The key of a `JointState`.
struct JointKey {
    std::string bytes;  // with the mark in front
    bool whole{true};   // false: the state does not say its key, so that there is the mark alone
};

/// Whether states of `R` say the key that they are stored under.
template <class R>
inline constexpr bool says_its_key =
    std::is_same_v<typename key_type_or<typename R::value_type, void>::type, typename R::key_type>;

/// A state of one of the repositories `R`.
template <class... R>
class JointState {
public:
    using variant_type = std::variant<typename R::value_type...>;

    template <std::size_t I, class T>
    JointState(std::in_place_index_t<I> index, JointMark mark, T&& state)
        : state_(index, std::forward<T>(state)), mark_(mark)
    {}

    JointMark mark() const noexcept { return mark_; }
    variant_type const& variant() const noexcept { return state_; }
    variant_type& variant() noexcept { return state_; }
    /// Precondition: it is a `T`.
    template <class T>
    T& as() noexcept
    {
        T* found = nullptr;
        std::visit(
            [&](auto& state) {
                if constexpr (std::is_same_v<std::remove_cvref_t<decltype(state)>, T>)
                    found = &state;
            },
            state_);
        return *found;
    }

    /// For `surely_equal`.
    static constexpr bool surely_comparable = (can_compare<typename R::value_type>() && ...);
    bool surely_equals(JointState const& other) const { return surely_equal(state_, other.state_); }

private:
    variant_type state_;
    JointMark mark_;
};

/// Whether a fresh state of `R` can be made from its key, as `StateSlot::create` does it.
template <class R>
constexpr bool can_make_from_key() noexcept
{
    using T = typename R::value_type;
    if constexpr (KeyedState<T>)
        return requires(std::string_view bytes) {
            StateTraits<T>::from_key(KeyTraits<typename R::key_type>::decode(bytes));
        };
    else
        return std::is_default_constructible_v<T>;
}
template <class R>
typename R::value_type made_from_key(std::string_view bytes)
{
    using T = typename R::value_type;
    if constexpr (KeyedState<T>)
        return StateTraits<T>::from_key(KeyTraits<typename R::key_type>::decode(bytes));
    else
        return T();
}

}  // namespace detail

template <>
struct KeyTraits<detail::JointKey> {
    static std::string encode(detail::JointKey const& key) { return key.bytes; }
    static detail::JointKey decode(std::string_view bytes) { return {std::string(bytes), true}; }
    static bool matches(Key const& key, detail::JointKey const& value) noexcept
    {
        return value.whole ? key.bytes() == value.bytes : key.bytes().starts_with(value.bytes);
    }
};

template <class... R>
struct StateTraits<detail::JointState<R...>> {
    using State = detail::JointState<R...>;
    using key_type = detail::JointKey;

    static key_type key(State const& state) { return key(state, std::index_sequence_for<R...>{}); }
    static State from_key(key_type const& key)
        requires(detail::can_make_from_key<R>() && ...)
    {
        return from_key(key, std::index_sequence_for<R...>{});
    }

private:
    template <std::size_t... I>
    static key_type key(State const& state, std::index_sequence<I...>)
    {
        key_type out{{}, false};
        (void)((state.variant().index() == I && (add_key<R, I>(state, out), true)) || ...);
        return out;
    }
    template <class Q, std::size_t I>
    static void add_key(State const& state, key_type& out)
    {
        out.whole = detail::says_its_key<Q>;
        if constexpr (detail::says_its_key<Q>)
            out.bytes = state.mark().in_front_of(KeyTraits<typename Q::key_type>::encode(
                StateTraits<typename Q::value_type>::key(std::get<I>(state.variant()))));
        else
            out.bytes = state.mark().in_front_of({});
    }
    template <std::size_t... I>
    static State from_key(key_type const& key, std::index_sequence<I...>)
    {
        auto const mark = detail::JointMark::of(key.bytes);
        auto const bytes = detail::JointMark::behind(key.bytes);
        std::optional<State> made;
        (void)((mark.index == I &&
                (made.emplace(std::in_place_index<I>, mark, detail::made_from_key<R>(bytes)), true)) ||
               ...);
        return *std::move(made);  // a mark that belongs nowhere is refused before
    }
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_JOINT_JOINT_STATE_HPP
