// expect: name it first: auto const stop
// error-elsewhere
// SPDX-License-Identifier: BSL-1.0

// Options refer to a stop token, so a temporary one would be gone.

#include <interlock/interlock.hpp>

#include <boost/describe/class.hpp>

#include <string>

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

void use(
    il::LockStateService<Stock, il::memory::StateRepository<Stock>> const& locks, std::stop_source source)
{
    locks.acquire("sku-1", {.stop = source.get_token()});
}
