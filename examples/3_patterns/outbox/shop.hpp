// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_OUTBOX_SHOP_HPP
#define INTERLOCK_EXAMPLES_OUTBOX_SHOP_HPP

// The business: what is kept, what is said, and what a shop can be asked, wherever it keeps its books. How it
// does what it is asked stands in shop_on.hpp.

#include <interlock/core/event.hpp>

#include <boost/describe.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

namespace outbox {

struct Stock {
    std::string sku;
    std::int64_t quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

/// What the sales say to whoever wants to know.
struct Sold {
    std::string order;
    std::string sku;
    static constexpr interlock::EventType event{"stock.sold", 1};
};
BOOST_DESCRIBE_STRUCT(Sold, (), (order, sku))

/// What the shipping department does about it, in books of its own.
struct Parcel {
    std::string order;
    int sent{0};  // how often; once is right
};
BOOST_DESCRIBE_STRUCT(Parcel, (), (order, sent))

/// What the books say in the end. Each sale is to be sold once and shipped once.
struct Books {
    std::size_t sold{0};
    std::size_t shipped{0};
    std::size_t doubled{0};  // events and parcels beyond the first one of a sale
    std::size_t lost{0};     // sales without an event or a parcel, and stock that went without a sale
    std::vector<std::string> parked{};  // what could not be handled, and why
};

class Shop {
public:
    Shop() = default;
    Shop(Shop const&) = delete;
    Shop& operator=(Shop const&) = delete;
    virtual ~Shop() = default;

    /// Puts as much into the stock as is to be sold. Once for all processes.
    virtual void open(std::size_t sales) = 0;
    /// Whether the sale was made now; if not, it had been made before. Any thread may sell.
    virtual bool sell(std::size_t sale) const = 0;
    /// Ships what is sold, until a stop is requested, and calls `shipped` for each parcel. Any threads of any
    /// processes may ship at the same time.
    virtual void ship(std::stop_token stop, std::function<void()> const& shipped) const = 0;
    /// Whether all that was sold until now is shipped.
    virtual bool all_shipped() const = 0;
    /// Looks at everything, one by one.
    virtual Books books(std::size_t sales) const = 0;
};

/// `place`: see `place_of`. `careless`: ships without an inbox.
std::unique_ptr<Shop> open_shop(std::string const& place, bool careless);

/// One for each store, in on_<store>.cpp.
std::unique_ptr<Shop> shop_on_memory(bool careless);
std::unique_ptr<Shop> shop_on_redis(std::string const& place, bool careless);
std::unique_ptr<Shop> shop_on_postgres(std::string const& place, bool careless);

/// Where one run of this program keeps its books: in a name space of its own in the store that `url` names.
std::string place_of(std::string const& url);

/// Whether other processes can use it, and it is there when they are gone.
bool outlives_the_program(std::string_view url) noexcept;

}  // namespace outbox

#endif  // INTERLOCK_EXAMPLES_OUTBOX_SHOP_HPP
