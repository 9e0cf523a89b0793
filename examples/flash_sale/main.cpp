// SPDX-License-Identifier: BSL-1.0

// Shows: one stock and many workers, under every policy of the library and under none: who oversells, who
// loses sales, what it costs.
// Needs: nothing; another backend than memory needs its server.
// Run with: flash_sale --policy all
//           flash_sale --backend redis://localhost --processes 3, and kill -9 one of them
//
// The order of reading: sale.hpp (the business), counter.cpp (the library at work), unguarded.hpp (a policy
// of one's own, and a bad one), processes.cpp (several processes at one stock, some of which are killed),
// audit.cpp (how the books are checked), chart.cpp (the result as a picture).

#include <interlock/core/runtime/progress.hpp>

#include <fmt/format.h>

#include "chart.hpp"
#include "counter.hpp"
#include "options.hpp"
#include "orders.hpp"
#include "report.hpp"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace flash_sale;

void print_violations(Summary const& summary)
{
    constexpr std::size_t most = 10;
    for (std::size_t i = 0; i < std::min(most, summary.violations.size()); ++i)
        fmt::print(stderr, "flash_sale: {}: {}\n", name_of(summary.policy), summary.violations[i]);
    if (summary.violations.size() > most)
        fmt::print(
            stderr, "flash_sale: {}: and {} more\n", name_of(summary.policy),
            summary.violations.size() - most);
}

/// True when every guarded policy kept its invariants.
bool hold_sales(Input const& input, Options const& options)
{
    std::vector<Summary> summaries;
    for (auto const policy : options.policies) {
        Result result;
        {
            interlock::Progress progress(
                std::cerr, std::string(name_of(policy)), input.orders.size(), "orders");
            result = hold_sale(policy, input, options, [&] { progress.add(); });
        }
        summaries.push_back(audit(input, result));
        if (auto const path = output_path(options.ledger, policy, options.policies.size()))
            write_ledger(*path, ledger(result));
        if (auto const path = output_path(options.final_stock, policy, options.policies.size()))
            write_stock(*path, result.final_stock);
        if (auto const path = timeline_path(options.timeline, policy, options.policies.size()))
            write_text(*path, result.timeline);
        if (options.json)
            print_json(summaries.back(), options);
        print_violations(summaries.back());
    }
    if (!options.json)
        print_table(summaries, options);
    if (options.chart)
        write_text(*options.chart, chart_of(summaries, options));
    return std::all_of(summaries.begin(), summaries.end(), [](Summary const& summary) {
        return summary.violations.empty();
    });
}

}  // namespace

int main(int argc, char** argv)
{
    try {
        auto const options = parse_options(std::vector<std::string_view>(argv + 1, argv + argc));
        if (!options.help.empty()) {
            fmt::print("{}", options.help);
            return 0;
        }
        auto const input =
            options.orders ? read_input(*options.orders, *options.stock) : generate_input(options.generator);
        if (options.share) {
            serve_share(input, options);
            return 0;
        }
        for (auto const policy : options.policies)
            for (auto const& wanted : {options.ledger, options.final_stock})
                if (auto const path = output_path(wanted, policy, options.policies.size()))
                    check_writable(*path);
        for (auto const policy : options.policies)
            if (auto const path = timeline_path(options.timeline, policy, options.policies.size()))
                check_writable(*path);
        if (options.chart)
            check_writable(*options.chart);
        return hold_sales(input, options) ? 0 : 1;
    } catch (BadOption const& error) {
        fmt::print(stderr, "flash_sale: {}\n", error.what());
        return 2;
    } catch (BadInput const& error) {
        fmt::print(stderr, "{}\n", error.what());
        return 2;
    } catch (std::exception const& error) {
        fmt::print(stderr, "flash_sale: {}\n", error.what());
        return 1;
    }
}
