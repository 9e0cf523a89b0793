// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SIMULATION_EVENTS_READERS_HPP
#define INTERLOCK_TESTS_SIMULATION_EVENTS_READERS_HPP

// Those who read the log under one name, and make one effect of each event, by an inbox: on a thread that
// blocks, or without blocking one.

#include <interlock/patterns/inbox.hpp>
#include <interlock/patterns/subscription.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "simulation/events/world.hpp"

#include <set>
#include <stdexcept>
#include <stop_token>

namespace simulated_events {

/// Which events cannot be handled for now, of all readers.
struct BadEvents {
    std::set<std::pair<std::string, std::int64_t>> events;
    bool mended{false};
    bool are(il::Event const& event) const
    {
        return !mended && events.contains({std::string(event.stream.bytes()), event.number});
    }
};

/// A process that reads.
class Reader {
    using Cursors = Repository<il::Cursor>;
    using Run = il::detail::SubscriptionRun<Events, Cursors>;
    using Subscription = il::Subscription<Events, Cursors>;
    using Service = il::TransactionService<Shipment, il::OptimisticVersioning, Repository<Shipment>>;

public:
    Reader(World& world, Host host, bool calm, BadEvents const& bad)
        : process_(world, host, calm), bad_(bad), watch_(*this),
          inbox_(
              Service{il::OptimisticVersioning{.missing = il::Missing::create}, process_.shipments()},
              consumer),
          options_(some_options()), subscription_(process_.events(), process_.cursors(), consumer, options_)
    {}
    Reader(Reader const&) = delete;
    Reader& operator=(Reader const&) = delete;
    ~Reader()
    {
        if (run_)
            run_->hub().wakes(nullptr);
    }

    Process& process() noexcept { return process_; }
    bool lives() const noexcept { return !process_.dead() && !ended_; }
    /// It lives, and nobody has told it to end.
    bool serves() const noexcept { return lives() && !stop_.stop_requested(); }
    bool ended() const noexcept { return ended_; }
    il::Outcome<void> const& result() const noexcept { return result_; }

    void begin()
    {
        if (process_.world().random().percent(50))
            begin_blocking();
        else
            begin_async();
    }
    /// It ends what it has begun.
    void stop()
    {
        stop_.request_stop();
        if (run_)
            run_->stop();
    }

private:
    /// What the process is told, as its log would show.
    class Watch final : public il::SubscriptionObserver {
    public:
        explicit Watch(Reader& reader) : reader_(reader) {}
        void on_leased(il::PartitionNotice const& n) noexcept override { note("leased", n); }
        void on_lease_lost(il::PartitionNotice const& n) noexcept override
        {
            note("a lease was lost", n);
            if (!reader_.process_.dead())
                reader_.process_.world().require(
                    !reader_.process_.world().quite_calm(), "a lease was lost, and nothing has failed");
        }
        void on_moved(il::PartitionNotice const& n) noexcept override { note("a cursor was read anew", n); }
        void on_trouble(il::PartitionNotice const& n) noexcept override { note("trouble", n); }
        void on_retry(il::StreamNotice const& n) noexcept override { note("tried again", n); }
        void on_parked(il::StreamNotice const& n) noexcept override { note("parked", n); }
        void on_parking_full(il::StreamNotice const& n) noexcept override
        {
            note("no more may be parked", n);
        }
        void on_resumed(il::StreamNotice const& n) noexcept override { note("resumed", n); }
        void on_unparked(il::StreamNotice const& n) noexcept override { note("unparked", n); }

    private:
        template <class Notice>
        void note(char const* what, Notice const& notice)
        {
            auto& world = reader_.process_.world();
            world.coverage().note(what);
            world.tell("   ", what, "at", reader_.process_.host(), notice.position, notice.text);
        }
        Reader& reader_;
    };

