// SPDX-License-Identifier: BSL-1.0

// Many seeded runs of the real services on a simulated store and network, each checked against what the store
// really applied. See `--help`.

#include <interlock/interlock.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/describe/class.hpp>

#include "support/scripted_repository.hpp"
#include "support/simulation/context.hpp"
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using interlock::Effect;
using interlock::Errc;
using interlock::Key;
using interlock::OperationId;
using interlock::Outcome;
using interlock::OwnerToken;
using interlock::TimePoint;
using scripted::Call;
using scripted::Fault;
using simulation::Host;
using simulation::Random;
using simulation::SimulationContext;
using simulation::SimulationRuntime;

// ---- what is run ----------------------------------------

struct Account {
    std::string id;
    std::int64_t value{0};
    std::string trail;  // every change ever made: "<number of the logical operation> <amount>;"

    void change(std::uint64_t writer, std::int64_t amount)
    {
        value += amount;
        trail += std::to_string(writer) + ' ' + std::to_string(amount) + ';';
    }
};
BOOST_DESCRIBE_STRUCT(Account, (), (id, value, trail))

using Store = interlock::memory::StateRepository<Account, std::string, SimulationRuntime>;
using Repository = scripted::ScriptedRepository<Account, std::string, SimulationRuntime>;
using Locks = interlock::LockStateService<Account, Repository, interlock::Assurance::fenced>;
using Lock = interlock::Lock<Account>;
template <class Policy>
using Service = interlock::TransactionService<Account, Policy, Repository>;

constexpr std::array<char const*, 2> counters{"c1", "c2"};
constexpr char const* left = "left";
constexpr char const* right = "right";
constexpr std::int64_t total = 1000;
constexpr auto ttl = 300ms;
constexpr auto pool_latency = 3ms;
constexpr auto quantum = 2 * pool_latency + 1ms;
constexpr unsigned hosts = 3;

struct Thrown : std::runtime_error {
    Thrown() : std::runtime_error("the operation threw") {}
};

/// Which mistake is planted, to see it found.
enum class Mutant : unsigned char { none, unguarded, no_fences };

/// What all runs together must have seen at least once.
struct Coverage {
    std::map<std::string, std::uint64_t> seen;
    void note(std::string const& what) { ++seen[what]; }
};

class Run {
public:
    Run(std::uint64_t seed, Mutant mutant, Coverage& coverage)
        : context_(seed, simulation::Blocking::nested),
          random_(seed * 2 + 1),
          mutant_(mutant),
          coverage_(coverage),
          script_(std::make_shared<scripted::Script<Account>>()),
          store_(interlock::memory::RepositoryOptions{}, SimulationRuntime{context_})
    {
    }

    ~Run() { *script_ = {}; }  // what is still pending goes with the context, after the logs
    Run(Run const&) = delete;
    Run& operator=(Run const&) = delete;

    /// The first thing that is wrong, or nothing.
    std::string go();
    std::uint64_t trace() const { return context_.trace(); }
    std::uint64_t steps() const { return context_.steps(); }

private:
    struct Node {
        Repository repository;
        Locks locks;
        Service<interlock::OptimisticVersioning> optimistic;
        Service<interlock::PessimisticRowLock> row_lock;
        Service<interlock::SetNxLock> lease;
    };

    /// One call of a service.
    struct CallRecord {
        std::uint64_t writer;
        bool may_apply;
        int completions{0};
        Errc result{Errc::ok};
        bool threw{false};
    };

    /// When a lock was surely held.
    struct Interval {
        std::string key;
        std::uint64_t token;
        TimePoint from;
        TimePoint to;
    };

    struct Owner {
        TimePoint believed_until{};
        bool gone{false};      // from the store
        bool released{false};  // by its client, which knows
    };

    using Clients = asio::awaitable<void>;

    void fail(std::string const& what)
    {
        if (problem_.empty())
            problem_ = what;
    }
    void require(bool good, char const* what)
    {
        if (!good)
            fail(what);
    }

