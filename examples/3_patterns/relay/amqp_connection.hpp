// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_RELAY_AMQP_CONNECTION_HPP
#define INTERLOCK_EXAMPLES_RELAY_AMQP_CONNECTION_HPP

// One connection to RabbitMQ with one channel, as librabbitmq has it. Nothing in it waits for ever.

#include "broker.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

struct amqp_connection_state_t_;

namespace relay {

/// What the broker says about messages that were published.
struct AmqpFrame {
    enum class Kind : unsigned char { confirmed, refused, returned };
    Kind kind{};
    std::uint64_t tag{0};      // of one that was confirmed or refused: 1, 2, 3 in the order of publishing
    bool multiple{false};      // and of all before it
    std::string message_id{};  // of one that no queue wanted
};

struct AmqpDelivery {
    std::uint64_t tag{0};
    std::string body;
};

/// **Failures.** All members throw `BrokerError` when the connection cannot be used any more. **Thread
/// safety.** One thread at a time.
class AmqpConnection {
public:
    static constexpr std::size_t longest = 255;  // bytes of an id or a routing key

    /// Connects and logs in: amqp://user:password@host:port/vhost.
    explicit AmqpConnection(std::string url);

    /// Exchanges and queues are durable: they are there when the broker comes back.
    void declare_topic(std::string const& topic);
    /// From now on the broker confirms what is published.
    void confirm();
    void consume(std::string const& topic, std::string const& queue);

    /// False: the connection is broken. Whether the broker has the message is said by `next`.
    [[nodiscard]] bool publish(std::string const& topic, Message const& message);
    /// What has come; nothing where nothing has. Does not wait.
    std::optional<AmqpFrame> next();
    std::optional<AmqpDelivery> receive(std::chrono::milliseconds longest_wait);
    void acknowledge(std::uint64_t tag);

    /// To be waited for by `poll`.
    int socket() const noexcept;

private:
    struct Close {
        void operator()(amqp_connection_state_t_* connection) const noexcept;
    };

    void check_reply(char const* what) const;
    AmqpFrame returned();

    std::unique_ptr<amqp_connection_state_t_, Close> connection_;
};

}  // namespace relay

#endif  // INTERLOCK_EXAMPLES_RELAY_AMQP_CONNECTION_HPP
