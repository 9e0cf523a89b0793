// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_FLASH_SALE_SALE_HPP
#define INTERLOCK_EXAMPLES_FLASH_SALE_SALE_HPP

// What is sold, who asks for it, and what he is told. Plain structs: describing them is all that the library
// needs to store a stock, and to store an answer and give it again.

#include <boost/describe.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

namespace flash_sale {

/// The shared state. Its first member is its key: orders for one sku conflict, others do not.
struct Stock {
    std::string sku;
    std::int64_t quantity{0};
    std::int64_t sales{0};  // every sale adds one, so a lost update can be counted afterwards
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity, sales))

/// One row of the orders file.
struct Order {
    std::string order_id;
    std::string customer;
    std::string sku;
    std::int64_t quantity{0};
    // Where this order_id came first; the row itself, unless it is a repeated request.
    std::size_t first_row{0};
};

/// The answer to an order. "Sold out" is an answer like any other, not an exception: a repeated request gets
/// it again.
struct Sale {
    std::string order_id;
    std::string customer;
    std::string sku;
    std::int64_t quantity{0};
    bool accepted{false};
    std::uint64_t receipt{0};

    friend bool operator==(Sale const&, Sale const&) = default;
};
BOOST_DESCRIBE_STRUCT(Sale, (), (order_id, customer, sku, quantity, accepted, receipt))

/// The number under which the customer finds his receipt: a stretched hash, so that nobody guesses
/// another's. These few microseconds are the only real work of a sale, and they stand where such work stands
/// in real programs: between reading the stock and writing it.
inline std::uint64_t receipt_number(Order const& order, std::int64_t left) noexcept
{
    std::uint64_t hash = 0x9e3779b97f4a7c15ULL ^ static_cast<std::uint64_t>(left);
    auto const add = [&](std::string const& text) {
        for (char c : text)
            hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
    };
    for (int round = 0; round < 64; ++round) {
        add(order.order_id);
        add(order.customer);
        add(order.sku);
        hash ^= hash >> 29;
    }
    return hash;
}

/// The whole business. It knows nothing of threads, locks, versions and retries.
inline Sale sell(Stock& stock, Order const& order)
{
    Sale sale{order.order_id, order.customer, order.sku, order.quantity};
    if (order.quantity > stock.quantity)
        return sale;
    stock.quantity -= order.quantity;
    ++stock.sales;
    sale.accepted = true;
    sale.receipt = receipt_number(order, stock.quantity);
    return sale;
}

}  // namespace flash_sale

#endif  // INTERLOCK_EXAMPLES_FLASH_SALE_SALE_HPP
