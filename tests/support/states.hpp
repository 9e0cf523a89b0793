// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_STATES_HPP
#define INTERLOCK_TESTS_SUPPORT_STATES_HPP

/// @file
/// The states that tests work on.

#include <boost/describe/class.hpp>

#include <cstdint>
#include <string>

namespace interlock_test {

struct Stock {
    std::string sku;
    int quantity{0};
    friend bool operator==(Stock const&, Stock const&) = default;
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

struct Account {
    std::int64_t id{0};
    std::int64_t balance{0};
    std::string note;
};
BOOST_DESCRIBE_STRUCT(Account, (), (id, balance, note))

/// What an operation answers where the answer must be stored.
struct Response {
    int code{0};
    std::string body;
    friend bool operator==(Response const&, Response const&) = default;
};
BOOST_DESCRIBE_STRUCT(Response, (), (code, body))

}  // namespace interlock_test

#endif  // INTERLOCK_TESTS_SUPPORT_STATES_HPP
