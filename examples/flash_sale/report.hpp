// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_FLASH_SALE_REPORT_HPP
#define INTERLOCK_EXAMPLES_FLASH_SALE_REPORT_HPP

// What is told about a sale: whether its books balance, in numbers, in files, on the screen.

#include "counter.hpp"

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace flash_sale {

struct Summary {
    Policy policy{};
    std::size_t orders{0};
    std::size_t accepted{0};
    std::size_t sold_out{0};
    std::size_t duplicates{0};  // rows that got the answer of an earlier row with the same order_id
    std::size_t sold_twice{0};  // rows that were sold although their order_id had been sold before
    std::int64_t oversold_units{0};
    std::int64_t lost_updates{0};  // sales that the final stock does not know of
    std::size_t unknown{0};
    std::size_t failed{0};
    std::uint64_t conflicts{0};
    std::uint64_t retries{0};
    std::size_t processes_lost{0};
    double seconds{0};
    double orders_per_second{0};
    double p50_us{0};
    double p99_us{0};
    double max_us{0};
    std::vector<std::string> violations;  // none: every invariant holds. Of `unguarded` nothing is demanded.
};

/// Counts, and checks the books: the store's records against the input, the final stock and the answers
/// given. It believes none of the workers' counts.
Summary audit(Input const& input, Result const& result);

/// The accepted orders, oldest first: from the records, or, where there are none, from the answers.
std::vector<Record> ledger(Result const& result);

/// Throw `BadOutput`, which names the file.
class BadOutput : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};
void write_ledger(std::string const& path, std::vector<Record> const& ledger);
void write_stock(std::string const& path, std::vector<Stock> const& stock);
void write_text(std::string const& path, std::string const& text);
void check_writable(std::string const& path);

void print_table(std::vector<Summary> const& summaries, Options const& options);
void print_json(Summary const& summary, Options const& options);

}  // namespace flash_sale

#endif  // INTERLOCK_EXAMPLES_FLASH_SALE_REPORT_HPP
