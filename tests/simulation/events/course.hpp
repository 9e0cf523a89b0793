// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SIMULATION_EVENTS_COURSE_HPP
#define INTERLOCK_TESTS_SIMULATION_EVENTS_COURSE_HPP

// The course of a run: orders and readers among faults, then calm, in which everything must come to its end.

#include "simulation/events/readers.hpp"
#include "simulation/events/writers.hpp"

#include <algorithm>
#include <deque>
#include <exception>

namespace simulated_events {

/// Some hundreds are usual.
inline constexpr std::uint64_t most_steps = 200'000;

class Course {
public:
    Course(std::uint64_t seed, Planted planted, Coverage& coverage) : world_(seed, planted, coverage) {}
    Course(Course const&) = delete;
    Course& operator=(Course const&) = delete;
    ~Course()
    {
        // A service that goes waits a little for its removals, and others would go on meanwhile.
        world_.context().stop();
        world_.forget_arrivals();
    }

    /// The first thing that is wrong, or nothing.
    std::string go()
    {
        begin();
        until_ended(1min, "liveness: a client never ended");
        if (good()) {
            spawn(outside, calm());
            until_ended(3min, "liveness: not everything was handled after the faults had stopped");
        }
        if (good())
            check_end();
        return world_.problem();
    }
    std::uint64_t trace() { return world_.context().trace(); }
    std::uint64_t steps() { return world_.context().steps(); }

private:
    bool good() const noexcept { return world_.problem().empty(); }
    Random& random() noexcept { return world_.random(); }

    void begin()
    {
        auto const streams = 1 + random().below(3);
        auto const count = 3 + random().below(9);
        for (std::uint64_t i = 0; i < count; ++i)
            orders_.push_back({"o" + std::to_string(i), "s" + std::to_string(random().below(streams))});
        if (random().percent(30))
            for (auto n = 1 + random().below(2); n > 0; --n)
                bad_.events.emplace(
                    "s" + std::to_string(random().below(streams)),
                    1 + static_cast<std::int64_t>(random().below(3)));
        vary_faults();
        auto const writers = 1 + random().below(2);
        for (std::uint64_t i = 0; i < writers; ++i)
            spawn_writer(i, writers);
        for (auto n = 1 + random().below(3); n > 0; --n)
            spawn_reader();
        spawn(outside, nemesis());
    }

    void vary_faults()
    {
        world_.set_fault_percent(random().percent(40) ? 0 : static_cast<unsigned>(random().below(25)));
    }

    // ---- processes

    void spawn(Host host, Client client)
    {
        ++running_;
        asio::co_spawn(
            world_.context().get_executor(host), std::move(client), [this](std::exception_ptr thrown) {
                --running_;
                ended_with(std::move(thrown));
            });
    }
    void ended_with(std::exception_ptr thrown)
    {
        try {
            if (thrown)
                std::rethrow_exception(thrown);
        } catch (std::exception const& error) {
            world_.fail(std::string("a client ended with: ") + error.what());
        }
    }
    Host new_host() noexcept { return ++last_host_; }

    /// Clients of a process, which may die without a word: nobody waits for them.
    void spawn_writer(std::uint64_t nth, std::uint64_t of)
    {
        auto& writer = writers_.emplace_back(world_, new_host(), false);
        for (std::uint64_t client = 0; client < 2; ++client) {
            std::vector<Order*> own;
            for (auto i = nth + client * of; i < orders_.size(); i += 2 * of)
                own.push_back(&orders_[i]);
            auto const executor = world_.context().get_executor(writer.process().host());
            asio::co_spawn(executor, writer.run(std::move(own), false), [this](std::exception_ptr thrown) {
                ended_with(std::move(thrown));
            });
        }
    }
    void spawn_reader()
    {
        auto& reader = readers_.emplace_back(world_, new_host(), world_.calm(), bad_);
        reader.begin();
    }
    Reader* some_reader()
    {
        std::vector<Reader*> living;
        for (auto& reader : readers_)
            if (reader.lives())
                living.push_back(&reader);
        return living.empty() ? nullptr : living[random().below(living.size())];
    }

