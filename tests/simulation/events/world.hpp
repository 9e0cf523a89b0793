// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SIMULATION_EVENTS_WORLD_HPP
#define INTERLOCK_TESTS_SIMULATION_EVENTS_WORLD_HPP

// What one run consists of: three stores and a log that everybody shares, the lines of each process to them,
// which fail, and what the stores are compared with whenever something was written.

#include <interlock/interlock.hpp>
#include <interlock/patterns/cursor.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/describe/class.hpp>

#include "support/scripted_repository.hpp"
#include "support/simulation/context.hpp"
#include "support/simulation/events.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace simulated_events {

namespace il = interlock;
namespace asio = boost::asio;
using namespace std::chrono_literals;
using il::TimePoint;
using scripted::Fault;
using simulation::Host;
using simulation::Random;
using simulation::SimulationContext;
using simulation::SimulationRuntime;
using Events = simulation::ScriptedEvents;
using Client = asio::awaitable<void>;

struct Stock {
    std::string sku;
    std::int64_t sold{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, sold))

/// What is recorded when something is sold.
struct Sold {
    std::string order;
    std::int64_t sold{0};  ///< of the stock, with this one
    static constexpr il::EventType event{"stock.sold", 1};
};
BOOST_DESCRIBE_STRUCT(Sold, (), (order, sold))

/// What handlers make of the events of one stock.
struct Shipment {
    std::string sku;
    std::int64_t parcels{0};
    std::int64_t last{0};  ///< the number of the event that came last
};
BOOST_DESCRIBE_STRUCT(Shipment, (), (sku, parcels, last))

template <class T>
using Store = il::memory::StateRepository<T, std::string, SimulationRuntime>;
template <class T>
using Repository = scripted::ScriptedRepository<T, std::string, SimulationRuntime>;

inline constexpr auto ttl = 60ms;
/// A request that arrives late arrives after that time at most.
inline constexpr auto longest_way = 80ms;
inline constexpr auto pool_latency = 2ms;
/// Of nobody's process.
inline constexpr Host outside = 0;
inline constexpr char const* consumer = "shipping";

/// A mistake that a program, or a store, could make: planted to see it found.
enum class Planted : unsigned char {
    none,
    two_steps,       ///< the event is appended when the state has been written
    no_inbox,        ///< the effect is a transaction without the id of the event
    answers_before,  ///< the handler answers before its effect is made
    no_fences,       ///< the store of the cursors does not look at fences
};

/// What all runs together must have seen at least once.
struct Coverage {
    std::map<std::string, std::uint64_t> seen;
    void note(char const* what) { ++seen[what]; }
};

class World;

/// One process: its lines to the stores, and when it dies.
class Process {
public:
    Process(World& world, Host host, bool calm);
    Process(Process const&) = delete;
    Process& operator=(Process const&) = delete;
    ~Process();

    Host host() const noexcept { return host_; }
    bool dead() const noexcept { return dead_; }
    /// Nothing of it runs any more, and nothing that it asks for reaches a store.
    void die();
    void pause();
    void resume();

    Repository<Stock> stocks() const;
    Repository<Shipment> shipments() const;
    Repository<il::Cursor> cursors() const;
    Events events() const;
    SimulationRuntime runtime() const;
    World& world() const noexcept { return world_; }

private:
    template <class T>
    void connect(scripted::Script<T>& script);
    template <class T>
    Repository<T> handle(Store<T> const& store, std::shared_ptr<scripted::Script<T>> const& script) const;
    Fault before_call(bool of_cursors, bool writes, bool may_fail);
    void after_call();
    void sleep_in_call();

