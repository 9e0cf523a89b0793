// expect: UpcastFromEachVersion
// SPDX-License-Identifier: BSL-1.0

// Version 3 says how version 2 is read, and nobody says how version 1 is.

#include <interlock/patterns/contract.hpp>

#include <boost/describe/class.hpp>

#include <string>

namespace il = interlock;

struct SoldV1 {
    std::string sku;
    static constexpr il::EventType event{"stock.sold", 1};
};
BOOST_DESCRIBE_STRUCT(SoldV1, (), (sku))

struct SoldV2 {
    std::string sku;
    static constexpr il::EventType event{"stock.sold", 2};
};
BOOST_DESCRIBE_STRUCT(SoldV2, (), (sku))

struct Sold {
    std::string sku;
    static constexpr il::EventType event{"stock.sold", 3};
    static Sold upcast(SoldV2 const& old) { return {old.sku}; }
};
BOOST_DESCRIBE_STRUCT(Sold, (), (sku))

using Facts = il::Contract<Sold, SoldV2, SoldV1>;