    void watch_store();
    void start_clients();
    Clients client(Host host, unsigned number, unsigned calls);
    Clients calm_client(Host host);
    Clients nemesis();
    asio::awaitable<void> increment(Host host, Random& random, bool calm);
    asio::awaitable<void> transfer(Host host, Random& random);
    asio::awaitable<void> add_up(Host host, Random& random);
    asio::awaitable<void> hold(Host host, Random& random);
    asio::awaitable<void> unguarded(Host host, Random& random);
    template <class S, class A, class F>
    asio::awaitable<void> call(
        S const& service,
        Host host,
        Random& random,
        std::uint64_t writer,
        std::optional<OperationId> id,
        A key,
        F f,
        bool calm);
    void check_end();

    Node& node(Host host) { return nodes_[host]; }
    auto sleep(Host host, std::chrono::nanoseconds time)
    {
        return simulation::async_sleep(context_, host, time, asio::use_awaitable);
    }

    SimulationContext context_;
    Random random_;
    Mutant mutant_;
    Coverage& coverage_;
    std::shared_ptr<scripted::Script<Account>> script_;
    Store store_;
    std::vector<Node> nodes_;
    std::string problem_;
    bool faults_{true};
    unsigned running_{0};
    unsigned fault_percent_{0};
    std::uint64_t next_writer_{1};
    std::vector<std::unique_ptr<CallRecord>> calls_;
    std::map<std::uint64_t, int> applied_;           // by writer
    std::map<std::uint64_t, std::int64_t> answers_;  // by writer: what the first caller was told
    std::map<std::string, std::int64_t> values_;
    std::map<std::string, std::string> trails_;     // what the log of writes says
    std::map<std::string, std::uint64_t> marks_;     // of guarded writes
    std::map<std::string, std::map<std::string, Owner>> owners_;
    std::map<std::string, bool> forced_;
    std::map<std::string, std::map<std::uint64_t, int>> tokens_;
    std::vector<Interval> intervals_;
    std::array<std::uint64_t, hosts> pauses_{};
};

std::string owner_name(OwnerToken owner)
{
    auto const bytes = owner.bytes();
    return {bytes.begin(), bytes.end()};
}

// ---- the log of what the store did ----------------------------------------

