// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_COMPILE_FAIL_UNNAMED_HPP
#define INTERLOCK_TESTS_COMPILE_FAIL_UNNAMED_HPP

/// @file
/// What the cases unnamed_*.cpp begin with. Each writes something in place inside of a co_await expression
/// that g++ 12 would destroy twice. The library refuses it under g++ 12, and under no other compiler.

#include <interlock/interlock.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/describe/class.hpp>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#if !defined(__GNUC__) || __GNUC__ != 12 || defined(__clang__)
#error this compiler gets it right and the library accepts it; under g++ 12 it says: name it first
#endif

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

using Repository = il::memory::StateRepository<Stock>;
using Service = il::TransactionService<Stock, il::OptimisticVersioning, Repository>;
using Locks = il::LockStateService<Stock, Repository>;

#endif  // INTERLOCK_TESTS_COMPILE_FAIL_UNNAMED_HPP
