// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_FLASH_SALE_ORDERS_HPP
#define INTERLOCK_EXAMPLES_FLASH_SALE_ORDERS_HPP

// Where orders and stock come from: two files, or a generator.

#include "sale.hpp"

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace flash_sale {

/// Everything that is known before the first sale.
struct Input {
    std::vector<Stock> stock;   // in the order of the file
    std::vector<Order> orders;  // in the order in which they arrive, repeated requests included
};

/// A row, or a file, that is refused. Says where: `orders.csv:3: ...`.
class BadInput : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// Reads and checks both files as a whole; throws `BadInput` at the first row that is not acceptable.
///
/// Orders: `order_id,customer,sku,quantity`. Stock: `sku,quantity`. Each with this row first; quantities are
/// whole, an ordered one at least 1; fields may stand in double quotes; lines end with LF or CRLF; a UTF-8
/// byte order mark is skipped. The same order_id may come again with the same content.
Input read_input(std::string const& orders_path, std::string const& stock_path);

struct Generator {
    std::size_t orders{20000};
    std::size_t skus{50};
    double zipf{1.1};        // how unevenly the skus are wanted; 0: evenly
    double duplicates{5.0};  // per cent of the orders that are repeated requests
    std::uint64_t seed{1};
};

/// Orders and a stock in which the most wanted fifth of the skus sells out.
Input generate_input(Generator const& generator);

/// `field` as it stands in a CSV file.
std::string csv_field(std::string const& field);

}  // namespace flash_sale

#endif  // INTERLOCK_EXAMPLES_FLASH_SALE_ORDERS_HPP