    World& world_;
    Host host_;
    bool in_place_;
    bool dead_{false};
    int pauses_{0};
    // Which of its calls of a store is its last, and which lasts until it wakes again; 0: none. Of all calls,
    // or of those that write its cursor.
    std::uint64_t calls_{0};
    std::uint64_t dies_at_{0};
    std::uint64_t sleeps_at_{0};
    bool at_a_cursor_{false};
    bool before_{false};  // the store has done its part, or else afterwards
    bool dies_now_{false};
    bool sleeps_now_{false};
    std::shared_ptr<scripted::Script<Stock>> stock_script_{std::make_shared<scripted::Script<Stock>>()};
    std::shared_ptr<scripted::Script<Shipment>> shipment_script_{
        std::make_shared<scripted::Script<Shipment>>()};
    std::shared_ptr<scripted::Script<il::Cursor>> cursor_script_{
        std::make_shared<scripted::Script<il::Cursor>>()};
    std::shared_ptr<Events::Line> line_{std::make_shared<Events::Line>()};
};

/// The stores and what is known of them.
class World {
public:
    static inline bool verbose = false;

    World(std::uint64_t seed, Planted planted, Coverage& coverage)
        : coverage_(coverage), context_(seed, simulation::Blocking::nested), random_(seed * 2 + 1),
          planted_(planted), partitions_(random_.percent(25) ? 2U : 1U),
          log_(il::memory::EventRepositoryOptions{.partitions = partitions_}, runtime(outside)),
          stocks_(with_events(), runtime(outside)),
          shipments_(il::memory::RepositoryOptions{}, runtime(outside)),
          cursors_(il::memory::RepositoryOptions{}, runtime(outside)), partition_(partitions_)
    {
        context_.set_pool_latency(pool_latency);
    }
    World(World const&) = delete;
    World& operator=(World const&) = delete;

    SimulationContext& context() noexcept { return context_; }
    SimulationRuntime runtime(Host host) noexcept { return {context_, host}; }
    Random& random() noexcept { return random_; }
    Coverage& coverage() noexcept { return coverage_; }
    Planted planted() const noexcept { return planted_; }
    auto sleep(Host host, std::chrono::nanoseconds time)
    {
        return simulation::async_sleep(context_, host, time, asio::use_awaitable);
    }

    // ---- faults

    bool calm() const noexcept { return calm_since_.has_value(); }
    void begin_calm() { calm_since_ = context_.now(); }
    /// From now on nothing has an excuse.
    bool quite_calm() const noexcept { return calm_since_ && context_.now() > *calm_since_ + 4 * ttl; }
    void set_fault_percent(unsigned percent) noexcept { fault_percent_ = percent; }
    /// The stores answer nobody for that long: they are restarted.
    void restart_stores(std::chrono::nanoseconds time) { away_until_ = context_.now() + time; }
    Fault next_fault(bool may_be_late);
    void arrives_late(std::function<void()> arrival);
    /// A thread of `host` sleeps within a call, and everybody else goes on. One thread at a time, since there
    /// is one stack.
    bool sleep_nested(std::chrono::nanoseconds time);
    void forget_arrivals() { late_arrivals_.clear(); }

    // ---- what is wrong

    std::string const& problem() const noexcept { return problem_; }
    void fail(std::string const& what)
    {
        if (problem_.empty())
            problem_ = what;
        tell("!!!", what);
    }
    void require(bool good, char const* what)
    {
        if (!good)
            fail(what);
    }
    template <class... Words>
    void tell(Words const&... words)
    {
        if (!verbose)
            return;
        std::cout << context_.now().time_since_epoch() / 1us - 3'600'000'000;
        ((std::cout << ' ' << words), ...);
        std::cout << '\n';
    }

    // ---- what was written

    void applied(Process const& by, std::span<il::Change<Stock> const> changes);
    void applied(Process const& by, std::span<il::Change<Shipment> const> changes);
    void applied(Process const& by, std::span<il::Change<il::Cursor> const> changes);
    void lease_granted(Process const& by, il::Key const& cursor);

    Events::Log const& log() const noexcept { return log_; }
    Store<Stock> const& stocks() const noexcept { return stocks_; }
    Store<Shipment> const& shipments() const noexcept { return shipments_; }
    Store<il::Cursor> const& cursors() const noexcept { return cursors_; }
    unsigned partitions() const noexcept { return partitions_; }

