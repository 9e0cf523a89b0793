// SPDX-License-Identifier: BSL-1.0

// Shows asynchronous calls as futures, for code that starts several things and waits for all of them at the
// end.
// Needs: nothing.
// Run with: futures

#include <interlock/interlock.hpp>

#include <boost/asio/use_future.hpp>
#include <boost/describe.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <future>
#include <stdexcept>
#include <string>
#include <vector>

namespace asio = boost::asio;
namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity = 0;
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

void check(bool ok)  // like assert, but in release builds, too
{
    if (!ok)
        std::abort();
}

int main()
{
    il::memory::StateRepository<Stock> stock;
    il::TransactionService service{il::PessimisticRowLock{}, stock};
    stock.insert({"sku-1", 20}).value();

    auto const take_one = [](Stock& s) {
        if (s.quantity == 0)
            throw std::runtime_error("sold out");
        return --s.quantity;
    };
    std::vector<std::future<int>> calls;
    for (int i = 0; i < 25; ++i)
        calls.push_back(service.async_do_in_transaction("sku-1", take_one, asio::use_future));

    std::vector<int> left;
    int refused = 0;
    for (auto& call : calls) {
        try {
            left.push_back(call.get());
        } catch (std::runtime_error const&) {
            ++refused;
        }
    }
    std::sort(left.begin(), left.end());
    fmt::print("{} sold, {} refused\n", left.size(), refused);
    check(left.size() == 20 && refused == 5);
    check(std::adjacent_find(left.begin(), left.end()) == left.end());  // no unit was sold twice
}
