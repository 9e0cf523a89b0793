// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_RELAY_BOOKS_HPP
#define INTERLOCK_EXAMPLES_RELAY_BOOKS_HPP

// What the sender keeps in its store, whichever that is.

#include <interlock/core/contracts/any_event_repository.hpp>
#include <interlock/core/state_repository.hpp>
#include <interlock/patterns/contract.hpp>
#include <interlock/patterns/cursor.hpp>

#include <boost/describe.hpp>

#include <cstdint>
#include <string>

namespace relay {

namespace il = interlock;

struct Stock {
    std::string sku;
    std::int64_t sold{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, sold))

/// What is said to whoever wants to know, in whatever language.
struct Sold {
    std::string sku;
    int quantity{1};
    static constexpr il::EventType event{"stock.sold", 1};
};
BOOST_DESCRIBE_STRUCT(Sold, (), (sku, quantity))

using Facts = il::Contract<Sold>;

struct Books {
    il::AnyEventRepository events;
    il::StateRepository<Stock> stock;
    il::StateRepository<il::Cursor> cursors;
};

/// `url`: memory:, redis://…, unix://… or postgresql://…; `name`: the name space, so that a second run under
/// it goes on where the first one ended. Throws `Error` for a URL of no store that this program was built
/// with.
Books open_books(std::string const& url, std::string const& name);

}  // namespace relay

#endif  // INTERLOCK_EXAMPLES_RELAY_BOOKS_HPP
