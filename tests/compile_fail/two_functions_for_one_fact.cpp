// expect: one of them would never be called
// error-elsewhere
// SPDX-License-Identifier: BSL-1.0

// A second function for a fact.

#include <interlock/patterns/match.hpp>

#include <boost/describe/class.hpp>

#include <string>

namespace il = interlock;

struct Sold {
    std::string sku;
    static constexpr il::EventType event{"stock.sold", 1};
};
BOOST_DESCRIBE_STRUCT(Sold, (), (sku))

il::Outcome<il::Handling> use(il::Event const& event)
{
    return il::match(event, [](Sold const&) {}, [](Sold const&) {});
}
