// SPDX-License-Identifier: BSL-1.0

#include "options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <concepts>
#include <cstdint>
#include <filesystem>
#include <system_error>
#include <utility>

namespace flash_sale {

namespace {

constexpr std::array<std::pair<std::string_view, Policy>, 5> names{{
    {"unguarded", Policy::unguarded},
    {"optimistic", Policy::optimistic},
    {"pessimistic", Policy::pessimistic},
    {"lock", Policy::lock},
    {"idempotent", Policy::idempotent},
}};

constexpr std::size_t most_processes = 256;

/// A number, and nothing else: from_chars knows no signs, spaces or units that strtol would skip.
template <class Number>
Number number(std::string_view option, std::string_view text, Number least, Number most)
{
    Number value{};
    auto const end = std::from_chars(text.data(), text.data() + text.size(), value);
    if (end.ec != std::errc{} || end.ptr != text.data() + text.size() || !(value >= least && value <= most))
        throw BadOption(fmt::format("{}: '{}' is not a number from {} to {}", option, text, least, most));
    return value;
}

Share share(std::string_view option, std::string_view text)
{
    auto const slash = std::min(text.find('/'), text.size());
    auto const of =
        number<std::size_t>(option, text.substr(std::min(slash + 1, text.size())), 1, most_processes);
    return {number<std::size_t>(option, text.substr(0, slash), 0, of - 1), of};
}

std::vector<Policy> policies(std::string_view option, std::string_view text)
{
    if (text == "all")
        return Options{}.policies;
    for (auto const& [name, policy] : names)
        if (name == text)
            return {policy};
    throw BadOption(fmt::format(
        "{}: '{}' is none of unguarded, optimistic, pessimistic, lock, idempotent, all", option, text));
}

}  // namespace

std::string_view const usage =
    R"(flash_sale: many workers, one stock, and every order sold at most once.

usage: flash_sale [options]

Input
  --orders FILE      order_id,customer,sku,quantity; an order_id may come again, as retried requests do
  --stock FILE       sku,quantity
  A row that is not acceptable is refused by file and line before anything is sold. Without files, it makes
  its own:
  --generate N       orders                                               (20000)
  --skus S           different skus                                       (50)
  --zipf Z           how unevenly they are wanted, 0 to 10; 0: evenly     (1.1)
  --duplicates P     per cent of the orders that are repeated requests    (5)
  --seed K           the same seed is the same sale                       (1)

Sale
  --backend URL      where the stock lives: memory:, redis://[:password@]host[:port][/db] or
                     unix:///path/of/socket of a Redis server,
                     postgresql://[user[:password]@][host][:port][/database] (memory:). Each sale opens a
                     name space of its own there and leaves it to be looked at; ?name_space=NAME chooses
                     one, for a single policy. Redis has no row locks, so 'pessimistic' is refused, 'all'
                     leaves it out, and 'idempotent' sells under a lock
  --policy NAME      unguarded, optimistic, pessimistic, lock, idempotent, or all, one after the other (all)
  --workers N        threads, or with --async coroutines, 1 to 4096       (8)
  --async            coroutines on a pool with a thread per core
  --processes N      processes of this program, each with its own workers and every Nth order, 1 to 256 (1).
                     Not for memory:, which lives in one process. Their pids are printed to stderr before
                     they begin. Kill one, and a new one takes its orders over, after about two seconds where
                     a lock was held: it asks for all of them under their ids, so what was sold stays sold
                     once. 'unguarded' has no ids, and what became of the rest stays unknown. Latencies are
                     merged, seconds include the start, conflicts and retries of a killed process count up to
                     its last answer. FILE is read by every process

Output
  --ledger FILE      accepted orders: sequence,order_id,customer,sku,quantity. Read back from the operation
                     records of the store; 'unguarded' keeps none and writes the answers it gave
  --final-stock FILE sku,quantity
                     With --policy all, one file for each policy but 'unguarded': ledger.csv becomes
                     ledger-optimistic.csv and so on
  --timeline FILE    who held which item when, and who waited: https://ui.perfetto.dev opens it. One file
                     for each policy, as above, of 'unguarded', too. A process that was killed has drawn
                     nothing
  --chart FILE       an SVG of what was sold, refused and oversold, and of the waits, for all policies
  --json             one object per policy instead of the table
  --help             this text

Exit code: 0 all is well ('unguarded' may do what it likes), 1 a policy broke an invariant or the sale could
not be held, 2 the command line or the input was refused.
)";

std::string_view name_of(Policy policy) noexcept
{
    for (auto const& [name, value] : names)
        if (value == policy)
            return name;
    return "?";
}