void Run::watch_store()
{
    script_->fault = [this](Call call, std::uint64_t) {
        // A removal that fails keeps a thread of the pool while it is tried again: covered elsewhere.
        if (!faults_ || call == Call::remove || !random_.percent(fault_percent_))
            return Fault::none;
        coverage_.note("fault");
        return static_cast<Fault>(1 + random_.below(3));
    };
    script_->on_applied = [this](std::span<interlock::Change<Account> const> changes, auto const*) {
        std::map<std::uint64_t, bool> everybody;
        std::map<std::uint64_t, bool> writers;  // of one key
        for (auto const& change : changes) {
            std::string const key{change.key->bytes()};
            if (change.fence != nullptr && change.kind != interlock::ChangeKind::verify) {
                auto& mark = marks_[key];
                require(
                    change.fence->token.value() >= mark,
                    "P1: a guarded write after one with a greater token");
                mark = std::max(mark, change.fence->token.value());
                auto& owner = owners_[key][owner_name(change.fence->owner)];
                require(
                    context_.now() < owner.believed_until, "P6: a guarded write after the end of the lease");
                require(!owner.gone, "P1: a guarded write after its release");
                if (change.release)
                    owner.gone = true;  // if the reply is lost, its client will not know
            }
            if (change.kind != interlock::ChangeKind::write)
                continue;
            // One write may hold several operations' changes.
            auto const before = std::exchange(values_[key], change.value->value);
            auto const seen = std::exchange(trails_[key], change.value->trail);
            require(change.value->trail.starts_with(seen), "P3: a lost update");
            std::int64_t sum = before;
            std::istringstream added{change.value->trail.substr(std::min(seen.size(), change.value->trail.size()))};
            std::uint64_t writer = 0;
            std::int64_t amount = 0;
            for (char end = 0; added >> writer >> amount >> end; sum += amount) {
                require(!writers[writer], "P4: one operation is twice in one write");
                writers[writer] = true;
            }
            require(change.value->value == sum, "P3: a lost update");
            if (writers.size() > 1)
                coverage_.note("shared write");
            for (auto const& [who, yes] : writers)
                everybody[who] = yes;
            writers.clear();
        }
        for (auto const& [writer, yes] : everybody)
            require(++applied_[writer] == 1, "P4: one operation was applied twice");
    };
    script_->on_created =
        [this](Key const& name, OwnerToken owner, interlock::Grant const& grant, bool confirmed) {
            std::string const key{name.bytes()};
            auto const who = owner_name(owner);
            for (auto const& [other, state] : owners_[key])
                if (other != who && !state.gone && !forced_[key])
                    require(
                        state.believed_until <= context_.now(),
                        "P2: granted while another lease may be believed");
            auto& mine = owners_[key][who];
            mine.gone = false;
            if (confirmed) {
                auto const usable = grant.ttl * 99 / 100 - 5ms;
                mine.believed_until = std::max(mine.believed_until, context_.now() + usable);
            }
        };
    script_->on_renewed = [this](Key const& name, OwnerToken owner, auto renewed, bool confirmed) {
        auto& mine = owners_[std::string{name.bytes()}][owner_name(owner)];
        require(!mine.released, "P9: a renewal after the release");
        coverage_.note("renewal");
        if (renewed && confirmed)
            mine.believed_until = std::max(mine.believed_until, context_.now() + *renewed * 99 / 100 - 5ms);
    };
    script_->on_removed = [this](Key const& name, OwnerToken owner, bool) {
        auto& mine = owners_[std::string{name.bytes()}][owner_name(owner)];
        mine.gone = mine.released = true;
    };
}

// ---- clients ----------------------------------------

template <class S, class A, class F>
asio::awaitable<void> Run::call(
    S const& service,
    Host host,
    Random& random,
    std::uint64_t writer,
    std::optional<OperationId> id,
    A key,
    F f,
    bool calm)
{
    auto& record = *calls_.emplace_back(std::make_unique<CallRecord>());
    record.writer = writer;
    auto const started = context_.now();
    auto const pauses = pauses_[host];
    interlock::CallOptions const options{
        .deadline = calm ? std::chrono::nanoseconds{20s} : random.time(1ms, 2s)};
    asio::cancellation_signal signal;
    std::optional<SimulationContext::TimerId> cancel;
    if (!calm && random.percent(20))
        cancel = context_.add_timer(host, context_.now() + random.time(0ms, 400ms), [&signal, &cancel] {
            cancel.reset();
            signal.emit(asio::cancellation_type::terminal);
        });
    bool const with_cancel = cancel.has_value();
    std::optional<Outcome<std::int64_t>> end;
    try {
        auto token = asio::bind_cancellation_slot(signal.slot(), asio::use_awaitable);
        if (id) {
            auto running = service.async_try_do_in_transaction(*id, key, f, options, std::move(token));
            end.emplace(co_await std::move(running));
        } else {
            auto running = service.async_try_do_in_transaction(key, f, options, std::move(token));
            end.emplace(co_await std::move(running));
        }
    } catch (Thrown const&) {
        record.threw = true;
        coverage_.note("threw");
    }
    if (cancel)
        context_.remove_timer(*cancel);
    ++record.completions;
    if (!end)
        co_return;
    record.result = end->error();
    coverage_.note(interlock::name_of(record.result));
    if (record.result == Errc::cancelled)
        require(with_cancel, "cancelled, but nobody did");
    if (record.result == Errc::deadline_exceeded && pauses == pauses_[host] && faults_)
        require(
            context_.now() <= options.deadline.at(started) + quantum + 60ms,
            "P7: it ended after its deadline");
    if (calm)
        require(record.result == Errc::ok, "liveness: a call failed after the faults had stopped");
    if (*end) {
        auto const [first, fresh] = answers_.emplace(writer, **end);
        if (!fresh) {
            coverage_.note("replayed");
            require(first->second == **end, "P4: two answers for one operation id");
        }
    }
}

