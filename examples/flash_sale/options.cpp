// SPDX-License-Identifier: BSL-1.0

#include "options.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
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

std::string_view name_of(Policy policy) noexcept
{
    for (auto const& [name, value] : names)
        if (value == policy)
            return name;
    return "?";
}

namespace {

/// Where `path` leads, by whatever name: `same`, `./same` and a link to it are one file.
std::filesystem::path place_of(std::string const& path)
{
    std::error_code error;
    auto place = std::filesystem::weakly_canonical(std::filesystem::absolute(path), error);
    return error ? std::filesystem::path(path) : place;
}

/// Refuses to write into what is read, or into one file twice, by a sale that would lose the one for the
/// other.
void check_files(Options const& options)
{
    std::vector<std::pair<std::string_view, std::filesystem::path>> files;
    auto const add = [&files](std::string_view option, std::optional<std::string> const& path) {
        std::error_code error;
        if (!path || std::filesystem::is_character_file(*path, error))  // /dev/null takes it all
            return;
        auto const place = place_of(*path);
        for (auto const& [other, taken] : files)
            if (taken == place && option != "--stock")
                throw BadOption(fmt::format("{} and {} name the same file", other, option));
        files.emplace_back(option, place);
    };
    auto const policies = options.policies.size();
    add("--orders", options.orders);
    add("--stock", options.stock);
    for (auto const policy : options.policies) {
        add("--ledger", output_path(options.ledger, policy, policies));
        add("--final-stock", output_path(options.final_stock, policy, policies));
        add("--timeline", timeline_path(options.timeline, policy, policies));
    }
    add("--chart", options.chart);
}

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
    check_files(options);
}

/// The command line in the making.
class CommandLine {
public:
    explicit CommandLine(Options& options) : options_(options)
    {
        app_.set_help_flag("-h,--help", "this text");
        app_.allow_extras();  // what nobody knows is refused here, in one way
        app_.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
        app_.get_formatter()->column_width(22);
        app_.get_formatter()->label("OPTIONS", "options");
        app_.footer(
            "Exit code: 0 all is well ('unguarded' may do what it likes), 1 a policy broke an invariant or "
            "the "
            "sale\ncould not be held, 2 the command line or the input was refused.");
        describe_input();
        describe_sale();
        describe_output();
    }

    void parse(std::vector<std::string_view> const& arguments)
    {
        for (auto const argument : arguments)
            if (argument.starts_with("--") && argument.ends_with('='))
                throw BadOption(fmt::format("{} needs a value", argument.substr(0, argument.size() - 1)));
        std::vector<std::string> words(arguments.rbegin(), arguments.rend());  // as CLI11 wants them
        try {
            app_.parse(std::move(words));
        } catch (CLI::CallForHelp const&) {
            options_.help = app_.help();
            return;
        } catch (CLI::ArgumentMismatch const& error) {
            std::string_view const what = error.what();
            bool const of_flag = what.find("flag") != std::string_view::npos;
            auto const name = what.substr(0, what.find_first_of(": "));
            throw BadOption(fmt::format(
                "{}{} {}", name.starts_with("--") ? "" : "--", name,
                of_flag ? "takes no value" : "needs a value"));
        } catch (CLI::ParseError const& error) {
            throw BadOption(error.what());
        }
        if (auto const unknown = app_.remaining(); !unknown.empty())
            throw BadOption(fmt::format("unknown option '{}'; --help lists them", unknown.front()));
        check(options_, generator_option_);
    }

private:
    /// An option with a value, which `take` gets, and may refuse.
    template <class F>
    void add(std::string const& name, char const* type, std::string const& text, F take)
    {
        auto const taken = [name, take](std::string const& value) {
            if (value.empty())
                throw BadOption(fmt::format("{} needs a value", name));
            take(name, value);
        };
        app_.add_option_function<std::string>(name, taken, text)->type_name(type)->group(group_);
    }
    void add(
        std::string const& name, char const* type, std::optional<std::string>& into, std::string const& text)
    {
        add(name, type, text, [&into](auto const&, std::string const& value) { into = value; });
    }
    template <class Number>
    void add_number(
        std::string const& name, char const* type, Number& into, Number least, Number most,
        std::string const& text)
    {
        add(name, type, text, [&into, least, most](std::string const& option, std::string const& value) {
            into = number<Number>(option, value, least, most);
        });
    }
    /// Of the orders that are made up.
    template <class Number>
    void add_generated(
        std::string const& name, char const* type, Number& into, Number least, Number most,
        std::string const& text)
    {
        add(name, type, text,
            [this, &into, least, most](std::string const& option, std::string const& value) {
                generator_option_ = option;
                into = number<Number>(option, value, least, most);
            });
    }
    void add_flag(std::string const& name, bool& into, std::string const& text)
    {
        app_.add_flag(name, into, text)->disable_flag_override()->group(group_);
    }