namespace {

/// Refuses what does not go together, and leaves out of `all` what the store cannot do.
void check(Options& options, std::string_view generator_option)
{
    if (options.orders.has_value() != options.stock.has_value())
        throw BadOption(options.orders ? "--orders needs --stock" : "--stock needs --orders");
    if (options.orders && !generator_option.empty())
        throw BadOption(fmt::format("{} does not go together with --orders and --stock", generator_option));
    if (options.processes > 1 && !outlives_the_program(options.backend))
        throw BadOption(
            "--processes needs a store that processes share, redis:, unix: or postgresql:; what --backend "
            "names lives in one process");
    if (!has_row_locks(options.backend)) {
        if (options.policies.size() == 1 && options.policies[0] == Policy::pessimistic)
            throw BadOption(
                "--policy pessimistic needs row locks, which the store of --backend does not have");
        std::erase(options.policies, Policy::pessimistic);
    }
    if (options.policies.size() > 1 && options.backend.find("name_space=") != std::string::npos)
        throw BadOption(
            "--backend names one name space, but every policy needs its own; name one --policy, too");
    if (options.ledger && options.ledger == options.final_stock)
        throw BadOption("--ledger and --final-stock name the same file");
    if (options.chart && options.chart == options.timeline)
        throw BadOption("--chart and --timeline name the same file");
}

}  // namespace

Options parse_options(std::vector<std::string_view> const& arguments)
{
    Options options;
    options.arguments = arguments;
    std::string_view generator_option;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        auto const equals = arguments[i].starts_with("--") ? arguments[i].find('=') : std::string_view::npos;
        auto const option = arguments[i].substr(0, equals);
        bool const inside = equals != std::string_view::npos;
        bool used = false;
        auto const value = [&] {
            used = true;
            auto const text = inside ? arguments[i].substr(equals + 1)
                                     : (i + 1 < arguments.size() ? arguments[++i] : std::string_view{});
            if (text.empty())
                throw BadOption(fmt::format("{} needs a value", option));
            return text;
        };
        auto const generator = [&] {
            generator_option = option;
            return value();
        };
        if (option == "--orders")
            options.orders = value();
        else if (option == "--stock")
            options.stock = value();
        else if (option == "--generate")
            options.generator.orders = number<std::size_t>(option, generator(), 1, 10'000'000);
        else if (option == "--skus")
            options.generator.skus = number<std::size_t>(option, generator(), 1, 1'000'000);
        else if (option == "--zipf")
            options.generator.zipf = number<double>(option, generator(), 0, 10);
        else if (option == "--duplicates")
            options.generator.duplicates = number<double>(option, generator(), 0, 100);
        else if (option == "--seed")
            options.generator.seed = number<std::uint64_t>(option, generator(), 0, UINT64_MAX);
        else if (option == "--backend")
            options.backend = value();
        else if (option == "--policy")
            options.policies = policies(option, value());
        else if (option == "--workers")
            options.workers = number<std::size_t>(option, value(), 1, 4096);
        else if (option == "--processes")
            options.processes = number<std::size_t>(option, value(), 1, most_processes);
        else if (option == "--share")  // not for users: processes.cpp
            options.share = share(option, value());
        else if (option == "--ledger")
            options.ledger = value();
        else if (option == "--final-stock")
            options.final_stock = value();
        else if (option == "--timeline")
            options.timeline = value();
        else if (option == "--chart")
            options.chart = value();
        else if (option == "--async")
            options.async = true;
        else if (option == "--json")
            options.json = true;
        else if (option == "--help" || option == "-h")
            options.help = true;
        else
            throw BadOption(fmt::format("unknown option '{}'; --help lists them", option));
        if (inside && !used)
            throw BadOption(fmt::format("{} takes no value", option));
    }
    check(options, generator_option);
    return options;
}

std::optional<std::string> output_path(
    std::optional<std::string> const& path, Policy policy, std::size_t policies_that_run)
{
    if (!path || policies_that_run == 1)
        return path;
    if (policy == Policy::unguarded)
        return std::nullopt;
    return timeline_path(path, policy, policies_that_run);
}

std::optional<std::string> timeline_path(
    std::optional<std::string> const& path, Policy policy, std::size_t policies_that_run)
{
    if (!path || policies_that_run == 1)
        return path;
    std::filesystem::path const whole(*path);
    auto const file =
        fmt::format("{}-{}{}", whole.stem().string(), name_of(policy), whole.extension().string());
    return (whole.parent_path() / file).string();
}

bool has_row_locks(std::string_view url) noexcept
{
    return !url.starts_with("redis") && !url.starts_with("unix:");
}

bool outlives_the_program(std::string_view url) noexcept
{
    return !url.starts_with("memory:");
}

std::string printable_backend(std::string const& url)
{
    auto const start = url.find("://");
    auto const at = url.find('@');
    if (start == std::string::npos || at == std::string::npos)
        return url;
    return url.substr(0, start + 3) + "***" + url.substr(at);
}

}  // namespace flash_sale
