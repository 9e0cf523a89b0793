// SPDX-License-Identifier: BSL-1.0

// A program that runs beside processes with version 0.1 writes what they read. It is a program of its own,
// since the format is chosen for a whole program.

#define INTERLOCK_STORED_FORMAT 1

#include <interlock/core/state_traits.hpp>

#include <boost/describe/class.hpp>

#include "support/catch.hpp"

#include <optional>
#include <string>

namespace first_format_test {

using namespace interlock;

struct Cart {
    std::string id;
    int items{0};
};
BOOST_DESCRIBE_STRUCT(Cart, (), (id, items))
struct Grown {
    std::string id;
    int items{0};
    std::optional<std::string> coupon;
};
BOOST_DESCRIBE_STRUCT(Grown, (), (id, items, coupon))

TEST_CASE(
    "the format of version 0.1 can still be written, and is read by a struct that grew",
    "[core][first_format]")
{
    std::string bytes;
    StateTraits<Cart>::encode({"c-1", 3}, bytes);
    CHECK(bytes == "\x01\xd0\xa3\xef\x3a\x03\x63\x2d\x31\x06");
    auto const grown = StateTraits<Grown>::decode(bytes);
    REQUIRE(grown);
    CHECK(grown->items == 3);
    CHECK_FALSE(grown->coupon);
    // The other format is read all the same.
    CHECK(
        StateTraits<Cart>::decode("\x02\x0c\x7b\x02\xe0\x6a\x38\x37\x73\x8f\x33\x79\x3a\x69\x03\x63\x2d\x31"
                                  "\x06"));
}

}  // namespace first_format_test
