// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_FLASH_SALE_OPTIONS_HPP
#define INTERLOCK_EXAMPLES_FLASH_SALE_OPTIONS_HPP

// The command line.

#include "orders.hpp"

#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace flash_sale {

enum class Policy { unguarded, optimistic, pessimistic, lock, idempotent };

std::string_view name_of(Policy policy) noexcept;

/// Every `of`-th row of the orders, from row `number` on.
struct Share {
    std::size_t number{0};
    std::size_t of{1};
};

struct Options {
    std::optional<std::string> orders;
    std::optional<std::string> stock;
    Generator generator;
    std::string backend{"memory:"};
    std::vector<Policy> policies{
        Policy::unguarded, Policy::optimistic, Policy::pessimistic, Policy::lock, Policy::idempotent};
    std::size_t workers{8};
    bool async{false};
    std::size_t processes{1};
    std::optional<Share> share;  // in a process that another one started: what it has to serve
    std::optional<std::string> ledger;
    std::optional<std::string> final_stock;
    std::optional<std::string> timeline;
    std::optional<std::string> chart;
    bool json{false};
    std::string help;                         // what was asked for, instead of a sale
    std::vector<std::string_view> arguments;  // all of this as it was given
};

/// A command line that is refused; names the option.
class BadOption : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

Options parse_options(std::vector<std::string_view> const& arguments);

/// Where the ledger or the final stock of `policy` goes: `path` itself when one policy runs; with several,
/// `ledger.csv` becomes `ledger-optimistic.csv`, and `unguarded`, which keeps no records, writes none.
std::optional<std::string> output_path(
    std::optional<std::string> const& path, Policy policy, std::size_t policies_that_run);

/// Where the timeline of `policy` goes: `path` itself when one policy runs; with several, `run.json` becomes
/// `run-optimistic.json`, and so on.
std::optional<std::string> timeline_path(
    std::optional<std::string> const& path, Policy policy, std::size_t policies_that_run);

/// Of the store at this address; the store itself is not asked.
bool has_row_locks(std::string_view url) noexcept;
bool outlives_the_program(std::string_view url) noexcept;

/// The backend's address without its password, and without its parameters.
std::string printable_backend(std::string const& url);

}  // namespace flash_sale

#endif  // INTERLOCK_EXAMPLES_FLASH_SALE_OPTIONS_HPP
