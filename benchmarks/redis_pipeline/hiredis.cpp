// SPDX-License-Identifier: BSL-1.0

#include <hiredis/hiredis.h>

#include "contestants.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

namespace {

struct Free {
    void operator()(redisContext* context) const { redisFree(context); }
    void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using Reply = std::unique_ptr<redisReply, Free>;

template <std::size_t N>
void append(redisContext* context, std::array<std::string_view, N> const& words)
{
    std::array<char const*, N> texts;
    std::array<std::size_t, N> sizes;
    for (std::size_t i = 0; i < N; ++i) {
        texts[i] = words[i].data();
        sizes[i] = words[i].size();
    }
    if (redisAppendCommandArgv(context, static_cast<int>(N), texts.data(), sizes.data()) != REDIS_OK)
        throw std::runtime_error("cannot append");
}

Reply next(redisContext* context)
{
    void* reply = nullptr;
    if (redisGetReply(context, &reply) != REDIS_OK)
        throw std::runtime_error("redis is gone");
    return Reply{static_cast<redisReply*>(reply)};
}

}  // namespace

double bare_batches(Plan const& plan)
{
    using clock = std::chrono::steady_clock;
    std::unique_ptr<redisContext, Free> const context{redisConnectUnix(plan.socket.c_str())};
    if (!context || context->err != 0)
        throw std::runtime_error("cannot connect to redis");
    auto const names = keys(plan);
    append<3>(context.get(), {"SCRIPT", "LOAD", release_script});
    std::string const release = next(context.get())->str;
    auto const begin = clock::now();
    auto const end = plan.end(begin);
    long count = 0;
    do {
        for (auto const& name : names)
            append<6>(context.get(), {"SET", name, lock_owner, "NX", "PX", "10000"});
        for (int i = 0; i < batch; ++i)
            if (next(context.get())->type != REDIS_REPLY_STATUS)
                throw std::runtime_error("busy");
        for (auto const& name : names)
            append<5>(context.get(), {"EVALSHA", release, "1", name, lock_owner});
        for (int i = 0; i < batch; ++i)
            if (next(context.get())->integer != 1)
                throw std::runtime_error("not held");
        count += batch;
    } while (clock::now() < end);
    return bench::per_second_since(begin, count);
}
