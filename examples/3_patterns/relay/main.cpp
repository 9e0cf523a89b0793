// SPDX-License-Identifier: BSL-1.0

// Shows: a relay. What was recorded in the commit of a change is handed on to a message broker, as
// CloudEvents in JSON that other languages read: at least once, under stable ids, in the order of each key,
// also when the broker is killed meanwhile. A receiver knows duplicates by their ids.
// Needs: a broker: a Redis server (7.0 or later), or RabbitMQ.
// Run with: relay --broker redis://localhost
//           relay receive --broker redis://localhost --expect 10000
//           receive.py redis://localhost 10000
//
// The order of reading: sender.cpp (the relay), receiver.cpp (the inbox), broker.hpp, redis_streams.cpp and
// rabbitmq.cpp (two brokers), books.cpp (the store).

#include <fmt/format.h>

#include "broker.hpp"
#include "options.hpp"
#include "roles.hpp"

#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

namespace relay {

namespace {

[[noreturn]] void not_known()
{
    throw BrokerError(
        "--broker: its URL begins with amqp:, redis: or unix:, and the client of that broker was installed "
        "when this program was built");
}
[[maybe_unused]] bool is_amqp(std::string const& url)
{
    return url.starts_with("amqp:");
}
[[maybe_unused]] bool is_redis(std::string const& url)
{
    return url.starts_with("redis:") || url.starts_with("unix:");
}

}  // namespace

std::unique_ptr<Publisher> open_publisher(
    [[maybe_unused]] boost::asio::any_io_executor const& executor, std::string const& url,
    [[maybe_unused]] std::string const& topic)
{
#ifdef RELAY_RABBITMQ
    if (is_amqp(url))
        return publish_to_rabbitmq(url, topic);
#endif
#ifdef RELAY_REDIS
    if (is_redis(url))
        return publish_to_redis(executor, url, topic);
#endif
    not_known();
}

std::unique_ptr<Consumer> open_consumer(
    std::string const& url, [[maybe_unused]] std::string const& topic,
    [[maybe_unused]] std::string const& queue)
{
#ifdef RELAY_RABBITMQ
    if (is_amqp(url))
        return consume_from_rabbitmq(url, topic, queue);
#endif
#ifdef RELAY_REDIS
    if (is_redis(url))
        return consume_from_redis(url, topic);
#endif
    not_known();
}

}  // namespace relay

int main(int argc, char** argv)
{
    try {
        auto const options = relay::parse_options(std::vector<std::string_view>(argv + 1, argv + argc));
        if (options.help) {
            fmt::print("{}", relay::usage);
            return 0;
        }
        return (options.receives ? relay::receive(options) : relay::send(options)) ? 0 : 1;
    } catch (relay::BadOption const& error) {
        std::fprintf(stderr, "relay: %s\n", error.what());  // fmt::print may throw
        return 2;
    } catch (std::exception const& error) {
        std::fprintf(stderr, "relay: %s\n", error.what());  // fmt::print may throw
        return 1;
    }
}
