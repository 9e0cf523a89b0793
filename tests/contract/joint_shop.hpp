// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_CONTRACT_JOINT_SHOP_HPP
#define INTERLOCK_TESTS_CONTRACT_JOINT_SHOP_HPP

/// @file
/// What the tests of a `JointRepository` work on: states of two types in one store.

#include <interlock/core/contracts/joint_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>

#include "contract/backends.hpp"

#include <cstdint>

#ifdef INTERLOCK_TESTS_CONTRACT_JOINT

namespace contract::joint {

using interlock_test::Account;

/// A shop's goods and its customers' accounts, and a service on both.
template <class Backend>
struct Shop {
    Backend backend;
    decltype(backend.template states<Stock>()) stock{backend.template states<Stock>()};
    decltype(backend.template states<Account>()) accounts{backend.template states<Account>()};
    decltype(backend.template other_states<Stock>()) other_stock{backend.template other_states<Stock>()};
    decltype(backend.template other_states<Account>()) other_accounts{
        backend.template other_states<Account>()};

    Shop()
    {
        static_cast<void>(stock.insert(Stock{"sku-1", 10}).value());
        static_cast<void>(accounts.insert(Account{1, 100, ""}).value());
    }
    auto service(interlock::OptimisticVersioning policy = {}) const
    {
        return interlock::TransactionService{policy, interlock::JointRepository{stock, accounts}};
    }
    auto service_of_other_client() const
    {
        return interlock::TransactionService{
            interlock::OptimisticVersioning{}, interlock::JointRepository{other_stock, other_accounts}};
    }
    /// Through the other client, which names them in the other order.
    auto other_service() const
    {
        return interlock::TransactionService{
            interlock::OptimisticVersioning{}, interlock::JointRepository{other_accounts, other_stock}};
    }
    auto both() const { return interlock::keys(interlock::in(stock, "sku-1"), interlock::in(accounts, 1)); }
    auto both_of_other() const
    {
        return interlock::keys(interlock::in(other_accounts, 1), interlock::in(other_stock, "sku-1"));
    }
    int left() const { return stock.load("sku-1").value().value.quantity; }
    std::int64_t balance() const { return accounts.load(1).value().value.balance; }
};

}  // namespace contract::joint

#endif

#endif  // INTERLOCK_TESTS_CONTRACT_JOINT_SHOP_HPP
