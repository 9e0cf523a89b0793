// SPDX-License-Identifier: BSL-1.0

// What an operation on a `JointRepository` says of a conflict: which key, where it lives, how often it tried.

#include <interlock/core/contracts/joint_repository.hpp>
#include <interlock/core/kit/place.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>

#include "contract/backends.hpp"
#include "contract/joint_shop.hpp"
#include "support/catch.hpp"

#ifdef INTERLOCK_TESTS_CONTRACT_JOINT

namespace contract {
namespace {

TEMPLATE_LIST_TEST_CASE("A conflict of states of two types names its key and place", "[joint]", JointBackends)
{
    contract::joint::Shop<TestType> const shop;
    auto const disturbed = [&](Stock& stock, interlock_test::Account& account) {
        auto other = shop.other_stock.load("sku-1").value();
        ++other.value.quantity;
        static_cast<void>(shop.other_stock.compare_and_set("sku-1", other.version, other.value).value());
        --stock.quantity;
        --account.balance;
    };
    auto const lost = shop.service({.max_attempts = 2}).try_do_in_transaction(shop.both(), disturbed);
    CHECK(
        lost.failure().message() == "version_conflict: " + interlock::place_of(shop.stock) +
                                        ": sku-1: version_conflict, after 2 attempts");
    CHECK(shop.left() == 12);
    CHECK(shop.balance() == 100);
}

}  // namespace
}  // namespace contract

#endif
