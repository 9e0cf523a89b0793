// SPDX-License-Identifier: BSL-1.0

#include <interlock/core/detail/locks/count_in_place.hpp>
#include <interlock/core/kit/ref.hpp>

#include "support/catch.hpp"

#include <cstddef>
#include <functional>
#include <memory>

namespace count_in_place_test {

using namespace interlock::detail;

struct Alive {
    explicit Alive(int& objects) : count(objects) { ++count; }
    Alive(Alive const&) = delete;
    Alive& operator=(Alive const&) = delete;
    ~Alive() { --count; }
    int& count;
};

/// Has room for `Size` bytes, and counts the objects that are left.
template <std::size_t Size>
class Owner final : public Counted {
public:
    static std::shared_ptr<Owner> make(int& objects, int& released)
    {
        auto* const owner = new Owner(objects);
        return {owner, Released{&released}, CountInPlace<Owner, std::byte>{owner}};
    }
    auto& count_room() noexcept { return room_; }
    /// Whether `address` is a part of this.
    bool contains(void const* address) const noexcept
    {
        auto const* const first = reinterpret_cast<std::byte const*>(this);
        return std::less_equal<>{}(first, static_cast<std::byte const*>(address)) &&
               std::less<>{}(static_cast<std::byte const*>(address), first + sizeof *this);
    }

private:
    struct Released {
        void operator()(Owner*) const noexcept { ++*count; }
        int* count;
    };

    explicit Owner(int& objects) : alive_(objects) {}
    ~Owner() override = default;

    Alive alive_;
    CountRoom<Size> room_;
};

template <std::size_t Size>
void check_life()
{
    int objects = 0;
    int released = 0;
    auto first = Owner<Size>::make(objects, released);
    std::weak_ptr<Owner<Size>> const weak = first;
    auto second = first;
    first.reset();
    CHECK(released == 0);
    second.reset();
    CHECK(released == 1);
    CHECK(objects == 1);  // `weak` still needs the count, which is a part of the object
    CHECK_FALSE(weak.lock());
}

TEST_CASE("an object goes when its last handle and the last look at them have gone", "[core][count_in_place]")
{
    check_life<usual_count_size>();
    check_life<1>();  // no standard library gets along with that: the count is on the heap
}

TEST_CASE("a count that has no room in its object is on the heap, and both go", "[core][count_in_place]")
{
    int objects = 0;
    int released = 0;
    Owner<1>::make(objects, released).reset();
    CHECK(released == 1);
    CHECK(objects == 0);
    Owner<usual_count_size>::make(objects, released).reset();
    CHECK(released == 2);
    CHECK(objects == 0);
}

TEST_CASE("what fits lies in the object, what does not lies on the heap", "[core][count_in_place]")
{
    int objects = 0;
    int released = 0;
    using Large = Owner<usual_count_size>;
    using Small = Owner<1>;
    auto const large = Large::make(objects, released);
    auto const small = Small::make(objects, released);
    struct Block {
        void* words[4];
    };
    large->add_reference();  // those of the two blocks
    small->add_reference();
    CountInPlace<Large, Block> here{large.get()};
    CountInPlace<Small, Block> there{small.get()};
    auto* const inside = here.allocate(1);
    auto* const outside = there.allocate(1);
    CHECK(large->contains(inside));
    CHECK_FALSE(small->contains(outside));
    here.deallocate(inside, 1);
    there.deallocate(outside, 1);
    CHECK(objects == 2);
}

}  // namespace count_in_place_test