asio::awaitable<void> Run::increment(Host host, Random& random, bool calm)
{
    std::string const key = counters[random.below(counters.size())];
    auto& own = node(host);
    auto const writer = next_writer_++;
    auto const amount = static_cast<std::int64_t>(1 + random.below(9));
    bool const throws = !calm && random.percent(10);
    auto const pause = calm || random.percent(50) ? 0ns : random.time(0ms, 50ms);
    auto const policy = random.below(3);
    std::optional<OperationId> id;
    unsigned callers = 1;
    if (random.percent(40)) {
        id.emplace("op" + std::to_string(writer));
        callers = 1 + static_cast<unsigned>(random.below(3));
    }
    for (unsigned i = 0; i < callers; ++i) {
        auto const nonce = static_cast<std::int64_t>(context_.random_bits() >> 2);
        auto const awaits =
            [this, host, writer, amount, throws, pause, nonce](Account& a) -> asio::awaitable<std::int64_t> {
            co_await sleep(host, pause);
            a.change(writer, amount);
            if (throws)
                throw Thrown{};
            co_return nonce;
        };
        auto const at_once = [writer, amount, throws, nonce](Account& a) -> std::int64_t {
            a.change(writer, amount);
            if (throws)
                throw Thrown{};
            return nonce;
        };
        if (policy == 0 && pause == 0ns)
            co_await call(own.optimistic, host, random, writer, id, key, at_once, calm);
        else if (policy == 0)
            co_await call(own.optimistic, host, random, writer, id, key, awaits, calm);
        else if (policy == 1)
            co_await call(own.row_lock, host, random, writer, id, key, awaits, calm);
        else if (pause == 0ns)
            co_await call(own.lease, host, random, writer, id, key, at_once, calm);
        else
            co_await call(own.lease, host, random, writer, id, key, awaits, calm);
    }
}

asio::awaitable<void> Run::transfer(Host host, Random& random)
{
    auto& own = node(host);
    auto const writer = next_writer_++;
    auto const amount = static_cast<std::int64_t>(random.below(20)) - 10;
    auto const move = [writer, amount](Account& from, Account& to) -> std::int64_t {
        from.change(writer, -amount);
        to.change(writer, amount);
        return amount;
    };
    auto const both = interlock::keys(left, right);
    switch (random.below(3)) {
        case 0:
            co_await call(own.optimistic, host, random, writer, std::nullopt, both, move, false);
            break;
        case 1:
            co_await call(own.row_lock, host, random, writer, std::nullopt, both, move, false);
            break;
        default:
            co_await call(own.lease, host, random, writer, std::nullopt, both, move, false);
    }
}

asio::awaitable<void> Run::add_up(Host host, Random& random)
{
    auto& own = node(host);
    auto const writer = next_writer_++;
    auto const sum = [](Account& b, Account& a) -> std::int64_t { return a.value + b.value; };
    auto const both = interlock::keys(right, left);
    if (random.percent(50))
        co_await call(own.optimistic, host, random, writer, std::nullopt, both, sum, false);
    else
        co_await call(own.row_lock, host, random, writer, std::nullopt, both, sum, false);
    auto const answer = answers_.find(writer);
    if (answer != answers_.end()) {
        coverage_.note("sum");
        require(answer->second == total, "F11: half of a transfer was seen");
    }
    applied_[writer] = 1;  // reading has no effect to look for
}

