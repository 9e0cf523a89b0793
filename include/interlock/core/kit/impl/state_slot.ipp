// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_IMPL_STATE_SLOT_IPP
#define INTERLOCK_CORE_KIT_IMPL_STATE_SLOT_IPP

#include <interlock/core/kit/state_slot.hpp>

namespace interlock {
inline namespace v0 {

namespace detail {

template <class T, class K>
bool belongs_to(T const& state, Key const& key)
{
    if constexpr (KeyedState<T> && std::is_same_v<typename key_type_or<T, K>::type, K>) {
        using Traits = KeyTraits<K>;
        decltype(auto) now = StateTraits<T>::key(state);
        if constexpr (requires { Traits::matches(key, now); })
            return Traits::matches(key, now);
        else
            return Traits::encode(now) == key.bytes();
    } else {
        return true;
    }
}

/// The key that `state` says it has; nothing where states do not say.
template <class T, class K>
std::optional<Key> own_key(T const& state)
{
    if constexpr (KeyedState<T> && std::is_same_v<typename key_type_or<T, K>::type, K>)
        return Key{KeyTraits<K>::encode(StateTraits<T>::key(state))};
    else
        return std::nullopt;
}

template <class T, class K>
void StoredKey<T, K>::learn(T const& state, Key const& key)
{
    other_.reset();
    if (!belongs_to<T, K>(state, key))
        other_ = own_key<T, K>(state);
}

}  // namespace detail

template <class T, class K>
bool StateSlot<T, K>::has_loaded_key() const
{
    auto const kept = [&](std::optional<Key> const& loaded) {
        return loaded && detail::belongs_to<T, K>(*value_, *loaded);
    };
    if constexpr (detail::can_compare<T>())
        return original_ != nullptr && kept(detail::own_key<T, K>(*original_));
    else
        return kept(loaded_key_);
}

template <class T, class K>
void StateSlot<T, K>::load(Versioned<T>& loaded)
{
    version_ = loaded.version;
    if constexpr (detail::can_compare<T>()) {
        original_ = &loaded.value;
        value_ = loaded.value;
    } else {
        loaded_key_ = detail::own_key<T, K>(loaded.value);
        value_ = std::move(loaded.value);
    }
    fresh_ = false;
}

template <class T, class K>
Outcome<void> StateSlot<T, K>::create(Key const& key, std::optional<T> const& named)
{
    version_ = no_version;
    fresh_ = true;
    if (named) {
        value_ = *named;
    } else if constexpr (KeyedState<T> && requires(std::string_view bytes) {
                             StateTraits<T>::from_key(KeyTraits<K>::decode(bytes));
                         }) {
        value_ = StateTraits<T>::from_key(KeyTraits<K>::decode(key.bytes()));
    } else if constexpr (!KeyedState<T> && std::is_default_constructible_v<T>) {
        value_.emplace();
    } else {
        return Failure{Errc::not_found, "cannot make a fresh state from a key; name it by a state"};
    }
    return success();
}

template <class T, class K>
Change<T> StateSlot<T, K>::change(Key const& key, Fence const* fence)
{
    return {
        .key = &key,
        .kind = changed() ? ChangeKind::write : ChangeKind::verify,
        .version = version_,
        .value = &*value_,
        .fence = fence,
        .before = before()};
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_IMPL_STATE_SLOT_IPP
