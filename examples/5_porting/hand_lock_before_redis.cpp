// SPDX-License-Identifier: BSL-1.0

// Porting, the side of before: a lock on Redis as programs write it by hand. It works on a good day.
// README.md says what happens on others, and hand_lock_after_redis.cpp is the same program with the library.
// Needs: a Redis server, whose URL is the argument.
// Run with: hand_lock_before_redis unix:///tmp/redis.sock | redis://localhost:6379

#include <fmt/format.h>
#include <hiredis/hiredis.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

using Reply = std::unique_ptr<redisReply, decltype(&freeReplyObject)>;

class Redis {
public:
    explicit Redis(std::string url)
    {
        std::string const unix_scheme = "unix://";
        auto const at = url.find('@');  // user and password
        if (url.starts_with(unix_scheme)) {
            auto const path = at == std::string::npos ? url.substr(unix_scheme.size()) : url.substr(at + 1);
            connection_.reset(::redisConnectUnix(path.c_str()));
            if (at != std::string::npos) {
                auto const secret = url.substr(unix_scheme.size(), at - unix_scheme.size());
                auto const colon = secret.find(':');
                command("AUTH %s %s", secret.substr(0, colon).c_str(), secret.substr(colon + 1).c_str());
            }
        } else {
            connection_.reset(::redisConnect("127.0.0.1", 6379));
        }
        if (connection_ == nullptr || connection_->err != 0)
            throw std::runtime_error("no connection");
    }

    template <class... A>
    Reply command(char const* format, A... arguments)
    {
        Reply reply{
            static_cast<redisReply*>(::redisCommand(connection_.get(), format, arguments...)),
            ::freeReplyObject};
        if (reply == nullptr)
            throw std::runtime_error("the connection was lost");  // was it done? nobody knows
        return reply;
    }

private:
    struct Free {
        void operator()(redisContext* context) const { ::redisFree(context); }
    };
    std::unique_ptr<redisContext, Free> connection_;
};

class HandLock {
public:
    HandLock(Redis& redis, std::string key, int milliseconds) : redis_(redis), key_(std::move(key))
    {
        std::random_device random;
        token_ = fmt::format("{:08x}{:08x}", random(), random());
        for (;;) {
            auto const reply =
                redis_.command("SET %s %s NX PX %d", key_.c_str(), token_.c_str(), milliseconds);
            if (reply->type == REDIS_REPLY_STATUS)
                return;
            std::this_thread::sleep_for(std::chrono::milliseconds{50});  // and nobody says when it is free
        }
    }
    ~HandLock()
    {
        redis_.command(
            "EVAL %s 1 %s %s",
            "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0",
            key_.c_str(), token_.c_str());
    }

private:
    Redis& redis_;
    std::string key_;
    std::string token_;
};

}  // namespace

int main(int argc, char** argv)
{
    if (argc != 2) {
        fmt::print("hand_lock_before_redis: name a server, like redis://localhost\n");
        return 77;
    }
    Redis redis{argv[1]};
    redis.command("SET v1:porting:stock 10");
    {
        HandLock const lock{redis, "v1:porting:lock", 10'000};
        auto const reply = redis.command("GET v1:porting:stock");
        auto const left = std::stoi(std::string(reply->str, reply->len)) - 3;
        // If this process sleeps here for eleven seconds, it writes over what the next holder has written.
        redis.command("SET v1:porting:stock %d", left);
        fmt::print("{} left\n", left);
    }
}