/// Takes a lock, holds it for a while, writes under it, gives it back or drops it.
asio::awaitable<void> Run::hold(Host host, Random& random)
{
    std::string const key = counters[random.below(counters.size())];
    auto& own = node(host);
    auto const writer = next_writer_++;
    Lock lock;
    try {
        auto acquiring =
            own.locks.async_acquire(key, {.deadline = random.time(50ms, 2s)}, asio::use_awaitable);
        lock = co_await std::move(acquiring);
    } catch (boost::system::system_error const& error) {
        coverage_.note("acquire " + error.code().message());
        co_return;
    }
    auto const token = lock.fencing_token().value();
    require(++tokens_[key][token] == 1, "two grants have one token");
    Interval interval{key, token, context_.now(), context_.now()};
    // A paused process hears of its grant late; then there is nothing to compare.
    bool const held_at_once = lock.status() != interlock::LockStatus::lost;
    auto const look = [&] {
        if (lock.status() != interlock::LockStatus::lost)
            interval.to = context_.now();
        else
            coverage_.note("lock_lost");
    };
    look();
    for (auto n = random.below(4); n > 0; --n) {
        co_await sleep(host, random.time(0ms, 150ms));
        look();
    }
    if (auto loaded = own.repository.store().load(Key{std::string_view{key}})) {
        bool const lost = lock.status() == interlock::LockStatus::lost;
        loaded->value.change(writer, 1);
        if (own.repository.in_place()) {  // a blocking call; elsewhere it would block the client
            auto const written = own.locks.write(lock, loaded->version, loaded->value);
            auto& record = *calls_.emplace_back(std::make_unique<CallRecord>());
            record.writer = writer;
            record.completions = 1;
            record.result = written.error();
            coverage_.note(interlock::name_of(record.result));
            require(!lost || !written, "P6: a write under a lock that is lost");
        }
    }
    look();
    if (held_at_once)
        intervals_.push_back(interval);
    if (random.percent(50)) {
        auto releasing = own.locks.async_release(std::move(lock), asio::use_awaitable);
        try {
            co_await std::move(releasing);
        } catch (boost::system::system_error const&) {
            coverage_.note("release failed");
        }
    }
}

/// The mistake that this library is there to prevent.
asio::awaitable<void> Run::unguarded(Host host, Random& random)
{
    std::string const name = counters[0];
    Key const key{std::string_view{name}};
    auto const writer = next_writer_++;
    auto seen = store_.load(key);
    co_await sleep(host, random.time(1ms, 20ms));
    auto const fresh = store_.load(key);
    if (!seen || !fresh)
        co_return;
    seen->value.change(writer, 1);
    static_cast<void>(
        node(host).repository.compare_and_set(key, fresh->version, seen->value, interlock::Deadline{}));
}

asio::awaitable<void> Run::client(Host host, unsigned number, unsigned calls)
{
    Random random{random_.bits() + number};
    for (unsigned i = 0; i < calls; ++i) {
        co_await sleep(host, random.time(0ms, 30ms));
        auto const kind = random.below(100);
        if (mutant_ == Mutant::unguarded)
            co_await unguarded(host, random);
        else if (kind < 50)
            co_await increment(host, random, false);
        else if (kind < 65)
            co_await transfer(host, random);
        else if (kind < 80)
            co_await add_up(host, random);
        else
            co_await hold(host, random);
    }
}

asio::awaitable<void> Run::calm_client(Host host)
{
    Random random{random_.bits()};
    for (int i = 0; i < 3; ++i) co_await increment(host, random, true);
}

