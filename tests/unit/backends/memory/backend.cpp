// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/memory/backend.hpp>

#include "support/catch.hpp"
#include "support/states.hpp"

#include <string>
#include <type_traits>

namespace memory_backend_test {

using namespace interlock;

struct Unkeyed {
    int value{0};
};

TEST_CASE("the memory backend opens a new, empty store", "[memory][backend]")
{
    CHECK(memory::backend.scheme == "memory");
    auto const repository = memory::backend.open<interlock_test::Stock>("memory:");
    CHECK(repository.load("x").errc() == Errc::not_found);
    CHECK(repository.insert(interlock_test::Stock{"x", 1}));
    CHECK(memory::backend.open<interlock_test::Stock>("memory:").load("x").errc() == Errc::not_found);
    CHECK_THROWS_AS(memory::backend.open<interlock_test::Stock>("memory:x"), Error);
    for (auto const* url : {"", "memory", ":hunter2", "://hunter2", "hunter2"})
        CHECK_THROWS_WITH(
            open<interlock_test::Stock>(url, memory::backend),
            "invalid_argument: the URL begins with no scheme; this program knows memory:");
    CHECK_THROWS_AS(memory::backend.open_idempotency_store("memory:x"), Error);
}

TEST_CASE("a state without a key of its own is named by a string", "[memory][backend]")
{
    auto const repository = memory::backend.open<Unkeyed>("memory:");
    static_assert(std::is_same_v<decltype(repository)::key_type, std::string>);
    CHECK(repository.insert("a", Unkeyed{4}));
    CHECK(repository.load("a")->value.value == 4);
}

}  // namespace memory_backend_test
