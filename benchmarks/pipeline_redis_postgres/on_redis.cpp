// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/redis/event_repository.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/patterns/batch_subscription.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "ours.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <span>
#include <string>
#include <vector>

namespace {

namespace il = interlock;

/// What the inbox did for a job.
struct Effect {
    std::string job;
    int count{0};
};
BOOST_DESCRIBE_STRUCT(Effect, (), (job, count))

/// What was done for the jobs of a partition, and how far it is read: a read model that is its own cursor.
struct Done {
    std::string id;
    il::Position place{0};
    std::vector<int> counts;  // by the number of the job
};
BOOST_DESCRIBE_STRUCT(Done, (), (id, place, counts))

class Redis {
    using Models = il::redis::StateRepository<Done>;
    using Service = il::TransactionService<Done, il::OptimisticVersioning, Models>;

public:
    Redis(il::redis::Client const& client, std::string const& run, std::size_t batch)
        : events{client, {.name_space = "jobs" + run, .shards = 4}},
          effects{client, {.name_space = "effects" + run}}, cursors{client, {.name_space = "cursors" + run}},
          done_{client, {.name_space = "done" + run}},
          batches_{
              events,
              Service{il::OptimisticVersioning{.missing = il::Missing::create}, done_},
              "batches",
              &Done::place,
              {.batch = batch}}
    {}

    std::size_t handle_batch(unsigned partition) const
    {
        auto const handler = [](std::span<il::Event const> batch, Done& done) {
            for (auto const& event : batch) {
                auto const job = static_cast<std::size_t>(pipeline::job_of(event));
                done.counts.resize(std::max(done.counts.size(), job + 1));
                ++done.counts[job];
            }
        };
        return batches_.step(partition, handler).value();
    }
    void move_to(unsigned partition, il::Position position) const
    {
        done_.insert(Done{il::cursor_id("batches", partition), position, {}}).value();
    }
    /// How often each of so many jobs had its effect.
    std::vector<int> counts(long jobs) const
    {
        std::vector<int> all(static_cast<std::size_t>(jobs));
        for (unsigned partition = 0; partition < events.partitions(); ++partition)
            if (auto const done = done_.load(il::cursor_id("batches", partition)))
                for (std::size_t i = 0; i < std::min(all.size(), done->value.counts.size()); ++i)
                    all[i] += done->value.counts[i];
        return all;
    }

    il::redis::EventRepository events;
    il::redis::StateRepository<Effect> effects;
    il::redis::StateRepository<il::Cursor> cursors;

private:
    Models done_;
    il::BatchSubscription<il::redis::EventRepository, Service> batches_;
};

/// Puts jobs in until `next` is `count`.
boost::asio::awaitable<void> call(il::redis::EventRepository const& events, long& next, long count)
{
    while (next < count) {
        auto const number = next++;
        std::vector<il::NewEvent> const one{pipeline::job(number)};
        auto const stream = pipeline::stream(number);
        auto const done = co_await events.async_append(
            stream, il::Expected::any(), one, std::chrono::seconds{30}, boost::asio::use_awaitable);
        static_cast<void>(done.value());
    }
}

/// The callers are coroutines of one thread, which does the client's I/O, too: what they append at the same
/// time leaves together.
double put(il::redis::Options const& options, std::string const& run, long count)
{
    boost::asio::io_context context{1};
    il::redis::Client const client{context, options};
    il::redis::EventRepository const events{client, {.name_space = "jobs" + run, .shards = 4}};
    long next = 0;
    for (std::size_t i = 0; i < pipeline::callers; ++i)
        boost::asio::co_spawn(context, call(events, next, count), [](std::exception_ptr failure) {
            if (failure)
                std::rethrow_exception(failure);
        });
    auto const begin = pipeline::clock::now();
    context.run();
    return pipeline::seconds_since(begin);
}

}  // namespace

void on_redis(Plan const& plan)
{
    il::redis::Options options;
    options.unix_path = plan.address;
    if (plan.work == "put")
        return pipeline::figure(static_cast<double>(plan.count) / put(options, plan.run, plan.count));
    pipeline::Ours<Redis>{Redis{il::redis::Client{options}, plan.run, pipeline::batch_of(plan)}}.carry_out(
        plan);
}