    /// Whether every event has had its effect, every cursor is at the end, and nothing is parked.
    bool all_is_handled();
    /// What is left when everything has ended.
    void check_stores(std::map<std::string, std::int64_t> const& orders);

private:
    /// What is known of the events of one stream, and of the reader of a partition.
    struct Known {
        std::string stream;
        std::int64_t number;
        il::Position position;
    };
    struct Partition {
        std::vector<Known> events;
        il::Position read{0};
        il::Position cursor{0};
        Process const* holder{nullptr};
        std::vector<il::Parked> parked;
    };

    il::memory::RepositoryOptions with_events() const
    {
        il::memory::RepositoryOptions options;
        options.events = log_;
        return options;
    }
    void look_at_log(Partition& partition, unsigned number);
    std::int64_t effects(std::string const& stream) const
    {
        auto const it = effects_.find(stream);
        return it == effects_.end() ? 0 : it->second;
    }

    Coverage& coverage_;
    SimulationContext context_;
    Random random_;
    Planted planted_;
    unsigned partitions_;
    std::map<std::uint64_t, std::function<void()>> late_arrivals_;
    std::uint64_t last_arrival_{0};
    Events::Log log_;
    Store<Stock> stocks_;
    Store<Shipment> shipments_;
    Store<il::Cursor> cursors_;
    std::vector<Partition> partition_;
    std::map<std::string, std::int64_t> recorded_;  // events of each stream
    std::map<std::string, std::int64_t> effects_;   // of the events of each stream
    std::optional<TimePoint> calm_since_;
    TimePoint away_until_{TimePoint::min()};
    unsigned fault_percent_{0};
    bool sleeping_{false};
    std::string problem_;
};

// ---- faults ----------------------------------------

inline Fault World::next_fault(bool may_be_late)
{
    if (calm())
        return Fault::none;
    if (context_.now() < away_until_) {
        coverage_.note("a store was away");
        return random_.percent(50) ? Fault::refused : Fault::lost_request;
    }
    if (fault_percent_ == 0 || !random_.percent(fault_percent_))
        return Fault::none;
    coverage_.note("fault");
    return static_cast<Fault>(1 + random_.below(may_be_late ? 4 : 3));
}

inline void World::arrives_late(std::function<void()> arrival)
{
    coverage_.note("arrived late");
    auto const number = ++last_arrival_;
    late_arrivals_.emplace(number, std::move(arrival));
    context_.add_timer(outside, context_.now() + random_.time(0ms, longest_way), [this, number] {
        auto const it = late_arrivals_.extract(number);
        if (!it.empty())
            it.mapped()();
    });
}

inline bool World::sleep_nested(std::chrono::nanoseconds time)
{
    if (sleeping_)
        return false;
    sleeping_ = true;
    runtime(outside).sleep_until(context_.now() + time);
    sleeping_ = false;
    return true;
}

// ---- what was written ----------------------------------------

