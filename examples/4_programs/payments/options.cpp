// SPDX-License-Identifier: BSL-1.0

#include "options.hpp"

#include <fmt/format.h>

#include <charconv>
#include <system_error>

namespace payments {

namespace {

int number(std::string_view option, std::string_view text, int most)
{
    int value = -1;
    auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || value < 0 || value > most)
        throw BadOption(fmt::format("{}: '{}' is not a number from 0 to {}", option, text, most));
    return value;
}

}  // namespace

std::string_view const usage =
    R"(payments: a payment service. Whoever sends a request twice pays once.

usage: payments [options]

  --store URL     where the accounts are kept: memory:, redis://[:password@]host[:port][/db], or
                  postgresql://[user[:password]@][host][:port][/database]     (memory:)
  --address IP    where it listens                                            (127.0.0.1)
  --port N        the port; 0 lets the system choose one, which is printed    (8080)
  --plug          lets the page pull the plug: POST /unplug kills the worker. Not for the world to see
  --careless      gives each request a key of its own, so that nothing is recognised: what happens without
                  idempotency keys
  --log           a line for each request, on stderr
  --help          this text

A worker serves; a supervisor starts it again when it dies. SIGTERM and SIGINT end both, once the requests
that are under way are answered.

Exit code: 0 ended by a signal, 1 it could not be done, 2 the command line was refused.
)";

Options parse_options(std::vector<std::string_view> const& arguments)
{
    Options options;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        auto const option = arguments[i];
        auto const value = [&] {
            if (i + 1 == arguments.size() || arguments[i + 1].empty())
                throw BadOption(fmt::format("{} needs a value", option));
            return arguments[++i];
        };
        if (option == "--store")
            options.store = value();
        else if (option == "--address")
            options.address = value();
        else if (option == "--port")
            options.port = static_cast<std::uint16_t>(number(option, value(), 65535));
        else if (option == "--plug")
            options.plug = true;
        else if (option == "--careless")
            options.careless = true;
        else if (option == "--log")
            options.log = true;
        else if (option == "--listener")  // not for users: supervisor.cpp
            options.listener = number(option, value(), 1 << 20);
        else if (option == "--help" || option == "-h")
            options.help = true;
        else
            throw BadOption(fmt::format("unknown option '{}'; --help lists them", option));
    }
    return options;
}

}  // namespace payments
