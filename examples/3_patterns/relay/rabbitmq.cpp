// SPDX-License-Identifier: BSL-1.0

// RabbitMQ through librabbitmq, which blocks: one thread has the connection, for all that is published. A
// message counts as sent when the broker has confirmed it, which it does for a persistent message in a
// durable queue once that is on its disk.

#include <fmt/format.h>

#include "amqp_connection.hpp"
#include "broker.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace relay {

namespace {

using Clock = std::chrono::steady_clock;

class RabbitPublisher final : public Publisher {
public:
    RabbitPublisher(std::string url, std::string topic)
        : url_(std::move(url)), topic_(std::move(topic)),
          thread_([this](std::stop_token const& stop) { work(stop); })
    {}
    ~RabbitPublisher() override
    {
        thread_.request_stop();
        ring();
        thread_.join();
        ::close(bell_);
    }

    void publish(Message message, std::function<void(il::Outcome<void>)> done) override
    {
        if (message.id.size() > AmqpConnection::longest || message.key.size() > AmqpConnection::longest) {
            done(il::Failure{il::Errc::invalid_argument, "rabbitmq: an id or key has more than 255 bytes"});
            return;
        }
        {
            std::lock_guard const lock(mutex_);
            queue_.push_back({std::move(message), std::move(done), {}, false});
        }
        ring();
    }

private:
    struct Sent {
        Message message;
        std::function<void(il::Outcome<void>)> done;
        Clock::time_point at;
        bool returned;  // the broker had no queue for it
    };

    void ring() const noexcept
    {
        std::uint64_t const one = 1;
        static_cast<void>(!::write(bell_, &one, sizeof one));
    }

    void work(std::stop_token const& stop)
    {
        while (!stop.stop_requested()) {
            try {
                if (!connection_) {
                    connection_.emplace(url_);
                    connection_->declare_topic(topic_);
                    connection_->confirm();
                    next_ = 1;
                }
                send();
                while (auto const frame = connection_->next())
                    take(*frame);
                if (!sent_.empty() && Clock::now() - sent_.begin()->second.at > patience)
                    throw BrokerError("the broker does not confirm");
                wait(connection_->socket(), std::chrono::milliseconds{200});
            } catch (std::exception const& error) {
                drop(error.what());
                wait(-1, std::chrono::milliseconds{200});
            }
        }
        drop("the publisher has gone");
    }

    // #region publish
    void send()
    {
        std::vector<Sent> messages;
        {
            std::lock_guard const lock(mutex_);
            messages.swap(queue_);
        }
        for (auto& message : messages) {
            message.at = Clock::now();
            auto const& sent = sent_.emplace(next_++, std::move(message)).first->second;
            if (!broken_)
                broken_ = !connection_->publish(topic_, sent.message);
        }
        if (std::exchange(broken_, false))
            throw BrokerError("the connection was lost");
    }

    void take(AmqpFrame const& frame)
    {
        if (frame.kind == AmqpFrame::Kind::returned) {
            for (auto& [tag, sent] : sent_)
                sent.returned = sent.returned || sent.message.id == frame.message_id;
            return;
        }
        // A confirmation of many is one of all up to its number.
        auto const begin = frame.multiple ? sent_.begin() : sent_.find(frame.tag);
        auto const end = sent_.upper_bound(frame.tag);
        for (auto at = begin; at != end; at = sent_.erase(at)) {
            auto& sent = at->second;
            if (frame.kind == AmqpFrame::Kind::refused)
                sent.done(il::Failure{il::Errc::unavailable, "rabbitmq: the broker could not keep it"});
            else if (sent.returned)
                sent.done(il::Failure{
                    il::Errc::unavailable,
                    "rabbitmq: no queue is bound to '" + topic_ + "', so nobody would ever get it"});
            else
                sent.done(il::success());
        }
    }
    // #endregion publish

    /// The connection is gone. Nobody knows what became of what was sent, and what waits is not sent.
    void drop(std::string const& why)
    {
        connection_.reset();
        auto const text = "rabbitmq: " + why;
        for (auto& [tag, sent] : std::exchange(sent_, {}))
            sent.done(il::Failure::unknown(il::Errc::unavailable, text));
        std::vector<Sent> messages;
        {
            std::lock_guard const lock(mutex_);
            messages.swap(queue_);
        }
        for (auto& message : messages)
            message.done(il::Failure{il::Errc::unavailable, text});
    }

    /// Until there is something to send or to read, or the time is over.
    void wait(int socket, std::chrono::milliseconds longest)
    {
        pollfd ready[] = {{socket, POLLIN, 0}, {bell_, POLLIN, 0}};
        // Without a connection only the time counts: whoever sends will send again.
        ::poll(ready, socket < 0 ? 0 : 2, static_cast<int>(longest.count()));
        std::uint64_t count{};
        static_cast<void>(!::read(bell_, &count, sizeof count));
    }

    std::string url_;
    std::string topic_;
    int bell_{::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    std::mutex mutex_;
    std::vector<Sent> queue_;
    // Of the thread alone:
    std::optional<AmqpConnection> connection_;
    std::map<std::uint64_t, Sent> sent_;  // by the numbers that the confirmations name
    std::uint64_t next_{1};
    bool broken_{false};
    std::jthread thread_;
};

class RabbitConsumer final : public Consumer {
public:
    RabbitConsumer(std::string url, std::string topic, std::string queue)
        : url_(std::move(url)), topic_(std::move(topic)), queue_(std::move(queue))
    {}

    void receive(std::chrono::milliseconds idle, std::function<bool(std::string const&)> take) override
    {
        auto last = Clock::now();
        std::optional<AmqpConnection> connection;
        std::optional<BrokerError> failure;  // the last one
        bool answered = false;
        do {
            try {
                if (!connection) {
                    connection.emplace(url_);
                    connection->declare_topic(topic_);
                    connection->consume(topic_, queue_);
                    answered = true;
                }
                auto const delivery = connection->receive(std::chrono::milliseconds{100});
                if (!delivery)
                    continue;
                last = Clock::now();
                bool const more = take(delivery->body);
                // Behind the effect: a consumer that dies in between gets the message again.
                connection->acknowledge(delivery->tag);
                if (!more)
                    return;
            } catch (BrokerError const& error) {  // what was not acknowledged comes again
                failure = error;
                connection.reset();
                std::this_thread::sleep_for(std::chrono::milliseconds{200});
            }
        } while (Clock::now() - last < idle);
        if (!answered && failure)
            throw BrokerError{*failure};
    }

private:
    std::string url_;
    std::string topic_;
    std::string queue_;
};

}  // namespace

std::unique_ptr<Publisher> publish_to_rabbitmq(std::string const& url, std::string const& topic)
{
    return std::make_unique<RabbitPublisher>(url, topic);
}

std::unique_ptr<Consumer> consume_from_rabbitmq(
    std::string const& url, std::string const& topic, std::string const& queue)
{
    return std::make_unique<RabbitConsumer>(url, topic, queue);
}

}  // namespace relay
