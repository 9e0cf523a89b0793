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
#include <csignal>
#include <cstdio>
#include <exception>
#include <iostream>
#include <stdexcept>
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

/// What was printed is the result: that it could not be is a failure.
void finish_output()
{
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
        throw std::runtime_error("standard output cannot be written");
}

/// Ends with `code`, and says why where anybody can read it. (fmt::print would throw.)
int fail(int code, std::string const& why)
{
    [[maybe_unused]] auto const written = std::fputs((why + "\n").c_str(), stderr);
    return code;
}

}  // namespace

int main(int argc, char** argv)
{
    std::signal(SIGCHLD, SIG_DFL);  // a parent may have ignored the ends of children
    try {
        auto const options = parse_options(std::vector<std::string_view>(argv + 1, argv + argc));
        if (!options.help.empty()) {
            fmt::print("{}", options.help);
            finish_output();
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
        bool const good = hold_sales(input, options);
        finish_output();
        return good ? 0 : 1;
    } catch (BadOption const& error) {
        return fail(2, fmt::format("flash_sale: {}", error.what()));
    } catch (BadInput const& error) {
        return fail(2, error.what());
    } catch (std::exception const& error) {
        return fail(1, fmt::format("flash_sale: {}", error.what()));
    }
}
