// expect: choose a repository whose store keeps events
// SPDX-License-Identifier: BSL-1.0

// An operation that records, on a store that keeps no events.

#include "../support/plain_repositories.hpp"

struct Sold {
    std::string sku;
    static constexpr il::EventType event{"stock.sold", 1};
};
BOOST_DESCRIBE_STRUCT(Sold, (), (sku))

void use(Leases stock)
{
    il::TransactionService service{il::OptimisticVersioning{}, stock};
    service.do_in_transaction("sku-1", [](Stock& s, il::Recorder& record) { record(Sold{s.sku}); });
}
