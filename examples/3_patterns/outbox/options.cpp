// SPDX-License-Identifier: BSL-1.0

#include "options.hpp"

#include <fmt/format.h>

#include "shop.hpp"

#include <charconv>
#include <system_error>

namespace outbox {

namespace {

std::size_t number(std::string_view option, std::string_view text, std::size_t least, std::size_t most)
{
    std::size_t value{};
    auto const end = std::from_chars(text.data(), text.data() + text.size(), value);
    if (end.ec != std::errc{} || end.ptr != text.data() + text.size() || value < least || value > most)
        throw BadOption(fmt::format("{}: '{}' is not a number from {} to {}", option, text, least, most));
    return value;
}

void check(Options const& options)
{
    for (auto const* const scheme : {"memory:", "redis:", "unix:", "postgresql:", "postgres:"})
        if (options.backend.starts_with(scheme)) {
            if (options.kills > 0 && !outlives_the_program(options.backend))
                throw BadOption(
                    "--kill needs a store that outlives a process, redis:, unix: or postgresql:; what "
                    "memory: keeps would be gone with the worker");
            return;
        }
    throw BadOption("--backend: a URL begins with memory:, redis:, unix: or postgresql:");
}

}  // namespace

std::string_view const usage =
    R"(outbox: what is sold is shipped once, whoever is killed meanwhile.

usage: outbox [options]

  --backend URL     where the books are kept: memory:, redis://[:password@]host[:port][/db],
                    unix:///path/of/socket of a Redis server, or
                    postgresql://[user[:password]@][host][:port][/database] (memory:). Each run opens a name
                    space of its own there and leaves it to be looked at; ?name_space=NAME chooses one
  --sales N         sales, 1 to 10000000                                      (10000)
  --processes N     workers, 1 to 64: each sells its share and ships what anybody has sold. They are
                    processes of this program; with memory: they are threads   (2)
  --kill K          kills a worker at random K times, with SIGKILL at random moments of the work, 0 to 1000,
                    and starts it again. Not with memory:                      (0)
  --careless        ships without an inbox, to see what it is for: what a killed worker had shipped last is
                    shipped again
  --help            this text

Prints how many sales were sold and shipped, and how many of either were doubled or lost, by a look at every
event and every parcel.

Exit code: 0 all was sold and shipped once, 1 something was doubled or lost or the work could not be done,
2 the command line was refused.
)";

Options parse_options(std::vector<std::string_view> const& arguments)
{
    Options options;
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
        if (option == "--backend")
            options.backend = value();
        else if (option == "--sales")
            options.sales = number(option, value(), 1, 10'000'000);
        else if (option == "--processes")
            options.processes = number(option, value(), 1, 64);
        else if (option == "--kill")
            options.kills = number(option, value(), 0, 1000);
        else if (option == "--careless")
            options.careless = true;
        else if (option == "--worker")  // not for users: workers.cpp
            options.worker = number(option, value(), 0, 63);
        else if (option == "--help" || option == "-h")
            options.help = true;
        else
            throw BadOption(fmt::format("unknown option '{}'; --help lists them", option));
        if (inside && !used)
            throw BadOption(fmt::format("{} takes no value", option));
    }
    check(options);
    return options;
}

}  // namespace outbox