    il::SubscriptionOptions some_options()
    {
        auto& random = process_.world().random();
        il::SubscriptionOptions options;
        options.batch = 1 + random.below(4);
        options.concurrency = 1 + random.below(3);
        options.attempts = 2 + static_cast<int>(random.below(3));
        options.backoff = {.initial = 1ms, .cap = 20ms, .immediate = 0};
        options.event_deadline = random.time(10ms, 200ms);
        options.max_parked = 1 + random.below(3);
        options.cursor_every = random.time(0ms, 30ms);
        options.poll_most = 20ms;
        options.ttl = ttl;
        options.observer = &watch_;
        return options;
    }

    // ---- the effect

    static auto effect(il::Event const& event)
    {
        return [number = event.number](Shipment& shipment) {
            ++shipment.parcels;
            shipment.last = number;
        };
    }
    /// What makes an event fail that cannot be handled: in one of the ways that a handler may choose.
    static il::Outcome<il::Handling> refuse(il::Event const& event)
    {
        if (event.number % 3 == 0)
            return il::Handling::park;
        if (event.number % 3 == 1)
            throw std::runtime_error("no such address");
        return il::Failure{il::Errc::invalid_argument, "no such address"};
    }
    static il::Outcome<il::Handling> handled(il::Outcome<il::Handled> outcome)
    {
        if (!outcome)
            return std::move(outcome).failure();
        return il::Handling::done;
    }
    il::Outcome<il::Handling> handle(il::Event const& event)
    {
        process_.world().tell("  handles", event.stream.bytes(), event.number, "at", process_.host());
        if (bad_.are(event))
            return refuse(event);
        auto outcome = inbox_.handle(
            event, std::string(event.stream.bytes()), effect(event), {.deadline = options_.event_deadline});
        if (outcome)
            note(*outcome);
        return handled(std::move(outcome));
    }
    void note(il::Handled handled) const
    {
        process_.world().coverage().note(
            handled == il::Handled::duplicate ? "a delivery was a duplicate" : "an event was handled");
    }

    /// The effect without the event's id.
    asio::awaitable<void> affect(il::Event event)
    {
        auto const change = effect(event);
        il::CallOptions const options{.deadline = 100ms};
        std::string const key{event.stream.bytes()};
        auto running =
            inbox_.service().async_try_do_in_transaction(key, change, options, asio::use_awaitable);
        static_cast<void>(co_await std::move(running));
    }

    asio::awaitable<il::Outcome<il::Handling>> async_handle(il::Event event)
    {
        auto& world = process_.world();
        world.tell("  handles", event.stream.bytes(), event.number, "at", process_.host());
        if (world.random().percent(30))
            co_await world.sleep(process_.host(), world.random().time(0ms, 20ms));
        if (bad_.are(event))
            co_return refuse(event);
        if (world.planted() == Planted::no_inbox) {
            co_await affect(event);
            co_return il::Handling::done;
        }
        if (world.planted() == Planted::answers_before) {
            asio::co_spawn(world.context().get_executor(process_.host()), affect(event), asio::detached);
            co_return il::Handling::done;
        }
        auto const change = effect(event);
        std::string const key{event.stream.bytes()};
        il::CallOptions const options{.deadline = options_.event_deadline};
        auto running = inbox_.async_handle(event, key, change, options, asio::use_awaitable);
        auto outcome = co_await std::move(running);
        if (outcome)
            note(*outcome);
        co_return handled(std::move(outcome));
    }

    // ---- without blocking

    void begin_async()
    {
        auto const handler = [this](il::Event const& event) { return async_handle(event); };
        auto const ended = [this](il::Outcome<void> outcome) { end(std::move(outcome)); };
        subscription_.async_run(
            handler, stop_,
            asio::bind_executor(process_.world().context().get_executor(process_.host()), ended));
    }
    void end(il::Outcome<void> outcome)
    {
        process_.world().tell(process_.host(), "has ended:", il::name_of(outcome.errc()), outcome.message());
        result_ = std::move(outcome);
        ended_ = true;
    }

    // ---- on a thread that blocks

    // The loop of `Subscription::run`, one turn of which is one step of the simulation: what is to be done is
    // carried out by the library's own driver of a blocking call.