asio::awaitable<void> Run::nemesis()
{
    for (int i = 0; i < 6; ++i) {
        co_await sleep(hosts, random_.time(0ms, 400ms));
        auto const host = static_cast<Host>(random_.below(hosts));
        switch (random_.below(4)) {
            case 0:
            case 1:
                ++pauses_[host];
                context_.pause(host);
                co_await sleep(hosts, random_.time(1ms, 3 * ttl));
                context_.resume(host);
                ++pauses_[host];
                coverage_.note("pause");
                break;
            case 2: {
                std::string const key = counters[random_.below(counters.size())];
                forced_[key] = true;
                static_cast<void>(store_.force_release(Key{std::string_view{key}}));
                coverage_.note("force_release");
                break;
            }
            default:
                fault_percent_ = random_.percent(50) ? 0 : static_cast<unsigned>(random_.below(15));
        }
    }
}

// ---- one run ----------------------------------------

std::string Run::go()
{
    context_.set_pool_latency(pool_latency);
    watch_store();
    script_->ignores_fences = mutant_ == Mutant::no_fences;
    for (auto const* key : counters) static_cast<void>(store_.insert(Account{key, 0, {}}));
    static_cast<void>(store_.insert(Account{left, total / 2, {}}));
    static_cast<void>(store_.insert(Account{right, total / 2, {}}));
    values_ = {{counters[0], 0}, {counters[1], 0}, {left, total / 2}, {right, total / 2}};
    interlock::LockOptions const lock_options{.ttl = ttl};
    interlock::SetNxLock lease;
    lease.lock = lock_options;
    for (Host host = 0; host < hosts; ++host) {
        Repository const repository{store_, script_, SimulationRuntime{context_, host}, random_.percent(50)};
        Locks const locks{repository, lock_options};
        // Members that are mostly late, and such that mostly are not: a thread of the pool takes up to `pool_latency`.
        interlock::ServiceOptions const sharing{.combine_patience = host == 0 ? 1ms : 30ms};
        nodes_.push_back(
            {repository,
             locks,
             {interlock::OptimisticVersioning{}, repository, sharing},
             {interlock::PessimisticRowLock{}, repository, sharing},
             {lease, locks, sharing}});
    }
    auto const ended = [this](std::exception_ptr exception) {
        --running_;
        try {
            if (exception)
                std::rethrow_exception(exception);
        } catch (std::exception const& error) {
            fail(std::string("a client ended with: ") + error.what());
        }
    };
    fault_percent_ = random_.percent(50) ? 0 : static_cast<unsigned>(random_.below(15));
    auto const clients = 3 + static_cast<unsigned>(random_.below(4));
    for (unsigned i = 0; i < clients; ++i, ++running_)
        asio::co_spawn(context_.get_executor(i % hosts), client(i % hosts, i, 6), ended);
    ++running_;
    asio::co_spawn(context_.get_executor(hosts), nemesis(), ended);
    auto const first_limit = context_.now() + 10min;
    while (running_ != 0 && problem_.empty() && context_.now() < first_limit && context_.step()) {
    }
    require(running_ == 0, "liveness: a client never ended");
    if (problem_.empty() && mutant_ == Mutant::none) {  // the faults stop, and everybody gets on
        faults_ = false;
        fault_percent_ = 0;
        for (Host host = 0; host < hosts; ++host, ++running_)
            asio::co_spawn(context_.get_executor(host), calm_client(host), ended);
        auto const limit = context_.now() + 2min;
        while (running_ != 0 && problem_.empty() && context_.now() < limit && context_.step()) {
        }
        require(running_ == 0, "liveness: a client did not end after the faults had stopped");
    }
    if (problem_.empty())
        check_end();
    return problem_;
}

