// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_DETAIL_MEMBER_REQUESTS_HPP
#define INTERLOCK_CORE_KIT_DETAIL_MEMBER_REQUESTS_HPP

/// @file
/// What the members of a repository make of their arguments: encoded keys, loads of several keys, and what an
/// asynchronous twin keeps until its call has ended.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/operation_id.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/state_traits.hpp>
#include <interlock/core/versioned.hpp>

#include <concepts>
#include <cstddef>
#include <iterator>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {

namespace detail {

/// `verb::LoadAll` by as many loads, for stores that have no shorter way. The deadline bounds all of them
/// together.
template <class R>
Outcome<std::vector<std::optional<Versioned<typename R::value_type>>>> load_each(
    R const& repository, std::span<Key const> keys, Deadline deadline)
{
    using T = typename R::value_type;
    if (!deadline.valid())
        return Failure{Errc::invalid_argument, "the deadline is not a number"};
    Deadline const until{deadline.at(repository.runtime().now())};
    std::vector<std::optional<Versioned<T>>> all;
    all.reserve(keys.size());
    for (auto const& key : keys) {
        auto loaded = repository.carry_out(verb::Load<T>{key}, until);
        if (loaded)
            all.emplace_back(*std::move(loaded));
        else if (loaded.errc() == Errc::not_found)
            all.emplace_back();
        else
            return std::move(loaded).failure();
    }
    return all;
}

/// As `verb::LoadAll`: in one trip where the store can.
template <class R>
auto load_all(R const& repository, std::span<Key const> keys, Deadline deadline)
{
    using T = typename R::value_type;
    if constexpr (CarriesOut<R, verb::LoadAll<T>>)
        return repository.carry_out(verb::LoadAll<T>{keys}, deadline);
    else
        return load_each(repository, keys, deadline);
}

/// The encoded key that `key` names; a `Key` itself, without a copy.
template <class T, class K, class A>
decltype(auto) encoded(A const& key)
{
    if constexpr (std::same_as<A, Key>)
        return static_cast<Key const&>(key);
    else
        return make_key<T, K>(key);
}
template <class T, class K, class Keys>
std::vector<Key> encoded_keys(Keys const& keys)
{
    std::vector<Key> all;
    all.reserve(std::size(keys));
    for (auto const& key : keys)
        all.push_back(make_key<T, K>(key));
    return all;
}

// What an asynchronous twin keeps until its call has ended: the storage that its verb refers to.

template <class T>
struct LoadRequest {
    Key key;
    verb::Load<T> verb() const { return {key}; }
};
template <class T>
struct LoadAllRequest {
    std::vector<Key> keys;
    verb::LoadAll<T> verb() const { return {keys}; }
    template <class R>
    auto ask(R const& repository, Deadline deadline) const
    {
        return load_all(repository, keys, deadline);
    }
};
template <class T>
struct InsertRequest {
    Key key;
    T value;
    bool key_of_value{false};
    verb::Insert<T> verb() const { return {key, value, nullptr, key_of_value}; }
};
template <class T>
struct InsertNewRequest {
    T value;
    std::optional<OperationId> id;
    verb::InsertNew<T> verb() const { return {value, id ? &*id : nullptr}; }
};
template <class T>
struct CompareAndSetRequest {
    Key key;
    Version version;
    T value;
    verb::CompareAndSet<T> verb() const { return {key, version, value}; }
};
struct EraseRequest {
    Key key;
    Version version;
    verb::Erase verb() const { return {key, version}; }
};
struct InspectRequest {
    Key key;
    verb::Inspect verb() const { return {key}; }
};
struct BreakLockRequest {
    Key key;
    FencingToken seen;
    verb::BreakLock verb() const { return {key, seen}; }
};

}  // namespace detail

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_DETAIL_MEMBER_REQUESTS_HPP