inline void World::look_at_log(Partition& partition, unsigned number)
{
    auto const page = log_.read(number, partition.read, 10'000).value();
    for (auto const& event : page.events) {
        std::string const stream{event.stream.bytes()};
        auto const sold = event.as<Sold>();
        auto& last = recorded_[stream];
        require(event.number == last + 1, "events: the numbers of a stream are not 1, 2, 3");
        require(
            sold && sold->sold == event.number,
            "events: an event does not tell of the change that it came with");
        last = event.number;
        partition.events.push_back({stream, event.number, event.position});
    }
    partition.read = page.next;
}

inline void World::applied(Process const& by, std::span<il::Change<Stock> const> changes)
{
    for (auto const& change : changes) {
        if (change.kind != il::ChangeKind::write)
            continue;
        auto const& stock = *change.value;
        tell("  stock", stock.sku, "sold", stock.sold, "by", by.host());
        auto const number = il::partition_of(change.key->bytes(), partitions_);
        look_at_log(partition_[number], number);
        if (planted_ != Planted::two_steps)
            require(
                recorded_[std::string(change.key->bytes())] == stock.sold,
                "events: not each change has its event in the same step");
    }
}

inline void World::applied(Process const& by, std::span<il::Change<Shipment> const> changes)
{
    for (auto const& change : changes) {
        if (change.kind != il::ChangeKind::write)
            continue;
        std::string const stream{change.key->bytes()};
        auto& last = effects_[stream];
        tell("  effect of", stream, change.value->last, "by", by.host());
        require(change.value->last > last, "an event has its effect twice");
        require(change.value->last <= last + 1, "an event has its effect before the one before it");
        require(
            change.value->parcels == change.value->last,
            "the effects of a stream are not one for each event");
        last = change.value->last;
    }
}

inline void World::lease_granted(Process const& by, il::Key const& cursor)
{
    for (unsigned i = 0; i < partitions_; ++i)
        if (cursor.bytes() == il::cursor_id(consumer, i)) {
            tell("  lease of", i, "to", by.host());
            if (partition_[i].holder != nullptr && partition_[i].holder != &by)
                coverage_.note("a reader took over");
            partition_[i].holder = &by;
        }
}

inline void World::applied(Process const& by, std::span<il::Change<il::Cursor> const> changes)
{
    for (auto const& change : changes) {
        if (change.kind != il::ChangeKind::write)
            continue;
        auto const& cursor = *change.value;
        for (unsigned i = 0; i < partitions_; ++i) {
            if (cursor.id != il::cursor_id(consumer, i))
                continue;
            auto& partition = partition_[i];
            tell("  cursor", i, "at", cursor.position, "parked", cursor.parked.size(), "by", by.host());
            bool const moved = cursor.position != partition.cursor;
            // An operator asks for streams to go on, without a lease, and moves nothing.
            require(
                (by.host() == outside && !moved) || partition.holder == &by,
                "a cursor is written by a process that has not its lease");
            require(cursor.position >= partition.cursor, "a cursor is moved back");
            partition.cursor = cursor.position;
            partition.parked = cursor.parked;
            look_at_log(partition, i);
            require(cursor.position <= partition.read, "a cursor is ahead of the log");
            for (auto const& event : partition.events) {
                if (event.position > cursor.position)
                    break;
                bool waits = false;
                for (auto const& parked : cursor.parked)
                    waits = waits || (parked.stream == event.stream && parked.number <= event.number);
                require(
                    waits || event.number <= effects(event.stream),
                    "a cursor is beyond an event that was not handled");
            }
        }
    }
}

inline bool World::all_is_handled()
{
    for (unsigned i = 0; i < partitions_; ++i) {
        look_at_log(partition_[i], i);
        if (!partition_[i].parked.empty() || partition_[i].cursor != partition_[i].read)
            return false;
    }
    for (auto const& [stream, number] : recorded_)
        if (effects(stream) != number)
            return false;
    return true;
}

inline void World::check_stores(std::map<std::string, std::int64_t> const& orders)
{
    for (auto const& [sku, count] : orders) {
        auto const stock = stocks_.load(sku);
        require(stock && stock->value.sold == count, "an order has not had its effect, or had it twice");
        require(recorded_[sku] == count, "not every order has its event");
        auto const shipment = shipments_.load(sku);
        require(
            count == 0 || (shipment && shipment->value.parcels == count),
            "not every event has had its effect once");
    }
    for (unsigned i = 0; i < partitions_; ++i) {
        il::Key const key{il::cursor_id(consumer, i)};
        il::OwnerToken const owner{{1, 2}};
        require(cursors_.create(key, owner, ttl).has_value(), "a lease is left in the store");
    }
    require(cursors_.waiter_count() == 0 && shipments_.waiter_count() == 0, "a waiter is left in a store");
}

// ---- a process ----------------------------------------

inline Process::Process(World& world, Host host, bool calm)
    : world_(world), host_(host), in_place_(world.random().percent(50))
{
    auto& random = world.random();
    at_a_cursor_ = random.percent(40);
    auto const calls = at_a_cursor_ ? 3U : 60U;
    if (!calm && random.percent(45))
        dies_at_ = 1 + random.below(calls);
    if (!calm && random.percent(at_a_cursor_ ? 60 : 30))
        sleeps_at_ = 1 + random.below(calls);
    before_ = random.percent(50);
    connect(*stock_script_);
    connect(*shipment_script_);
    connect(*cursor_script_);
    cursor_script_->on_created = [this](il::Key const& key, auto, auto const&, bool) {
        world_.lease_granted(*this, key);
    };
    cursor_script_->ignores_fences = world.planted() == Planted::no_fences;
    line_->fault = [this] { return before_call(false, false, true); };
    line_->after = [this] { after_call(); };
    line_->hints_are_lost = [&random] { return random.percent(30); };
}

inline Process::~Process()
{
    *stock_script_ = {};  // what is still pending goes with the context
    *shipment_script_ = {};
    *cursor_script_ = {};
    *line_ = {};
}

template <class T>
void Process::connect(scripted::Script<T>& script)
{
    script.fault = [this](scripted::Call call, std::uint64_t) {
        using scripted::Call;
        // A removal that fails keeps a thread of the pool while it is tried again.
        bool const writes = call == Call::commit || call == Call::insert || call == Call::compare_and_set;
        return before_call(std::is_same_v<T, il::Cursor>, writes, call != Call::remove);
    };
    script.after = [this](scripted::Call, std::uint64_t) { after_call(); };
    script.later = [this](std::function<void()> arrives) { world_.arrives_late(std::move(arrives)); };
    script.on_applied = [this](std::span<il::Change<T> const> changes, auto const*) {
        world_.applied(*this, changes);
    };
}

inline Fault Process::before_call(bool of_cursors, bool writes, bool may_fail)
{
    if (dead_)
        return Fault::gone;
    if (!world_.calm()) {
        if (!at_a_cursor_ || (of_cursors && writes)) {
            ++calls_;
            dies_now_ = calls_ == dies_at_;
            sleeps_now_ = calls_ == sleeps_at_;
        }
        if (before_)
            after_call();
        if (dead_)
            return Fault::gone;
    }
    return may_fail ? world_.next_fault(writes) : Fault::none;
}

inline void Process::after_call()
{
    // A call that failed among the faults has left this to the next one, which may come in calm.
    if (world_.calm())
        dies_now_ = sleeps_now_ = false;
    if (std::exchange(dies_now_, false)) {
        world_.coverage().note(before_ ? "died before a call" : "died after a call");
        die();
    } else if (std::exchange(sleeps_now_, false)) {
        sleep_in_call();
    }
}

inline void Process::sleep_in_call()
{
    world_.tell(host_, "sleeps in a call");
    pause();
    auto& random = world_.random();
    // Just so long that somebody else may have taken over, and not done anything, or for longer.
    auto const time = random.percent(50) ? random.time(ttl - 10ms, ttl + 30ms) : random.time(1ms, 3 * ttl);
    if (world_.sleep_nested(time))
        world_.coverage().note("slept in a call");
    resume();
    world_.tell(host_, "wakes in a call");
}

inline void Process::die()
{
    if (dead_)
        return;
    world_.tell(host_, "dies");
    world_.coverage().note("a process died");
    dead_ = true;
    world_.context().pause(host_);
}

inline void Process::pause()
{
    ++pauses_;
    world_.context().pause(host_);
}

inline void Process::resume()
{
    if (--pauses_ == 0 && !dead_)
        world_.context().resume(host_);
}

inline SimulationRuntime Process::runtime() const
{
    return world_.runtime(host_);
}

template <class T>
Repository<T> Process::handle(Store<T> const& store, std::shared_ptr<scripted::Script<T>> const& script) const
{
    return {store, script, runtime(), in_place_};
}

inline Repository<Stock> Process::stocks() const
{
    return handle(world_.stocks(), stock_script_);
}
inline Repository<Shipment> Process::shipments() const
{
    return handle(world_.shipments(), shipment_script_);
}
inline Repository<il::Cursor> Process::cursors() const
{
    return handle(world_.cursors(), cursor_script_);
}
inline Events Process::events() const
{
    return {world_.log(), line_, runtime(), in_place_};
}

}  // namespace simulated_events

#endif  // INTERLOCK_TESTS_SIMULATION_EVENTS_WORLD_HPP
