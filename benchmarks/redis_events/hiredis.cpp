// SPDX-License-Identifier: BSL-1.0

#include <hiredis/hiredis.h>

#include "contestants.hpp"

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>

namespace {

struct Free {
    void operator()(redisContext* context) const { redisFree(context); }
    void operator()(redisReply* reply) const { freeReplyObject(reply); }
};

}  // namespace

double bare_read(Plan const& plan)
{
    using clock = std::chrono::steady_clock;
    auto const log = fill(plan, "bare");
    std::unique_ptr<redisContext, Free> const context{redisConnectUnix(plan.socket.c_str())};
    if (!context || context->err != 0)
        throw std::runtime_error("cannot connect to redis");
    auto const batch = std::to_string(events_in_batch);
    auto const begin = clock::now();
    auto const end = plan.end(begin);
    long count = 0;
    do {
        for (std::string at = "-";;) {
            std::unique_ptr<redisReply, Free> const page{static_cast<redisReply*>(redisCommand(
                context.get(), "XRANGE %s %s + COUNT %s", log.c_str(), at.c_str(), batch.c_str()))};
            if (!page || page->type != REDIS_REPLY_ARRAY)
                throw std::runtime_error("redis is gone");
            if (page->elements == 0)
                break;
            count += static_cast<long>(page->elements);
            auto const* const id = page->element[page->elements - 1]->element[0];
            at.clear();
            at.push_back('(');
            at.append(id->str, id->len);
        }
        if (count % events_in_log != 0)
            throw std::runtime_error("an event is missing");
    } while (clock::now() < end);
    return bench::per_second_since(begin, count);
}
