// SPDX-License-Identifier: BSL-1.0

// Redis Streams as a broker, through the library's own connection: one stream for the topic, which keeps the
// order of all. A consumer remembers the entry that it has come to; here it begins with the first one.

#include <interlock/backends/redis/connection.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "broker.hpp"

#include <optional>
#include <utility>

namespace relay {

namespace {

class RedisPublisher final : public Publisher {
public:
    RedisPublisher(boost::asio::any_io_executor const& executor, std::string const& url, std::string topic)
        : redis_(executor, url), topic_(std::move(topic))
    {}

    // #region publish
    void publish(Message message, std::function<void(il::Outcome<void>)> done) override
    {
        // All that is issued in one turn of the executor leaves in one write.
        il::redis::Command const add{"XADD", topic_,      "*",          "id",        message.id,
                                     "key",  message.key, "cloudevent", message.json};
        redis_.async_execute(add, il::redis::Access::write, patience, [done = std::move(done)](auto reply) {
            // The reply says that the server has it. What the server keeps when the power fails is its
            // `appendfsync`: `always` for a broker.
            done(reply ? il::success() : il::Outcome<void>{std::move(reply).failure()});
        });
    }
    // #endregion publish

private:
    il::redis::Connection redis_;
    std::string topic_;
};

class RedisConsumer final : public Consumer {
public:
    RedisConsumer(std::string const& url, std::string topic) : redis_(io_, url), topic_(std::move(topic)) {}

    void receive(std::chrono::milliseconds idle, std::function<bool(std::string const&)> take) override
    {
        auto last = std::chrono::steady_clock::now();
        while (std::chrono::steady_clock::now() - last < idle) {
            // The answer is a list of entries, each its id and the list of its fields and values.
            auto const reply = ask(il::redis::Command{"XRANGE", topic_, "(" + place_, "+", "COUNT", 100});
            auto const entries = reply ? reply->root() : il::redis::Reply{}.root();
            for (std::size_t i = 0; reply && i < entries.size(); ++i) {
                auto const fields = entries[i][1];
                std::string json;
                for (std::size_t j = 0; j + 1 < fields.size(); j += 2)
                    if (fields[j].text() == "cloudevent")
                        json = fields[j + 1].text();
                place_ = entries[i][0].text();
                if (!take(json))
                    return;
                last = std::chrono::steady_clock::now();
            }
            if (!reply || entries.size() == 0)
                wait();
        }
        if (!answered_ && failure_)
            throw il::Error{*failure_};
    }

private:
    std::optional<il::redis::Reply> ask(il::redis::Command const& command)
    {
        std::optional<il::redis::Reply> answer;
        redis_.async_execute(command, il::redis::Access::read, patience, [&](auto reply) {
            if (reply)
                answer = *std::move(reply);
            else
                failure_ = std::move(reply).failure();
        });
        io_.restart();
        io_.run();
        answered_ = answered_ || answer;
        return answer;
    }
    void wait()
    {
        boost::asio::steady_timer timer{io_, std::chrono::milliseconds{20}};
        timer.wait();
    }

    boost::asio::io_context io_;
    il::redis::Connection redis_;
    std::string topic_;
    std::string place_{"0-0"};
    bool answered_{false};  // at least once
    std::optional<il::Failure> failure_;
};

}  // namespace

std::unique_ptr<Publisher> publish_to_redis(
    boost::asio::any_io_executor const& executor, std::string const& url, std::string const& topic)
{
    return std::make_unique<RedisPublisher>(executor, url, topic);
}

std::unique_ptr<Consumer> consume_from_redis(std::string const& url, std::string const& topic)
{
    return std::make_unique<RedisConsumer>(url, topic);
}

}  // namespace relay