    void describe_input()
    {
        group_ = "Input";
        auto& made = options_.generator;
        add("--orders", "FILE", options_.orders,
            "order_id,customer,sku,quantity; an order_id may come again, as retried\n"
            "requests do. A row that is not acceptable is refused by file and line\n"
            "before anything is sold");
        add("--stock", "FILE", options_.stock,
            "sku,quantity. Without files it makes its own, as the next five say");
        add_generated<std::size_t>("--generate", "N", made.orders, 1, 10'000'000, "orders (20000)");
        add_generated<std::size_t>("--skus", "S", made.skus, 1, 1'000'000, "different skus (50)");
        add_generated<double>(
            "--zipf", "Z", made.zipf, 0, 10, "how unevenly they are wanted, 0 to 10; 0: evenly (1.1)");
        add_generated<double>(
            "--duplicates", "P", made.duplicates, 0, 100,
            "per cent of the orders that are repeated requests (5)");
        add_generated<std::uint64_t>(
            "--seed", "K", made.seed, 0, UINT64_MAX, "the same seed is the same sale (1)");
    }

    void describe_sale()
    {
        group_ = "Sale";
        add("--backend", "URL",
            "where the stock lives: memory:, redis://[:password@]host[:port][/db] or\n"
            "unix:///path/of/socket of a Redis server,\n"
            "postgresql://[user[:password]@][host][:port][/database] (memory:). Each\n"
            "sale opens a name space of its own there and leaves it to be looked at;\n"
            "?name_space=NAME chooses one, for a single policy. Redis has no row\n"
            "locks, so 'pessimistic' is refused, 'all' leaves it out, and\n"
            "'idempotent' sells under a lock",
            [this](auto const&, std::string const& value) { options_.backend = value; });
        add("--policy", "NAME",
            "unguarded, optimistic, pessimistic, lock, idempotent, or all, one after\n"
            "the other (all)",
            [this](std::string const& option, std::string const& value) {
                options_.policies = policies(option, value);
            });
        add_number<std::size_t>(
            "--workers", "N", options_.workers, 1, 4096,
            "threads, or with --async coroutines, 1 to 4096 (8)");
        add_flag("--async", options_.async, "coroutines on a pool with a thread per core");
        add_number<std::size_t>(
            "--processes", "N", options_.processes, 1, most_processes,
            "processes of this program, each with its own workers and every Nth order,\n"
            "1 to 256 (1). Not for memory:, which lives in one process. Their pids are\n"
            "printed to stderr before they begin. Kill one, and a new one takes its\n"
            "orders over, after about two seconds where a lock was held: it asks for\n"
            "all of them under their ids, so what was sold stays sold once.\n"
            "'unguarded' has no ids, and what became of the rest stays unknown.\n"
            "Latencies are merged, seconds include the start, conflicts and retries of\n"
            "a killed process count up to its last answer. FILE is read by every\n"
            "process");
        group_ = "";  // not for users: processes.cpp
        add("--share", "I/N", "", [this](std::string const& option, std::string const& value) {
            options_.share = share(option, value);
        });
    }

    void describe_output()
    {
        group_ = "Output";
        add("--ledger", "FILE", options_.ledger,
            "accepted orders: sequence,order_id,customer,sku,quantity. Read back from\n"
            "the operation records of the store; 'unguarded' keeps none and writes the\n"
            "answers it gave");
        add("--final-stock", "FILE", options_.final_stock,
            "sku,quantity. With --policy all, one file for each policy but\n"
            "'unguarded': ledger.csv becomes ledger-optimistic.csv and so on");
        add("--timeline", "FILE", options_.timeline,
            "who held which item when, and who waited: https://ui.perfetto.dev opens\n"
            "it. One file for each policy, as above, of 'unguarded', too. A process that\n"
            "was killed has drawn all but its last tenth of a second");
        add("--chart", "FILE", options_.chart,
            "an SVG of what was sold, refused and oversold, and of the waits, for all\n"
            "policies");
        add_flag("--json", options_.json, "one object per policy instead of the table");
    }

    Options& options_;
    CLI::App app_{"Many workers, one stock, and every order sold at most once.", "flash_sale"};
    std::string group_;
    std::string generator_option_;
};

}  // namespace

Options parse_options(std::vector<std::string_view> const& arguments)
{
    Options options;
    options.arguments = arguments;
    CommandLine{options}.parse(arguments);
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
    if (start == std::string::npos)
        return url;
    // A password may have an '@' of its own, and may be one of the parameters.
    auto const shown = url.substr(0, url.find('?'));
    auto const at = shown.rfind('@');
    if (at != std::string::npos)
        return shown.substr(0, start + 3) + "***" + shown.substr(at);
    // An '@' behind the first '?': is it a parameter, or was the '?' in a password?
    return url.find('@') == std::string::npos ? shown : url.substr(0, start + 3) + "***";
}

}  // namespace flash_sale
