// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_RELAY_BROKER_HPP
#define INTERLOCK_EXAMPLES_RELAY_BROKER_HPP

// What a relay needs of a message broker, and what a consumer does. redis_streams.cpp and rabbitmq.cpp are
// the two that this program knows.

#include <interlock/core/outcome.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

namespace relay {

namespace il = interlock;

/// So long an event may wait for the broker's confirmation before it is sent again.
constexpr std::chrono::seconds patience{5};

struct Message {
    std::string id;    // of the event: by it a duplicate is known
    std::string key;   // of its stream: messages of one key stay in their order
    std::string json;  // a CloudEvent
};

class Publisher {
public:
    Publisher() = default;
    Publisher(Publisher const&) = delete;
    Publisher& operator=(Publisher const&) = delete;
    virtual ~Publisher() = default;

    /// Sends `message`, and calls `done` once, from any thread: with success when the broker has said that it
    /// keeps the message. Any number may be under way.
    virtual void publish(Message message, std::function<void(il::Outcome<void>)> done) = 0;
};

class Consumer {
public:
    Consumer() = default;
    Consumer(Consumer const&) = delete;
    Consumer& operator=(Consumer const&) = delete;
    virtual ~Consumer() = default;

    /// Calls `take` with one message after another, in the broker's order, until it returns false or there
    /// was none for `idle`. A message for which `take` has returned is not delivered again to this consumer,
    /// unless the connection is lost meanwhile. Throws if the broker has not answered once.
    virtual void receive(std::chrono::milliseconds idle, std::function<bool(std::string const&)> take) = 0;
};

/// A broker that cannot be used, in words.
class BrokerError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// Does not connect yet. `topic`: the name under which consumers find the messages. Throws `BrokerError` for
/// a URL of no broker that this program was built with.
std::unique_ptr<Publisher> open_publisher(
    boost::asio::any_io_executor const& executor, std::string const& url, std::string const& topic);
/// `queue`: the name of a group of consumers, each of which gets all messages.
std::unique_ptr<Consumer> open_consumer(
    std::string const& url, std::string const& topic, std::string const& queue);

/// One pair for each broker. The functions of a broker whose client is not installed are not there.
std::unique_ptr<Publisher> publish_to_redis(
    boost::asio::any_io_executor const& executor, std::string const& url, std::string const& topic);
std::unique_ptr<Consumer> consume_from_redis(std::string const& url, std::string const& topic);
std::unique_ptr<Publisher> publish_to_rabbitmq(std::string const& url, std::string const& topic);
std::unique_ptr<Consumer> consume_from_rabbitmq(
    std::string const& url, std::string const& topic, std::string const& queue);

}  // namespace relay

#endif  // INTERLOCK_EXAMPLES_RELAY_BROKER_HPP
