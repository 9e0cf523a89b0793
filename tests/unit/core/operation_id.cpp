// SPDX-License-Identifier: BSL-1.0

#include <interlock/core/operation_id.hpp>

#include "support/catch.hpp"

#include <string>
#include <string_view>

namespace operation_id_test {

using namespace interlock;
using namespace std::string_literals;

TEST_CASE("an operation id has 1 to 255 bytes of any value", "[core][operation_id]")
{
    CHECK(OperationId{""}.validate().errc() == Errc::invalid_argument);
    CHECK(OperationId{"x"}.validate());
    CHECK(OperationId{std::string(255, 'x')}.validate());
    auto const long_one = OperationId{std::string(256, 'x')}.validate();
    CHECK(long_one.errc() == Errc::invalid_argument);
    CHECK_THAT(long_one.detail(), Catch::Matchers::ContainsSubstring("256"));
    CHECK(OperationId{"\0\n\xff"s}.validate());
    CHECK(OperationId{"a\0b"s}.value().size() == 3);
    CHECK_FALSE(OperationId{"a\0b"s} == OperationId{"a\0c"s});
    CHECK(OperationId{std::string_view{"a"}} == OperationId{"a"});
}

TEST_CASE("a record as it is made is a tombstone that forbids nothing", "[core][operation_id]")
{
    OperationRecord const record;
    CHECK_FALSE(record.answered);
    CHECK(record.attempt == 0);
    CHECK(record.sequence == 0);
}

}  // namespace operation_id_test