    void begin_blocking()
    {
        il::LockOptions lease;
        lease.ttl = ttl;
        run_ = std::make_shared<Run>(
            process_.events(), typename Run::Locks{process_.cursors(), lease}, consumer, terms(),
            membership(), &watch_);
        run_->hub().wakes(&awake_);
        turn_soon();
    }
    static constexpr il::Backoff trouble{.initial = 2ms, .cap = 50ms, .immediate = 0};
    std::vector<il::detail::SubscriptionTerms> terms() const
    {
        std::vector<il::detail::SubscriptionTerms> all;
        auto const partitions = process_.world().partitions();
        for (unsigned partition = 0; partition < partitions; ++partition) {
            il::detail::SubscriptionTerms of;
            of.id = il::cursor_id(consumer, partition);
            of.partition = partition;
            of.partitions = partitions;
            of.batch = options_.batch;
            of.window = options_.batch * 16;
            of.attempts = options_.attempts;
            of.backoff = options_.backoff;
            of.max_parked = options_.max_parked;
            of.cursor_every = options_.cursor_every;
            of.poll_least = options_.poll_least;
            of.poll_most = options_.poll_most * 5;
            of.lease_poll = 5ms;
            of.look_every = 50ms;
            of.note_every = 100ms;
            of.hand_over = ttl / 2;
            of.trouble = trouble;
            all.push_back(std::move(of));
        }
        return all;
    }
    std::optional<il::detail::MembershipMachine> membership() const
    {
        auto const partitions = process_.world().partitions();
        if (partitions < 2)
            return std::nullopt;
        il::detail::MembershipTerms of;
        of.id = il::members_id(consumer);
        of.me = std::to_string(process_.host());
        of.partitions = partitions;
        of.dead_after = ttl;
        of.beat_every = ttl / 4;
        of.trouble = trouble;
        return il::detail::MembershipMachine{std::move(of)};
    }
    void turn_soon()
    {
        auto& world = process_.world();
        auto const at = world.context().now() + world.random().time(0ms, 2ms);
        world.context().add_timer(process_.host(), at, [this] { turn(); });
    }
    void turn()
    {
        auto const todo = run_->next(true);
        if (todo.ended) {
            auto count = run_->result();
            return end(count ? il::success() : il::Outcome<void>{std::move(count).failure()});
        }
        if (todo.of_member) {
            il::detail::carry_out_blocking(*run_, *todo.of_member);
        } else if (todo.part != nullptr) {
            auto handler = [this](il::Event const& event) { return handle(event); };
            il::detail::carry_out_blocking(*run_, todo, handler, options_.event_deadline);
        } else {
            return awake_.wait(todo.action.until);
        }
        turn_soon();
    }
    /// Where the thread waits for something to do.
    class Awake final : public il::Waiter {
    public:
        explicit Awake(Reader& reader) : reader_(reader) {}
        void wait(TimePoint until)
        {
            waits_ = true;
            timer_.reset();
            if (until != TimePoint::max())
                timer_ = context().add_timer(reader_.process_.host(), until, [this] {
                    waits_ = false;
                    reader_.turn();
                });
        }
        void wake() noexcept override
        {
            if (!std::exchange(waits_, false))
                return;
            if (timer_)
                context().remove_timer(*timer_);
            reader_.turn_soon();
        }

    private:
        SimulationContext& context() const { return reader_.process_.world().context(); }
        Reader& reader_;
        bool waits_{false};
        std::optional<SimulationContext::TimerId> timer_;
    };

    Process process_;
    BadEvents const& bad_;
    Watch watch_;
    il::Inbox<Service> inbox_;
    il::SubscriptionOptions options_;
    Subscription subscription_;
    std::stop_source stop_;
    Awake awake_{*this};
    std::shared_ptr<Run> run_;
    bool ended_{false};
    il::Outcome<void> result_;
};

}  // namespace simulated_events

#endif  // INTERLOCK_TESTS_SIMULATION_EVENTS_READERS_HPP