void Run::check_end()
{
    context_.run_for(2 * ttl);
    for (auto const& record : calls_) {
        require(record->completions == 1, "a call did not complete exactly once");
        bool const applied = applied_[record->writer] != 0;
        if (record->threw || record->result != Errc::ok)
            continue;
        require(applied, "P5: ok, but not applied");
    }
    std::map<std::uint64_t, bool> may_be_applied;
    for (auto const& record : calls_)
        if (!record->threw && interlock::effect_of(record->result) != Effect::not_applied)
            may_be_applied[record->writer] = true;
    for (auto const& [writer, count] : applied_)
        if (mutant_ == Mutant::none && count != 0 && writer != 0)
            require(
                may_be_applied[writer] || answers_.count(writer) == 0,
                "P5: not applied, but it is in the store");
    for (auto const& [key, value] : values_) {
        auto const loaded = store_.load(Key{std::string_view{key}});
        require(loaded && loaded->value.value == value, "the store differs from the log of its writes");
    }
    require(values_[left] + values_[right] == total, "the total has changed");
    for (std::size_t i = 0; i < intervals_.size(); ++i)
        for (std::size_t j = 0; j < i; ++j) {
            auto const& a = intervals_[i];
            auto const& b = intervals_[j];
            if (a.key != b.key || forced_[a.key])
                continue;
            require(a.to <= b.from || b.to <= a.from, "P2: two locks were held at once");
            if (a.to < b.from)
                require(a.token < b.token, "tokens are not in the order of the grants");
            if (b.to < a.from)
                require(b.token < a.token, "tokens are not in the order of the grants");
        }
    for (auto const& one : nodes_) {
        require(one.locks.table()->waiter_count() == 0, "a waiter is left in a lock service");
        require(
            one.lease.session().locks().table()->waiter_count() == 0, "a waiter is left in a lock service");
    }
    require(store_.waiter_count() == 0, "a waiter is left in the store");
    for (auto const& [name, value] : values_) {
        Key const key{std::string_view{name}};
        OwnerToken const owner{{1, 2}};
        require(store_.create(key, owner, ttl).has_value(), "a lock is left in the store");
        require(store_.remove(key, owner).has_value(), "a lock cannot be removed");
        auto const* const keys = &key;
        require(
            store_.load_for_update(std::span{&keys, 1}, interlock::Wait::no).has_value(),
            "a row lock is left in the store");
    }
    require(store_.key_count() == values_.size(), "a key is left in the store");
}

// ---- the program ----------------------------------------

struct Result {
    std::string problem;
    std::uint64_t trace;
    std::uint64_t steps;
};

Result run(std::uint64_t seed, Mutant mutant, Coverage& coverage)
{
    Run one{seed, mutant, coverage};
    auto problem = one.go();
    return {std::move(problem), one.trace(), one.steps()};
}

/// Traces that every compiler and every build type must reproduce. Printed by `--hash-file -`.
struct Known {
    std::uint64_t seed;
    std::uint64_t trace;
};
constexpr Known known[]{
#include "simulation/traces.inc"
    {0, 0},
};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::uint64_t default_seeds = 1000;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr std::uint64_t default_seeds = 1000;
#else
constexpr std::uint64_t default_seeds = 10000;
#endif
#else
constexpr std::uint64_t default_seeds = 10000;
#endif

int passed = 0;
int failed = 0;

void verdict(bool good, char const* name, std::string const& detail = {})
{
    (good ? passed : failed) += 1;
    std::printf("%s %s%s%s\n", good ? "ok    " : "FAILED", name, detail.empty() ? "" : ": ", detail.c_str());
}

bool mutant_is_found(Mutant mutant, std::uint64_t first, std::uint64_t count, std::string& how)
{
    Coverage ignored;
    for (auto seed = first; seed < first + count; ++seed)
        if (auto const result = run(seed, mutant, ignored); !result.problem.empty()) {
            how = "found at seed " + std::to_string(seed) + ", " + result.problem;
            return true;
        }
    return false;
}

}  // namespace

