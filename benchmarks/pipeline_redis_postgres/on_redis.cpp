// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/redis/event_repository.hpp>
#include <interlock/backends/redis/state_repository.hpp>

#include "ours.hpp"

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace {

namespace il = interlock;

/// What was done for a job, or how far a partition is read.
struct Effect {
    std::string job;
    int count{0};
    il::Position place{0};
};
BOOST_DESCRIBE_STRUCT(Effect, (), (job, count, place))

/// Each effect is a state, and so is the place of a partition: a batch of them is one commit, one script.
class Redis {
    using Repository = il::redis::StateRepository<Effect>;
    using Effects = il::TransactionService<Effect, il::OptimisticVersioning, Repository>;

public:
    Redis(il::redis::Client const& client, std::string const& run)
        : events{client, {.name_space = "jobs" + run, .shards = 4}},
          effects{client, {.name_space = "effects" + run}}, cursors{client, {.name_space = "cursors" + run}},
          service_{il::OptimisticVersioning{.missing = il::Missing::create}, effects}
    {}

    std::size_t handle_batch(unsigned partition) const
    {
        auto const own = place(partition);
        auto const loaded = effects.load(own);
        if (!loaded && loaded.errc() != il::Errc::not_found)
            static_cast<void>(loaded.value());
        auto const from = loaded ? loaded->value.place : 0;
        auto const page = events.read(partition, from, 500).value();
        if (page.events.empty())
            return 0;
        std::vector<std::string> keys{own};
        for (auto const& event : page.events)
            keys.push_back(pipeline::job_of(event));
        return service_.do_in_transaction(il::keys(keys), [&](std::span<Effect> all) {
            if (all[0].place != from)
                return std::size_t{0};  // another reader was here meanwhile
            all[0].place = page.next;
            for (auto& effect : all.subspan(1))
                ++effect.count;
            return page.events.size();
        });
    }
    void move_to(unsigned partition, il::Position position) const
    {
        effects.insert(Effect{place(partition), 0, position}).value();
    }

    il::redis::EventRepository events;
    Repository effects;
    il::redis::StateRepository<il::Cursor> cursors;

private:
    static std::string place(unsigned partition) { return "place/" + std::to_string(partition); }

    Effects service_;
};

}  // namespace

void on_redis(Plan const& plan)
{
    il::redis::Options options;
    options.unix_path = plan.address;
    pipeline::Ours<Redis>{Redis{il::redis::Client{options}, plan.run}}.carry_out(plan);
}
