// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_PER_KEY_HPP
#define INTERLOCK_CORE_KIT_PER_KEY_HPP

/// @file
/// For authors of policies: something for each key of a call. The number of the keys is a constant for
/// `keys(a, b)`, and known at run time for `keys(range)`; a transaction that is
/// written with `PerKey` serves both:
///
///     template <std::size_t N, Form Shape>
///     class Transaction {
///         std::span<Key const, N> keys_;
///         PerKey<StateSlot<T, K>, N> slots_{keys_.size()};
///     };

#include <interlock/core/errc.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/kit/commit_refusal.hpp>
#include <interlock/core/outcome.hpp>

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>

namespace interlock {
inline namespace v0 {

/// An `X` for each of `N` keys: an array, with a constructor that takes the number of the keys.
template <class X, std::size_t N>
class PerKey : public std::array<X, N> {
public:
    /// Default-initialised, as an array is.
    PerKey() noexcept {}
    explicit PerKey(std::size_t) noexcept {}
    /// Value-initialised.
    PerKey(std::size_t, std::in_place_t) noexcept : std::array<X, N>{} {}
};

/// The same where the number of the keys is known at run time. All are value-initialised. **Cost.** One
/// allocation, and none for no key.
template <class X>
class PerKey<X, std::dynamic_extent> {
public:
    PerKey() noexcept = default;
    explicit PerKey(std::size_t size) : values_(size == 0 ? nullptr : new X[size]()), size_(size) {}
    PerKey(std::size_t size, std::in_place_t) : PerKey(size) {}

    std::size_t size() const noexcept { return size_; }
    X* data() noexcept { return values_.get(); }
    X const* data() const noexcept { return values_.get(); }
    X* begin() noexcept { return data(); }
    X* end() noexcept { return data() + size_; }
    X const* begin() const noexcept { return data(); }
    X const* end() const noexcept { return data() + size_; }
    X& operator[](std::size_t i) noexcept { return values_[i]; }
    X const& operator[](std::size_t i) const noexcept { return values_[i]; }

private:
    std::unique_ptr<X[]> values_;
    std::size_t size_{0};
};

namespace detail {

/// `failure` to load the i-th state: where one of several is missing, the text names its key. A repository of
/// several places says by `named(key)` in which of them the key is.
template <class Session, std::size_t N>
[[gnu::cold]] Failure missing_state(
    Failure failure, Session const& session, std::span<Key const, N> keys, std::size_t i)
{
    if (keys.size() == 1 || failure.errc() != Errc::not_found || !failure.detail().empty())
        return failure;
    auto const named = [&] {
        if constexpr (requires { session.repository().named(keys[i]); })
            return session.repository().named(keys[i]);
        else
            return printable_key(keys[i].bytes());
    };
    return Failure{Errc::not_found, named() + ": not_found"};
}

/// What a call is refused with whose i-th and j-th key are one to the store, by different spellings.
[[gnu::cold]] inline Failure key_named_twice(std::size_t i, std::size_t j, std::size_t size)
{
    return Failure{
        Errc::invalid_argument, "a key is named twice: keys " + std::to_string(i + 1) + " and " +
                                    std::to_string(j + 1) + " of " + std::to_string(size) +
                                    " are one, by different spellings"};
}

}  // namespace detail

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_PER_KEY_HPP
