// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_RELEASES_HPP
#define INTERLOCK_TESTS_SUPPORT_RELEASES_HPP

/// @file
/// Two releases of a program share a store: what each must see of the other, whatever the store and the
/// policy are.

#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/idempotency_keys.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/describe/class.hpp>

#include "support/catch.hpp"

#include <optional>
#include <string>
#include <vector>

namespace interlock_test {

namespace first_release {
struct Line {
    std::string article;
    int pieces{0};
};
BOOST_DESCRIBE_STRUCT(Line, (), (article, pieces))
struct Cart {
    std::string id;
    int items{0};
    std::vector<Line> lines;
};
BOOST_DESCRIBE_STRUCT(Cart, (), (id, items, lines))
struct Retyped {
    std::string id;
    std::string items;
    std::vector<Line> lines;
};
BOOST_DESCRIBE_STRUCT(Retyped, (), (id, items, lines))
}  // namespace first_release
namespace next_release {
struct Line {
    std::string article;
    int pieces{0};
    double discount{0};
};
BOOST_DESCRIBE_STRUCT(Line, (), (article, pieces, discount))
struct Cart {
    std::string id;
    int items{0};
    std::vector<Line> lines;
    std::optional<std::string> coupon;
    int priority{5};
};
BOOST_DESCRIBE_STRUCT(Cart, (), (id, items, lines, coupon, priority))
}  // namespace next_release

/// A write of the old release, under `policy`, leaves what the new one has added.
template <class Policy, class Old, class New>
void check_keeps(Policy const& policy, Old const& old_store, New const& new_store)
{
    using namespace interlock;
    new_store.insert(next_release::Cart{"a", 1, {}, "X", 9}).value();
    new_store.insert(next_release::Cart{"b", 1, {{"nut", 1, 0.5}}, "Y", 8}).value();
    TransactionService service{policy, old_store};
    // Several times, so that states that are remembered or handed on are written, too.
    for (int i = 0; i < 5; ++i)
        service.do_in_transaction("a", [](first_release::Cart& c) { ++c.items; });
    service.do_in_transaction(keys("b", "a"), [](first_release::Cart& b, first_release::Cart& a) {
        ++a.items;
        ++b.items;
    });
    service.do_in_transaction(OperationId{"once"}, "b", [](first_release::Cart& c) { ++c.items; });
    auto const a = new_store.load("a").value().value;
    CHECK((a.items == 7 && a.coupon == "X" && a.priority == 9));
    auto const b = new_store.load("b").value().value;
    CHECK((b.items == 3 && b.coupon == "Y" && b.priority == 8));
    REQUIRE(b.lines.size() == 1);
    CHECK(b.lines[0].discount == 0.5);
    // What would lose something is refused, and nothing is written.
    auto const lost =
        service.try_do_in_transaction("b", [](first_release::Cart& c) { c.lines.push_back({"bolt", 1}); });
    CHECK(lost.errc() == Errc::invalid_argument);
    CAPTURE(lost.failure().detail());
    CHECK(lost.failure().detail().find("\"lines\"") != std::string_view::npos);
    CHECK(new_store.load("b").value().value.lines.size() == 1);
    old_store.erase("a", old_store.load("a").value().version).value();
    old_store.insert(first_release::Cart{"a", 2, {}}).value();
    CHECK_FALSE(new_store.load("a").value().value.coupon);
    CHECK(new_store.load("a").value().value.priority == 5);
    for (auto const* key : {"a", "b"})
        new_store.erase(key, new_store.load(key).value().version).value();
}

/// Both releases change one state by turns, and neither loses a change of the other.
template <class Policy, class Old, class New>
void check_turns(Policy const& policy, Old const& old_store, New const& new_store)
{
    using namespace interlock;
    old_store.insert(first_release::Cart{"t", 0, {}}).value();
    TransactionService old_service{policy, old_store};
    TransactionService new_service{policy, new_store};
    for (int i = 0; i < 10; ++i) {
        old_service.do_in_transaction("t", [](first_release::Cart& c) { ++c.items; });
        new_service.do_in_transaction("t", [&](next_release::Cart& c) {
            ++c.items;
            ++c.priority;
            c.coupon = std::to_string(i);
        });
    }
    auto const state = new_store.load("t").value().value;
    CHECK((state.items == 20 && state.priority == 15 && state.coupon == "9"));
    new_store.erase("t", new_store.load("t").value().version).value();
}

/// A state of another type is refused in words.
template <class Other, class New>
void check_refusal(Other const& other_store, New const& new_store)
{
    new_store.insert(next_release::Cart{"r", 1, {}, "X", 9}).value();
    auto const refused = other_store.load("r");
    CHECK(refused.errc() == interlock::Errc::corrupt_state);
    CAPTURE(refused.failure().detail());
    CHECK(
        refused.failure().detail().find(
            "member \"items\" is stored as an integer, and is something else in this release") !=
        std::string_view::npos);
}

}  // namespace interlock_test

#endif  // INTERLOCK_TESTS_SUPPORT_RELEASES_HPP
