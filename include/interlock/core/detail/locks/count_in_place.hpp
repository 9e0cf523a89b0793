// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_LOCKS_COUNT_IN_PLACE_HPP
#define INTERLOCK_CORE_DETAIL_LOCKS_COUNT_IN_PLACE_HPP

// Room in an object for what its `std::shared_ptr` counts its handles with, so that both are one allocation.
// How much a standard library needs for that is its own affair: where the room does not suffice, the heap is
// used.

#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Enough for a deleter without members, an allocator of one pointer, and the counts of the libraries that
/// are known.
inline constexpr std::size_t usual_count_size = 64;

/// The room. An object has one as a member.
template <std::size_t Size = usual_count_size>
struct CountRoom {
    alignas(std::max_align_t) std::byte bytes[Size];
};

/// The allocator to make the `std::shared_ptr` with. `Owner` has a `count_room()` and counts its own
/// references; one of them is the handles', and is dropped when the count is gone. May throw where the room
/// does not suffice.
template <class Owner, class X>
class CountInPlace {
    using Room = std::remove_reference_t<decltype(std::declval<Owner&>().count_room())>;
    static constexpr bool fits = sizeof(X) <= sizeof(Room) && alignof(X) <= alignof(std::max_align_t);

public:
    using value_type = X;
    template <class Y>
    struct rebind {
        using other = CountInPlace<Owner, Y>;
    };

    explicit CountInPlace(Owner* owner) noexcept : owner_(owner) {}
    template <class Y>
    CountInPlace(CountInPlace<Owner, Y> const& other) noexcept : owner_(other.owner())  // NOLINT
    {}
    Owner* owner() const noexcept { return owner_; }

    X* allocate(std::size_t n)
    {
        if constexpr (fits)
            if (n == 1)
                return reinterpret_cast<X*>(owner_->count_room().bytes);
        return std::allocator<X>{}.allocate(n);
    }
    void deallocate(X* count, std::size_t n) noexcept
    {
        auto* const owner = owner_;  // this may be a part of what is freed
        if (!fits || n != 1)
            std::allocator<X>{}.deallocate(count, n);
        owner->drop_reference();
    }
    template <class Y>
    bool operator==(CountInPlace<Owner, Y> const& other) const noexcept
    {
        return owner_ == other.owner();
    }

private:
    Owner* owner_;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_LOCKS_COUNT_IN_PLACE_HPP