int main(int count, char** arguments)
{
    std::uint64_t first = 1;
    std::uint64_t seeds = default_seeds;
    std::optional<std::uint64_t> single;
    char const* hash_file = nullptr;
    for (int i = 1; i < count; ++i) {
        std::string_view const name = arguments[i];
        if (i + 1 < count && name == "--seed") {
            single = std::strtoull(arguments[++i], nullptr, 10);
        } else if (i + 1 < count && name == "--seeds") {
            seeds = std::strtoull(arguments[++i], nullptr, 10);
        } else if (i + 1 < count && name == "--first") {
            first = std::strtoull(arguments[++i], nullptr, 10);
        } else if (i + 1 < count && name == "--hash-file") {
            hash_file = arguments[++i];
        } else {
            std::printf(
                "usage: %s [--seed N] [--first N] [--seeds COUNT] [--hash-file FILE]\n\n"
                "  --seed N          run one seed and print the hash of its trace\n"
                "  --first N         the first seed of many (1)\n"
                "  --seeds COUNT     how many (10000; 1000 under a sanitizer)\n"
                "  --hash-file FILE  write the hashes of a few seeds in the form of traces.inc\n",
                arguments[0]);
            return name == "--help" ? 0 : 2;
        }
    }

    Coverage coverage;
    if (single) {
        auto const result = run(*single, Mutant::none, coverage);
        std::printf(
            "seed %llu: trace %016llx, %llu steps\n",
            static_cast<unsigned long long>(*single),
            static_cast<unsigned long long>(result.trace),
            static_cast<unsigned long long>(result.steps));
        verdict(result.problem.empty(), "seed", result.problem);
        std::printf("%d passed, %d failed\n", passed, failed);
        return failed == 0 ? 0 : 1;
    }
    if (hash_file != nullptr) {
        auto* const file = std::fopen(hash_file, "w");
        if (file == nullptr)
            return 2;
        for (std::uint64_t seed = 1; seed <= 8; ++seed)
            std::fprintf(
                file,
                "    {%llu, 0x%016llxULL},\n",
                static_cast<unsigned long long>(seed),
                static_cast<unsigned long long>(run(seed, Mutant::none, coverage).trace));
        return std::fclose(file) == 0 ? 0 : 2;
    }

    std::uint64_t steps = 0;
    std::string problem;
    for (auto seed = first; seed < first + seeds && problem.empty(); ++seed) {
        auto const result = run(seed, Mutant::none, coverage);
        steps += result.steps;
        if (!result.problem.empty())
            problem = result.problem + "; replay with --seed " + std::to_string(seed);
    }
    verdict(problem.empty(), "every law holds in every run", problem);
    std::printf("       %llu steps\n", static_cast<unsigned long long>(steps));
    if (seeds >= 100) {
        std::string missing;
        for (char const* what :
             {"ok",
              "cancelled",
              "deadline_exceeded",
              "lock_lost",
              "fenced_out",
              "shared write",
              "outcome_unknown",
              "threw",
              "sum",
              "replayed",
              "renewal",
              "pause",
              "force_release",
              "fault"})
            if (coverage.seen[what] == 0)
                missing += std::string(missing.empty() ? "" : ", ") + what;
        verdict(missing.empty(), "every kind of end and of fault was seen", missing);
    }

    bool repeated = true;
    for (std::uint64_t seed = 1; seed <= 3; ++seed)
        repeated =
            repeated && run(seed, Mutant::none, coverage).trace == run(seed, Mutant::none, coverage).trace;
    verdict(repeated, "a seed gives the same trace twice");
    std::string differing;
    for (auto const& one : known)
        if (one.seed != 0 && run(one.seed, Mutant::none, coverage).trace != one.trace)
            differing += " " + std::to_string(one.seed);
    verdict(differing.empty(), "the stored traces are reproduced", differing);

    std::string how;
    verdict(
        mutant_is_found(Mutant::unguarded, 1, 50, how),
        "a read-modify-write without the library loses updates",
        how);
    how.clear();
    verdict(mutant_is_found(Mutant::no_fences, 1, 600, how), "a store that ignores fences is found out", how);

    for (auto const& [what, times] : coverage.seen)
        std::printf("       %-28s %llu\n", what.c_str(), static_cast<unsigned long long>(times));
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
