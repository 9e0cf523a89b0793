// SPDX-License-Identifier: BSL-1.0

#include <interlock/core/kit/state_slot.hpp>

#include "support/catch.hpp"
#include "support/states.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace state_slot_test {

using namespace interlock;
using interlock_test::Account;
using interlock_test::Stock;

TEST_CASE("a state slot knows whether the operation changed the state", "[core][state_slot]")
{
    StateSlot<Stock, std::string> slot;
    Versioned<Stock> loaded{Stock{"x", 1}, 7};
    slot.load(loaded);
    Key const key{"x"};
    CHECK_FALSE(slot.changed());
    CHECK(slot.change(key).kind == ChangeKind::verify);
    slot.value().quantity = 2;
    CHECK(slot.changed());
    CHECK(slot.change(key).kind == ChangeKind::write);
    CHECK(slot.change(key).version == 7);
    CHECK(slot.keeps(key));
    slot.value().sku = "y";
    CHECK_FALSE(slot.keeps(key));
    slot.load(loaded);  // of a run before nothing is left
    CHECK_FALSE(slot.changed());
    CHECK(slot.keeps(key));
}

TEST_CASE("a fresh state carries its key and is always written", "[core][state_slot]")
{
    StateSlot<Stock, std::string> slot;
    REQUIRE(slot.create(Key{"x"}, std::nullopt));
    CHECK(slot.value() == Stock{"x", 0});
    CHECK(slot.changed());
    CHECK(slot.change(Key{"x"}).version == no_version);
    REQUIRE(slot.create(Key{"x"}, Stock{"x", 5}));
    CHECK(slot.value().quantity == 5);
}

TEST_CASE("a repository may have keys of another type than the state", "[core][state_slot]")
{
    // One that converts makes a fresh state; one that does not needs a named one, and says so.
    StateSlot<Account, std::int16_t> narrow;
    REQUIRE(narrow.create(make_key<Account, std::int16_t>(std::int16_t{12}), std::nullopt));
    CHECK(narrow.value().id == 12);
    StateSlot<Account, std::string> text;
    CHECK(text.create(Key{"twelve"}, std::nullopt).errc() == Errc::not_found);
    Account const named{12, 0, {}};
    REQUIRE(text.create(Key{"twelve"}, named));
    CHECK(text.value().id == 12);
}

TEST_CASE("one state with a changed key among several is enough for a refusal", "[core][state_slot]")
{
    std::array<StateSlot<Stock, std::string>, 2> slots;
    std::array const keys{Key{"x"}, Key{"y"}};
    REQUIRE(slots[0].create(keys[0], std::nullopt));
    REQUIRE(slots[1].create(keys[1], std::nullopt));
    CHECK_FALSE(detail::changed_key(slots, std::span<Key const, 2>(keys)));
    slots[1].value().sku = "x";
    auto const refused = detail::changed_key(slots, std::span<Key const, 2>(keys));
    REQUIRE(refused);
    CHECK(refused->errc() == Errc::invalid_argument);
    CHECK(refused->detail() == "the operation changed the key of one of its states: y");
}

}  // namespace state_slot_test
