// SPDX-License-Identifier: BSL-1.0

#include <interlock/core/fencing_token.hpp>

#include "support/catch.hpp"

#include <cstdint>
#include <cstring>

namespace fencing_token_test {

using namespace interlock;

TEST_CASE("fencing tokens are ordered, and zero means no token", "[core][fencing_token]")
{
    CHECK(FencingToken{1} < FencingToken{2});
    CHECK(FencingToken{2} == FencingToken{2});
    CHECK((FencingToken{~std::uint64_t{0}} > FencingToken{1}));
    CHECK_FALSE(FencingToken{});
    CHECK(FencingToken{1});
    CHECK(FencingToken{7}.value() == 7);
}

TEST_CASE("an owner token is its 128 bits, and all zero means no token", "[core][fencing_token]")
{
    OwnerToken const a{{1, 2}};
    CHECK(a == OwnerToken{{1, 2}});
    CHECK_FALSE(a == OwnerToken{{2, 1}});
    CHECK_FALSE(OwnerToken{});
    CHECK(OwnerToken{{0, 1}});
    auto const bytes = a.bytes();
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    std::memcpy(&low, bytes.data(), 8);
    std::memcpy(&high, bytes.data() + 8, 8);
    CHECK(low == 1);
    CHECK(high == 2);
}

}  // namespace fencing_token_test
