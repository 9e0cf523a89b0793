// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_UNIT_CORE_TRANSACTION_SERVICE_HPP
#define INTERLOCK_TESTS_UNIT_CORE_TRANSACTION_SERVICE_HPP

/// @file
/// What the tests of a `TransactionService` begin with: a stocked store in memory.

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>

#include "support/states.hpp"

#include <string>
#include <utility>

namespace transaction_service_test {

using namespace interlock;
using interlock_test::Stock;

using Repository = memory::StateRepository<Stock>;

inline Repository stocked(int quantity = 10)
{
    Repository repository;
    static_cast<void>(repository.insert(Stock{"sku-1", quantity}).value());
    static_cast<void>(repository.insert(Stock{"sku-2", quantity}).value());
    return repository;
}

inline int quantity(Repository const& repository, std::string const& sku = "sku-1")
{
    return repository.load(sku).value().value.quantity;
}

inline constexpr auto decrement = [](Stock& s) { return --s.quantity; };

template <class P>
auto service_of(P policy, Repository const& repository, ServiceOptions options = {})
{
    return TransactionService{std::move(policy), repository, options};
}

}  // namespace transaction_service_test

#endif  // INTERLOCK_TESTS_UNIT_CORE_TRANSACTION_SERVICE_HPP
