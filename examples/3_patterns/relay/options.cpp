// SPDX-License-Identifier: BSL-1.0

#include "options.hpp"

#include <fmt/format.h>

#include <charconv>
#include <system_error>

namespace relay {

std::string_view const usage =
    R"(relay: what is recorded with a change reaches the broker, whatever fails meanwhile.

usage: relay --broker URL [options]            records sales, and hands them on
       relay receive --broker URL [options]    hears of them, and counts each once

  --broker URL    redis://[:password@]host[:port], unix:///path of a Redis server: Redis Streams; or
                  amqp://[user:password@]host[:port][/vhost]: RabbitMQ, if librabbitmq was there
  --topic NAME    the stream in Redis, or the exchange in RabbitMQ        (stock.events)
  --streams N     keys, each with its own order, 1 to 10000               (50)

relay:
  --store URL     where sales and their events are recorded in one commit: memory:, redis://…, unix:///… or
                  postgresql://…                                          (memory:)
  --name NAME     the name space there; a run under the same name goes on (relay)
  --events N      sales, 0 to 10000000                                    (10000)
relay receive:
  --queue NAME    which consumer this is: RabbitMQ keeps messages for it  (shelves)
  --expect N      ends when it has so many events                         (0)
  --idle MS       ends when nothing came for so long                      (5000)

Exit code: 0 all went well, 1 it did not, 2 the command line was refused.
)";

namespace {

std::size_t number(std::string_view option, std::string_view text, std::size_t least, std::size_t most)
{
    std::size_t value{};
    auto const end = std::from_chars(text.data(), text.data() + text.size(), value);
    if (end.ec != std::errc{} || end.ptr != text.data() + text.size() || value < least || value > most)
        throw BadOption(fmt::format("{}: '{}' is not a number from {} to {}", option, text, least, most));
    return value;
}

}  // namespace

Options parse_options(std::vector<std::string_view> const& arguments)
{
    constexpr std::size_t many = 10'000'000;
    Options options;
    std::size_t i = 0;
    if (!arguments.empty() && arguments[0] == "receive") {
        options.receives = true;
        ++i;
    }
    for (; i < arguments.size(); ++i) {
        auto const option = arguments[i];
        if (option == "--help" || option == "-h") {
            options.help = true;
            return options;
        }
        if (i + 1 == arguments.size() || arguments[i + 1].empty())
            throw BadOption(fmt::format("{}: it needs a value, or there is no such option", option));
        auto const value = arguments[++i];
        if (option == "--broker")
            options.broker = value;
        else if (option == "--topic")
            options.topic = value;
        else if (option == "--streams")
            options.streams = number(option, value, 1, 10'000);
        else if (option == "--store" && !options.receives)
            options.store = value;
        else if (option == "--name" && !options.receives)
            options.name = value;
        else if (option == "--events" && !options.receives)
            options.events = number(option, value, 0, many);
        else if (option == "--queue" && options.receives)
            options.queue = value;
        else if (option == "--expect" && options.receives)
            options.expect = number(option, value, 0, many);
        else if (option == "--idle" && options.receives)
            options.idle = std::chrono::milliseconds{number(option, value, 1, 3'600'000)};
        else
            throw BadOption(fmt::format("unknown option '{}'; --help lists them", option));
    }
    if (options.broker.empty())
        throw BadOption("--broker: which one? redis://localhost, or amqp://localhost");
    return options;
}

}  // namespace relay
