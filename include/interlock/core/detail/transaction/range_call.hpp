// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_TRANSACTION_RANGE_CALL_HPP
#define INTERLOCK_CORE_DETAIL_TRANSACTION_RANGE_CALL_HPP

/// @file
/// How an operation gets the states of a range, all in one argument.

#include <interlock/core/kit/per_key.hpp>

#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

/// The types of that argument, in the order in which they are tried.
enum class RangeAs : unsigned char {
    span,      ///< `std::span<T>`
    pointers,  ///< `std::span<T* const>`
    vector,    ///< `std::vector<T*>`
};

/// In how many ways an operation may get `N` states.
template <std::size_t N>
inline constexpr std::size_t ways = N == std::dynamic_extent ? 3 : 1;

/// A pointer for each key, as the operation gets them.
template <class X, RangeAs As>
class RangeOfPointers {
public:
    using argument = std::conditional_t<As == RangeAs::vector, std::vector<X*>, std::span<X* const>>;

    /// `get(i)` refers to what belongs to the i-th key.
    template <class Get>
    argument& fill(std::size_t size, Get get)
    {
        pointers_.clear();
        for (std::size_t i = 0; i < size; ++i)
            pointers_.push_back(&get(i));
        if constexpr (As == RangeAs::vector) {
            return pointers_;
        } else {
            shown_ = pointers_;
            return shown_;
        }
    }

private:
    std::vector<X*> pointers_;
    std::span<X* const> shown_;
};

/// The states of a range for one run: an lvalue, so that a coroutine may take it by reference.
template <class T, RangeAs As>
class RangeOfStates : public RangeOfPointers<T, As> {
public:
    template <class Transaction>
    static void give_back(Transaction&) noexcept
    {}
};
/// Side by side. They are moved here before the operation runs, and back when it has returned; after a throw
/// nobody looks at them again.
template <class T>
class RangeOfStates<T, RangeAs::span> {
    // A std::vector<bool> has nothing that a span could show.
    using Held =
        std::conditional_t<std::is_same_v<T, bool>, PerKey<bool, std::dynamic_extent>, std::vector<T>>;

public:
    using argument = std::span<T>;

    template <class Get>
    argument& fill(std::size_t size, Get get)
    {
        if constexpr (std::is_same_v<T, bool>) {
            held_ = PerKey<bool, std::dynamic_extent>(size);
            for (std::size_t i = 0; i < size; ++i)
                held_[i] = get(i);
        } else {
            held_.clear();
            held_.reserve(size);
            for (std::size_t i = 0; i < size; ++i)
                held_.push_back(std::move(get(i)));
        }
        shown_ = std::span<T>(held_.data(), held_.size());
        return shown_;
    }
    template <class Transaction>
    void give_back(Transaction& transaction)
    {
        for (std::size_t i = 0; i < held_.size(); ++i)
            transaction.state(i) = std::move(held_[i]);
    }

private:
    Held held_{};
    std::span<T> shown_;
};

/// What an operation is given of locks.
template <class Session>
struct lock_of {
    using type = void;
};
template <class Session>
    requires requires { typename Session::lock_type; }
struct lock_of<Session> {
    using type = typename Session::lock_type;
};
struct NoRange {
    template <class Transaction>
    static void give_back(Transaction&) noexcept
    {}
};
template <class Lock, RangeAs As>
struct locks_of_range {
    using type = RangeOfPointers<Lock, As>;
};
template <RangeAs As>
struct locks_of_range<void, As> {
    using type = NoRange;
};

/// What is kept for the arguments of a run. For a number of keys that is known at compile time: nothing.
template <class Session, std::size_t N, RangeAs As>
struct RangeArguments : NoRange {};
template <class Session, RangeAs As>
struct RangeArguments<Session, std::dynamic_extent, As> {
    RangeOfStates<typename Session::value_type, As> states;
    typename locks_of_range<typename lock_of<Session>::type, As>::type locks;

    template <class Transaction>
    void give_back(Transaction& transaction)
    {
        states.give_back(transaction);
    }
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_TRANSACTION_RANGE_CALL_HPP
