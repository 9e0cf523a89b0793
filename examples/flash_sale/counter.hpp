// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_FLASH_SALE_COUNTER_HPP
#define INTERLOCK_EXAMPLES_FLASH_SALE_COUNTER_HPP

// Holding the sale under one policy: opens the store, lets the workers sell, reads back what the store
// remembers.

#include <boost/describe.hpp>

#include "options.hpp"
#include "sale.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace flash_sale {

/// What became of one row of the orders file.
struct Reply {
    enum class Kind : unsigned char {
        answered,  ///< `sale` says whether it was accepted or sold out
        unknown,   ///< may have been sold: nobody could tell, though asked several times
        failed,    ///< surely not sold
    };
    Kind kind{Kind::failed};
    bool replayed{false};  ///< the answer is the one that was given to this order_id before
    Sale sale;
    std::string error;
    std::int64_t nanoseconds{0};  ///< from asking to being told
};
BOOST_DESCRIBE_STRUCT(Reply, (), (kind, replayed, sale, error, nanoseconds))

/// One operation record of the store.
struct Record {
    std::uint64_t sequence{0};
    Sale sale;
};

/// One sale, as it ended.
struct Result {
    Policy policy{};
    std::vector<Reply> replies;      // one per row
    std::vector<Record> records;     // in the order of commits; of sold-out orders, too
    std::vector<Stock> final_stock;  // in the order of the input
    std::uint64_t conflicts{0};
    std::uint64_t retries{0};
    std::size_t processes_lost{0};  // ended before they had served their orders
    std::chrono::duration<double> seconds{0};
    std::string timeline;  // when it was asked for
};

/// Told about every order that was answered; called by all workers.
using Answering = std::function<void()>;

/// Throws `interlock::Error` when there is no such store, or when it refuses the stock.
Result hold_sale(Policy policy, Input const& input, Options const& options, Answering const& answering);

/// The part in it of a process that `hold_sale` started.
void serve_share(Input const& input, Options const& options);

}  // namespace flash_sale

#endif  // INTERLOCK_EXAMPLES_FLASH_SALE_COUNTER_HPP