    // ---- among faults

    Client nemesis()
    {
        auto const rounds = 3 + random().below(7);
        for (std::uint64_t i = 0; i < rounds; ++i) {
            co_await world_.sleep(outside, random().time(0ms, 80ms));
            auto* const reader = some_reader();
            if (reader == nullptr) {
                spawn_reader();
                continue;
            }
            switch (random().below(8)) {
            case 0:
            case 1:
                world_.tell("pause", reader->process().host());
                reader->process().pause();
                co_await world_.sleep(outside, random().time(1ms, 3 * ttl));
                reader->process().resume();
                world_.tell("resume", reader->process().host());
                world_.coverage().note("a reader was paused");
                break;
            case 2: reader->process().die(); break;
            case 3:
                reader->stop();
                spawn_reader();
                world_.coverage().note("a reader was replaced");
                break;
            case 4: world_.restart_stores(random().time(1ms, 60ms)); break;
            case 5: resume_streams(); break;
            case 6:
                if (readers_.size() < 5)
                    spawn_reader();
                break;
            default: vary_faults();
            }
        }
    }

    /// By hand, as a person does it who has looked into it.
    bool resume_streams()
    {
        il::Subscription const shipping{operator_.events(), operator_.cursors(), consumer};
        auto const parked = shipping.parked();
        if (!parked)
            return true;
        for (auto const& stream : *parked)
            if (!stream.resume && shipping.resume(stream.stream))
                world_.coverage().note("a stream was to go on");
        return !parked->empty();
    }

    // ---- in calm

    Client calm()
    {
        world_.tell("from now on it is calm");
        world_.begin_calm();
        bad_.mended = true;
        for (int i = 0; i < 3; ++i)
            orders_.push_back({"c" + std::to_string(i), orders_[static_cast<std::size_t>(i)].sku});
        auto& writer = writers_.emplace_back(world_, new_host(), true);
        std::vector<Order*> all;
        for (auto& order : orders_)
            if (!order.done)
                all.push_back(&order);
        co_await writer.run(std::move(all), true);
        bool replaced = false;
        while (good() && !world_.all_is_handled()) {
            if (std::none_of(readers_.begin(), readers_.end(), [](auto const& r) { return r.serves(); }))
                spawn_reader();
            co_await world_.sleep(outside, 10ms);
            // Another one sees at once what a person has asked for.
            if (resume_streams() && !std::exchange(replaced, true)) {
                for (auto& reader : readers_)
                    if (reader.lives())
                        reader.stop();
            }
        }
        for (auto& reader : readers_)
            if (!reader.process().dead())
                reader.stop();
        while (good() && some_reader() != nullptr)
            co_await world_.sleep(outside, 10ms);
    }

    void until_ended(std::chrono::nanoseconds limit, char const* problem)
    {
        auto& context = world_.context();
        auto const at = context.now() + limit;
        try {
            while (running_ != 0 && good() && context.now() < at && context.steps() < most_steps &&
                   context.step()) {
            }
        } catch (std::exception const& error) {
            world_.fail(std::string("an exception left by an executor: ") + error.what());
        }
        world_.require(running_ == 0 || !good(), problem);
    }

    void check_end()
    {
        world_.context().run_for(ttl);
        std::map<std::string, std::int64_t> counts;
        for (auto const& order : orders_)
            ++counts[order.sku];
        for (auto const& reader : readers_)
            if (reader.ended() && !reader.result())
                world_.fail("a reader ended with: " + reader.result().message());
        world_.check_stores(counts);
    }

    World world_;
    std::deque<Order> orders_;
    BadEvents bad_;
    Host last_host_{outside};
    Process operator_{world_, outside, true};
    std::deque<Writer> writers_;
    std::deque<Reader> readers_;
    unsigned running_{0};
};

}  // namespace simulated_events

#endif  // INTERLOCK_TESTS_SIMULATION_EVENTS_COURSE_HPP
