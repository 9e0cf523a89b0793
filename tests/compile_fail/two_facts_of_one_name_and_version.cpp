// expect: DifferentFacts
// SPDX-License-Identifier: BSL-1.0

// A reader could not tell the one from the other.

#include <interlock/patterns/contract.hpp>

#include <boost/describe/class.hpp>

#include <string>

namespace il = interlock;

struct Sold {
    std::string sku;
    static constexpr il::EventType event{"stock.sold", 1};
};
BOOST_DESCRIBE_STRUCT(Sold, (), (sku))

struct AlsoSold {
    std::string sku;
    static constexpr il::EventType event{"stock.sold", 1};
};
BOOST_DESCRIBE_STRUCT(AlsoSold, (), (sku))

using Facts = il::Contract<Sold, AlsoSold>;
