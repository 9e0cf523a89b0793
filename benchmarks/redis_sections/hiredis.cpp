// SPDX-License-Identifier: BSL-1.0

#include <hiredis/hiredis.h>

#include "contestants.hpp"

#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

struct Free {
    void operator()(redisContext* context) const { redisFree(context); }
    void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using Reply = std::unique_ptr<redisReply, Free>;

class Redis {
public:
    explicit Redis(std::string const& socket) : context_(redisConnectUnix(socket.c_str()))
    {
        if (!context_ || context_->err != 0)
            throw std::runtime_error("cannot connect to redis");
        static constexpr std::string_view script =
            "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 "
            "end";
        release_ = (*this)({"SCRIPT", "LOAD", script})->str;
    }

    Reply operator()(std::initializer_list<std::string_view> words)
    {
        std::vector<char const*> texts;
        std::vector<std::size_t> sizes;
        for (auto const word : words) {
            texts.push_back(word.data());
            sizes.push_back(word.size());
        }
        Reply reply{static_cast<redisReply*>(
            redisCommandArgv(context_.get(), static_cast<int>(texts.size()), texts.data(), sizes.data()))};
        if (!reply || reply->type == REDIS_REPLY_ERROR)
            throw std::runtime_error(reply ? reply->str : "redis is gone");
        return reply;
    }

    bool lock(std::string const& key, std::string const& owner)
    {
        return (*this)({"SET", key, owner, "NX", "PX", "10000"})->type == REDIS_REPLY_STATUS;
    }
    void unlock(std::string const& key, std::string const& owner)
    {
        (*this)({"EVALSHA", release_, "1", key, owner});
    }
    long get(std::string const& key)
    {
        auto const reply = (*this)({"GET", key});
        return reply->type == REDIS_REPLY_STRING ? std::atol(reply->str) : 0;
    }

private:
    std::unique_ptr<redisContext, Free> context_;
    std::string release_;
};

std::string new_owner()
{
    static thread_local std::mt19937_64 random{std::random_device{}()};
    return std::to_string(random()) + std::to_string(random());
}

std::vector<std::string> names(Plan const& plan, char const* kind)
{
    std::vector<std::string> out;
    for (int i = 0; i < keys_per_run; ++i)
        out.push_back("bare:" + std::string(kind) + ":" + std::to_string(plan.run) + ":" + std::to_string(i));
    return out;
}

}  // namespace

Sections bare_lock(Plan const& plan)
{
    return [redis = std::make_shared<Redis>(plan.socket), locks = names(plan, "lock")](int i) {
        auto const& key = name_of(locks, i);
        auto const owner = new_owner();
        if (!redis->lock(key, owner))
            throw std::runtime_error("busy");
        redis->unlock(key, owner);
    };
}

Sections bare_section(Plan const& plan)
{
    return [redis = std::make_shared<Redis>(plan.socket), locks = names(plan, "sectionlock"),
            values = names(plan, "value")](int i) {
        auto const& key = name_of(locks, i);
        auto const& value = name_of(values, i);
        auto const owner = new_owner();
        if (!redis->lock(key, owner))
            throw std::runtime_error("busy");
        (*redis)({"SET", value, std::to_string(redis->get(value) + 1)});
        redis->unlock(key, owner);
    };
}

double bare_hot_key(Plan const& plan)
{
    auto const lock = names(plan, "hotlock")[0];
    auto const value = names(plan, "hotvalue")[0];
    return per_second_of_many(
        plan.seconds,
        [&] {
            return [redis = std::make_shared<Redis>(plan.socket), &lock, &value] {
                auto const owner = new_owner();
                while (!redis->lock(lock, owner))
                    std::this_thread::sleep_for(std::chrono::milliseconds{1});
                (*redis)({"SET", value, std::to_string(redis->get(value) + 1)});
                redis->unlock(lock, owner);
            };
        },
        [&] { return Redis{plan.socket}.get(value); });
}
