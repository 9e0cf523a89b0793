// SPDX-License-Identifier: BSL-1.0

// Operations that wait for the same state share a commit: exact results, shared outcomes, and nothing for
// those that have more to them than the state.

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/kit/blocking_waiter.hpp>
#include <interlock/core/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/any_policy.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>

#include "support/blocking_repository.hpp"
#include "support/catch.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace combining_test {

using namespace interlock;
using namespace std::chrono_literals;
namespace asio = boost::asio;
using interlock_test::BlockingRepository;
using interlock_test::Gate;
using interlock_test::run_threads;
using interlock_test::Stock;
using Memory = memory::StateRepository<Stock>;

/// A store with a trip that takes its time, counted, which may lose one reply.
class Slow : public BlockingRepository<Memory> {
public:
    /// More than this the store does not take.
    static constexpr int most = 1'000'000;
    struct Story {
        std::atomic<int> begun{0};
        std::atomic<int> commits{0};
        std::atomic<bool> lose_reply{false};
        std::atomic<bool> intrude{false};
        std::chrono::microseconds trip{300};
    };
    explicit Slow(int quantity = 0) : BlockingRepository(Memory{}), story(std::make_shared<Story>())
    {
        inner().insert(Stock{"x", quantity}).value();
        before_calls([story = story](std::string_view call) {
            if (call == "load" || call == "load_for_update" || call == "create")
                ++story->begun;
            std::this_thread::sleep_for(story->trip);
        });
    }
    using BlockingRepository::carry_out;
    Outcome<Version> carry_out(verb::CompareAndSet<Stock> const& write, Deadline deadline) const
    {
        ++story->commits;
        if (story->intrude.exchange(false)) {  // somebody who knows nothing of this service
            auto now = inner().load(write.key, deadline).value();
            now.value.quantity += 1000;
            inner().compare_and_set(write.key, now.version, now.value, deadline).value();
        }
        if (write.value.quantity > most)
            return Errc::constraint_violated;
        auto result = BlockingRepository::carry_out(write, deadline);
        if (story->lose_reply.exchange(false))
            return Failure::unknown(Errc::unavailable);
        return result;
    }
    Outcome<CommitResult> carry_out(verb::Commit<Stock> const& commit, Deadline deadline) const
    {
        ++story->commits;
        return BlockingRepository::carry_out(commit, deadline);
    }
    int quantity() const { return inner().load("x").value().value.quantity; }

    std::shared_ptr<Story> story;
};

auto const add_one = [](Stock& s) { return ++s.quantity; };

/// For tests of what sharing does: nobody is late, however busy the machine is.
constexpr ServiceOptions unhurried{.combine_patience = 500ms};

template <class Policy>
void exact_for_threads(Policy policy)
{
    Slow const store;
    TransactionService const service{policy, store, unhurried};
    std::mutex mutex;
    std::multiset<int> answers;
    run_threads(16, [&](std::size_t) {
        for (int i = 0; i < 25; ++i) {
            int const answer = service.do_in_transaction("x", add_one);
            std::lock_guard const lock(mutex);
            answers.insert(answer);
        }
    });
    CHECK(store.quantity() == 400);
    REQUIRE(answers.size() == 400);
    int expected = 0;  // each saw what the one before left
    CHECK(std::all_of(answers.begin(), answers.end(), [&](int answer) { return answer == ++expected; }));
    CHECK(store.story->begun < 200);
    CHECK(store.story->commits < 200);
}

TEST_CASE("operations of many threads share loads and commits, and every one counts", "[core][combining]")
{
    SECTION("optimistic")
    {
        exact_for_threads(OptimisticVersioning{});
    }
    SECTION("row lock")
    {
        exact_for_threads(PessimisticRowLock{});
    }
    SECTION("lock")
    {
        exact_for_threads(SetNxLock{});
    }
}

TEST_CASE("asynchronous operations share them, too", "[core][combining]")
{
    Slow const store;
    TransactionService const service{OptimisticVersioning{}, store, unhurried};
    asio::thread_pool pool(3);
    std::atomic<int> applied{0};
    for (int i = 0; i < 300; ++i)
        service.async_try_do_in_transaction(
            "x", add_one, {.deadline = 60s},
            asio::bind_executor(
                pool, [&](std::exception_ptr e, Outcome<int> outcome) { applied += !e && outcome; }));
    pool.join();
    CHECK(applied == 300);
    CHECK(store.quantity() == 300);
    CHECK(store.story->commits < 100);
}

TEST_CASE(
    "with combine = 1, with an id or with a context each operation has a commit of its own",
    "[core][combining]")
{
    Slow const store;
    SECTION("opted out")
    {
        TransactionService const service{SetNxLock{}, store, {.combine = 1}};
        run_threads(8, [&](std::size_t) { service.do_in_transaction("x", add_one); });
        CHECK(store.story->commits == 8);
    }
    SECTION("with an id")
    {
        TransactionService const service{SetNxLock{}, store};
        run_threads(8, [&](std::size_t i) {
            service.do_in_transaction(OperationId{"op " + std::to_string(i)}, "x", add_one);
        });
        CHECK(store.story->commits == 8);
    }
    SECTION("with more than the state")
    {
        TransactionService const service{SetNxLock{}, store};
        run_threads(8, [&](std::size_t) {
            service.do_in_transaction("x", [](Stock& s, TransactionContext&) { ++s.quantity; });
        });
        CHECK(store.story->commits == 8);
    }
    CHECK(store.quantity() == 8);
}

/// The first operation holds up the others at its commit, so that all of them are in the next batch.
template <class Service, class F>
void in_one_batch(Slow const& store, Service const& service, int count, F work)
{
    Gate gate;
    std::atomic<int> first{0};
    store.before_calls([&](std::string_view call) {
        if (call == "compare_and_set" && first.fetch_add(1) == 0)
            gate.pass();
    });
    std::vector<std::thread> threads;
    threads.emplace_back([&] { service.do_in_transaction("x", [](Stock& s) { ++s.quantity; }); });
    REQUIRE(gate.wait_for(1));
    std::atomic<int> on_the_way{0};
    for (int i = 0; i < count; ++i)
        threads.emplace_back([&, i] {
            ++on_the_way;
            work(i);
        });
    interlock_test::eventually([&] { return on_the_way == count; });
    std::this_thread::sleep_for(100ms);  // into the queue
    gate.open();
    for (auto& thread : threads)
        thread.join();
    store.before_calls({});
}

TEST_CASE(
    "an operation that throws leaves no trace, and its exception is about what was committed",
    "[core][combining]")
{
    Slow const store;
    TransactionService const service{OptimisticVersioning{}, store, unhurried};
    std::atomic<int> thrown{0};
    std::atomic<int> wrong{0};
    in_one_batch(store, service, 12, [&](int i) {
        try {
            service.do_in_transaction("x", [&](Stock& s) {
                ++s.quantity;
                if (i % 2)
                    throw std::runtime_error(std::to_string(s.quantity));
            });
        } catch (std::runtime_error const& error) {
            ++thrown;
            auto const seen = std::stoi(error.what());
            wrong += seen < 2 || seen > 8;
        }
    });
    CHECK(thrown == 6);
    CHECK(wrong == 0);
    CHECK(store.quantity() == 7);
    CHECK(store.story->commits <= 4);
}

TEST_CASE("one that changes its key is refused alone", "[core][combining]")
{
    Slow const store;
    TransactionService const service{OptimisticVersioning{}, store, unhurried};
    std::atomic<int> refused{0};
    in_one_batch(store, service, 9, [&](int i) {
        auto const outcome = service.try_do_in_transaction("x", [&](Stock& s) {
            ++s.quantity;
            if (i % 3 == 0)
                s.sku = "y";
        });
        refused += outcome.errc() == Errc::invalid_argument;
    });
    CHECK(refused == 3);
    CHECK(store.quantity() == 7);
}

TEST_CASE("a batch that lost to somebody else runs again, as a whole", "[core][combining]")
{
    Slow const store;
    TransactionService const service{OptimisticVersioning{}, store, unhurried};
    std::atomic<int> runs{0};
    std::atomic<bool> once{false};
    in_one_batch(store, service, 10, [&](int) {
        service.do_in_transaction("x", [&](Stock& s) {
            ++runs;
            if (!once.exchange(true))
                store.story->intrude = true;
            return ++s.quantity;
        });
    });
    CHECK(store.quantity() == 1011);
    CHECK(runs > 10);
}

TEST_CASE("an unknown commit is unknown for all that ran in it, and nobody tries again", "[core][combining]")
{
    Slow const store;
    TransactionService const service{OptimisticVersioning{}, store, unhurried};
    std::atomic<int> unknown{0};
    std::atomic<int> runs{0};
    std::atomic<bool> once{false};
    in_one_batch(store, service, 10, [&](int) {
        auto const outcome = service.try_do_in_transaction("x", [&](Stock& s) {
            ++runs;
            if (!once.exchange(true))
                store.story->lose_reply = true;
            return ++s.quantity;
        });
        unknown += outcome.errc() == Errc::outcome_unknown && outcome.cause() == Errc::unavailable;
    });
    CHECK(unknown > 1);
    CHECK(runs == 10);
    CHECK(store.quantity() == 11);
}

TEST_CASE("who must be done earlier than the leader does not wait for its commit", "[core][combining]")
{
    Slow const store;
    TransactionService const service{OptimisticVersioning{}, store, unhurried};
    std::atomic<int> late{0};
    in_one_batch(store, service, 6, [&](int i) {
        auto const begin = std::chrono::steady_clock::now();
        static_cast<void>(service.try_do_in_transaction(
            "x", add_one, {.deadline = i % 2 ? Deadline{50ms} : Deadline{60s}}));
        late += i % 2 && std::chrono::steady_clock::now() - begin > 10s;
    });
    CHECK(late == 0);
    CHECK(store.quantity() == 4);
}

TEST_CASE(
    "a thread that blocks while it leads does not wait for ever for work of its own", "[core][combining]")
{
    Slow const store;
    TransactionService const service{OptimisticVersioning{}, store};
    asio::io_context io;
    int done = 0;
    asio::post(io, [&] {
        // The asynchronous operation queues behind the blocking one, whose thread is the only one to run it.
        service.do_in_transaction("x", [&](Stock& s) {
            ++s.quantity;
            service.async_try_do_in_transaction(
                "x", add_one, asio::bind_executor(io, [&](std::exception_ptr, Outcome<int> o) {
                    done += static_cast<bool>(o);
                }));
            std::this_thread::sleep_for(50ms);
        });
    });
    io.run();
    CHECK(done == 1);
    CHECK(store.quantity() == 2);
}

template <class Service>
void refused_at_once(Slow const& store, Service const& service)
{
    std::optional<Errc> refused;
    auto const begin = std::chrono::steady_clock::now();
    service.do_in_transaction("x", [&](Stock& s) {
        ++s.quantity;
        std::thread other(
            [&] { refused = service.try_do_in_transaction("x", add_one, {.deadline = 60s}).errc(); });
        other.join();  // before this operation ends
    });
    CHECK(refused == Errc::lock_busy);
    CHECK(std::chrono::steady_clock::now() - begin < 20s);
    CHECK(store.quantity() == 1);
}

TEST_CASE("who would not wait for a lock does not wait for a turn either", "[core][combining]")
{
    Slow const store;
    SECTION("row lock")
    {
        refused_at_once(
            store, TransactionService{PessimisticRowLock{.wait = Wait::no, .max_attempts = 1}, store});
    }
    SECTION("lock")
    {
        refused_at_once(store, TransactionService{SetNxLock{.wait = Wait::no}, store});
    }
    SECTION("chosen at run time")
    {
        refused_at_once(
            store, TransactionService<Stock>{SetNxLock{.wait = Wait::no}, StateRepository<Stock>{store}});
    }
}

TEST_CASE("no more wait for their turn than the policy's limit says", "[core][combining]")
{
    Slow const store;
    TransactionService const service{SetNxLock{.lock = {.max_waiters = 3}}, store, unhurried};
    std::atomic<int> applied{0};
    std::atomic<int> overloaded{0};
    std::vector<std::thread> others;
    service.do_in_transaction("x", [&](Stock& s) {
        ++s.quantity;
        for (int i = 0; i < 10; ++i)
            others.emplace_back([&] {
                auto const outcome = service.try_do_in_transaction("x", add_one, {.deadline = 60s});
                applied += outcome.has_value();
                overloaded += outcome.errc() == Errc::overloaded;
            });
        CHECK(interlock_test::eventually([&] { return overloaded == 7; }));
    });
    for (auto& other : others)
        other.join();
    CHECK(applied == 3);
    CHECK(overloaded == 7);
    CHECK(store.quantity() == 4);
    // Nobody is counted for ever.
    run_threads(4, [&](std::size_t) { service.do_in_transaction("x", add_one); });
    CHECK(store.quantity() == 8);
}

TEST_CASE("operations that are nested crosswise do not wait for each other", "[core][combining]")
{
    Slow const store;
    store.inner().insert(Stock{"y", 0}).value();
    TransactionService const service{OptimisticVersioning{}, store};
    std::atomic<int> inside{0};
    auto const begin = std::chrono::steady_clock::now();
    run_threads(2, [&](std::size_t i) {
        service.do_in_transaction(i == 0 ? "x" : "y", [&](Stock& s) {
            ++inside;
            interlock_test::eventually([&] { return inside >= 2; }, 1s);
            service.do_in_transaction(i == 0 ? "y" : "x", [](Stock& other) { other.quantity += 10; });
            ++s.quantity;
        });
    });
    CHECK(std::chrono::steady_clock::now() - begin < 20s);
    CHECK(store.inner().load("x").value().value.quantity >= 11);
    CHECK(store.inner().load("y").value().value.quantity >= 11);
}

TEST_CASE("an execution context that goes away takes its operations out of the batch", "[core][combining]")
{
    for (int round = 0; round < 30; ++round) {
        Slow const store;
        TransactionService const service{OptimisticVersioning{}, store};
        std::atomic<int> applied{0};
        asio::thread_pool pool(2);
        {
            asio::io_context io;
            for (int i = 0; i < 20; ++i) {
                service.async_try_do_in_transaction(
                    "x", add_one, asio::bind_executor(io, [](std::exception_ptr, Outcome<int>) {}));
                service.async_try_do_in_transaction(
                    "x", add_one, {.deadline = 60s},
                    asio::bind_executor(
                        pool, [&](std::exception_ptr e, Outcome<int> o) { applied += !e && o; }));
            }
            io.run_for(std::chrono::milliseconds{round / 4});
        }
        pool.join();
        int const quantity = store.quantity();
        CHECK(quantity >= applied);
        CHECK(quantity <= 40);
        CHECK(applied >= 1);
        service.do_in_transaction("x", add_one);
    }
}

using Session = detail::CombiningSession<OptimisticVersioning::Session<Slow>>;

/// One call of a service, step by step.
class Member {
public:
    explicit Member(Session const& session, Deadline deadline = 60s)
        : context_(session.repository().identity(), keys_, deadline.at(SystemRuntime::now())),
          transaction_(
              session, std::span<Key const, 1>{keys_}, std::span<std::size_t const, 1>{order_}, none_,
              context_),
          waiter_(SystemRuntime{})
    {}
    bool begin()
    {
        auto step = transaction_.begin(waiter_);
        return step.done() && step.outcome();
    }
    void add(int n) { transaction_.state(0).quantity += n; }
    int seen() { return transaction_.state(0).quantity; }
    /// Nothing: not yet.
    std::optional<Outcome<CommitResult>> commit()
    {
        auto step = transaction_.commit(nullptr, waiter_);
        if (!step.done())
            return std::nullopt;
        return std::move(step.outcome());
    }
    Outcome<CommitResult> committed()
    {
        for (;;)
            if (auto outcome = commit())
                return *std::move(outcome);
            else
                std::this_thread::sleep_for(1ms);
    }
    bool runs_again() { return transaction_.runs_again(); }

private:
    std::array<Key, 1> keys_{Key{"x"}};
    std::array<std::size_t, 1> order_{0};
    std::array<std::optional<Stock>, 1> none_;
    TransactionContext context_;
    Session::Transaction<1, Form::states> transaction_;
    BlockingWaiter<SystemRuntime> waiter_;
};

TEST_CASE(
    "a leader commits what has finished and leaves the slow one to run again", "[core][combining][patience]")
{
    Slow const store;
    Session const session{OptimisticVersioning{}, store, nullptr, 64, 100ms};
    Member leader{session};
    Member quick{session};
    Member slow{session};
    Member last{session};
    REQUIRE(leader.begin());
    for (auto* const member : {&quick, &slow, &last})
        REQUIRE_FALSE(member->begin());
    leader.add(1);
    REQUIRE_FALSE(leader.commit());
    REQUIRE(quick.begin());
    CHECK(quick.seen() == 1);
    quick.add(10);
    REQUIRE_FALSE(quick.commit());
    REQUIRE(slow.begin());  // has the value now, and its executor or its callable takes for ever
    slow.add(100);
    CHECK(leader.committed());
    CHECK(quick.committed());
    CHECK(store.quantity() == 11);
    // Too late: what it made goes nowhere, and that is no attempt of it.
    auto const outcome = slow.commit();
    REQUIRE(outcome);
    CHECK_FALSE(*outcome);
    CHECK(slow.runs_again());
    REQUIRE(last.begin());  // the next leader
    REQUIRE_FALSE(slow.begin());
    last.add(1000);
    CHECK(last.committed());
    CHECK(store.quantity() == 1011);
    REQUIRE(slow.begin());  // leads: nobody's patience matters now
    slow.add(100);
    CHECK(slow.committed());
    CHECK(store.quantity() == 1111);
}

TEST_CASE("who has run takes the place of a leader that does not go on", "[core][combining][patience]")
{
    Slow const store;
    Session const session{OptimisticVersioning{}, store, nullptr, 64, 20ms};
    Member leader{session};
    Member member{session};
    Member other{session};
    REQUIRE(leader.begin());
    REQUIRE_FALSE(member.begin());
    leader.add(1);
    REQUIRE_FALSE(leader.commit());  // its context is stopped here
    REQUIRE(member.begin());
    member.add(10);
    auto const outcome = member.committed();
    CHECK_FALSE(outcome);
    CHECK(member.runs_again());
    REQUIRE(member.begin());
    CHECK(member.seen() == 0);
    REQUIRE_FALSE(other.begin());
    member.add(10);
    CHECK(member.committed());
    CHECK(store.quantity() == 10);
    // Goes on after all: with what is its own, and its own conflict.
    auto const late = leader.commit();
    REQUIRE(late);
    CHECK(late->errc() == Errc::version_conflict);
    CHECK_FALSE(leader.runs_again());
    REQUIRE(leader.begin());
    leader.add(1);
    CHECK(leader.committed());
    REQUIRE(other.begin());
    other.add(100);
    CHECK(other.committed());
    CHECK(store.quantity() == 111);
}

TEST_CASE(
    "who waits for its turn takes the place of a leader that does not go on", "[core][combining][patience]")
{
    Slow const store;
    Session const session{OptimisticVersioning{}, store, nullptr, 64, 5ms};
    Member leader{session};
    Member member{session};
    REQUIRE(leader.begin());
    bool begun = false;
    CHECK(interlock_test::eventually([&] { return begun = member.begin(); }));
    REQUIRE(begun);
    member.add(10);
    CHECK(member.committed());
    leader.add(1);
    CHECK_FALSE(leader.committed());
    CHECK(store.quantity() == 10);
}

TEST_CASE("a stopped context hangs nobody", "[core][combining][patience]")
{
    for (int polls = 0; polls < 12; ++polls) {
        Slow const store;
        TransactionService const service{OptimisticVersioning{}, store};
        asio::io_context stopped;
        for (int i = 0; i < 3; ++i)
            service.async_try_do_in_transaction(
                "x", add_one, {.deadline = 60s},
                asio::bind_executor(stopped, [](std::exception_ptr, Outcome<int>) {}));
        for (int i = 0; i < polls; ++i) {
            stopped.restart();
            stopped.run_one_for(20ms);
        }
        auto const begin = std::chrono::steady_clock::now();
        std::atomic<int> applied{0};
        run_threads(4, [&](std::size_t) {
            applied += service.try_do_in_transaction("x", add_one, {.deadline = 30s}).has_value();
        });
        CHECK(applied == 4);
        CHECK(std::chrono::steady_clock::now() - begin < 10s);
    }
}

TEST_CASE(
    "a context that stops while its operation waits for a lock hangs nobody", "[core][combining][patience]")
{
    SetNxLock policy;
    policy.lock.ttl = 500ms;
    for (bool const replaces : {false, true}) {
        Slow const store;
        TransactionService const service{policy, store};
        Gate go;
        std::thread leader([&] {
            service.do_in_transaction(
                "x",
                [&](Stock& s) {
                    go.pass();
                    ++s.quantity;
                },
                {.deadline = 60s});
        });
        CHECK(go.wait_for(1));
        asio::io_context stops;
        std::atomic<bool> ended{false};
        service.async_try_do_in_transaction(
            "x", add_one, {.deadline = 60s},
            asio::bind_executor(stops, [&](std::exception_ptr, Outcome<int> o) { ended = o.has_value(); }));
        // Long enough to take the leader's place, which then waits for the leader's lock; else to queue only.
        stops.run_for(replaces ? 200ms : 2ms);
        go.open();
        leader.join();
        auto const begin = std::chrono::steady_clock::now();
        CHECK(service.try_do_in_transaction("x", add_one, {.deadline = 10s}));
        CHECK(std::chrono::steady_clock::now() - begin < 5s);
        stops.restart();
        stops.run_for(10s);
        CHECK(ended);
        CHECK(store.quantity() == 3);
    }
}

TEST_CASE("no call waits for another caller's callable", "[core][combining][patience]")
{
    Slow const store;
    TransactionService const service{SetNxLock{}, store};
    std::atomic<bool> in{false};
    std::chrono::nanoseconds took{};
    Outcome<void> outcome = success();
    std::thread leader([&] {
        auto const begin = std::chrono::steady_clock::now();
        outcome = service.try_do_in_transaction(
            "x",
            [&](Stock& s) {
                in = true;
                std::this_thread::sleep_for(50ms);
                ++s.quantity;
            },
            {.deadline = 2s});
        took = std::chrono::steady_clock::now() - begin;
    });
    REQUIRE(interlock_test::eventually([&] { return in.load(); }));
    std::thread member([&] {
        service.do_in_transaction(
            "x",
            [](Stock& s) {
                std::this_thread::sleep_for(5s);
                ++s.quantity;
            },
            {.deadline = 60s});
    });
    leader.join();
    CHECK(outcome);
    CHECK(took < 3s);
    member.join();
    CHECK(store.quantity() == 2);
}

TEST_CASE("hurried and patient callers get as far together as each by itself", "[core][combining][patience]")
{
    auto const applied = [](int combine) {
        Slow const store;
        TransactionService const service{SetNxLock{}, store, {.combine = combine}};
        std::atomic<int> count{0};
        auto const end = std::chrono::steady_clock::now() + 3s;
        run_threads(12, [&](std::size_t i) {
            while (std::chrono::steady_clock::now() < end)
                count += service
                             .try_do_in_transaction(
                                 "x",
                                 [](Stock& s) {
                                     std::this_thread::sleep_for(10ms);
                                     ++s.quantity;
                                 },
                                 {.deadline = i < 3 ? Deadline{100ms} : Deadline{30s}})
                             .has_value();
        });
        CHECK(store.quantity() == count);
        return count.load();
    };
    auto const alone = applied(1);
    auto const together = applied(64);
    CHECK(together * 2 > alone);
}

TEST_CASE("a patient caller among hurried ones gets its turn", "[core][combining][patience]")
{
    Slow const store;
    TransactionService const service{SetNxLock{}, store};
    std::atomic<bool> stop{false};
    std::atomic<int> runs{0};
    std::vector<std::thread> hurried;
    for (int i = 0; i < 8; ++i)
        hurried.emplace_back([&] {
            while (!stop)
                static_cast<void>(service.try_do_in_transaction(
                    "x",
                    [&](Stock& s) {
                        ++runs;
                        std::this_thread::sleep_for(40ms);
                        ++s.quantity;
                    },
                    {.deadline = 150ms}));
        });
    std::this_thread::sleep_for(300ms);
    // How many get in before it is counted, not how long that takes: a round of all callers is 8.
    for (int i = 0; i < 12; ++i) {
        int const before = runs;
        CHECK(service.try_do_in_transaction("x", add_one, {.deadline = 30s}));
        CHECK(runs - before < 40);
    }
    stop = true;
    for (auto& thread : hurried)
        thread.join();
}

TEST_CASE("a batch that its leader gave up is nobody's attempt", "[core][combining][patience]")
{
    Slow const store;
    TransactionService const service{SetNxLock{.max_attempts = 2}, store, unhurried};
    std::atomic<bool> stop{false};
    std::thread hurried([&] {
        std::vector<std::thread> threads;
        for (int i = 0; i < 4; ++i)
            threads.emplace_back([&] {
                while (!stop)
                    static_cast<void>(service.try_do_in_transaction(
                        "x",
                        [](Stock& s) {
                            std::this_thread::sleep_for(15ms);
                            ++s.quantity;
                        },
                        {.deadline = 50ms}));
            });
        for (auto& thread : threads)
            thread.join();
    });
    std::this_thread::sleep_for(100ms);
    int applied = 0;
    for (int i = 0; i < 20; ++i)
        applied += service.try_do_in_transaction("x", add_one, {.deadline = 60s}).has_value();
    stop = true;
    hurried.join();
    CHECK(applied == 20);
}

TEST_CASE("with max_attempts = 1 no operation runs a second time", "[core][combining][patience]")
{
    Slow const store;
    TransactionService const service{PessimisticRowLock{.max_attempts = 1}, store, unhurried};
    std::atomic<int> runs{0};
    std::atomic<int> applied{0};
    run_threads(8, [&](std::size_t i) {
        for (int k = 0; k < 5; ++k)
            applied += service
                           .try_do_in_transaction(
                               "x",
                               [&](Stock& s) {
                                   ++runs;
                                   std::this_thread::sleep_for(2ms);
                                   ++s.quantity;
                               },
                               {.deadline = i < 4 ? Deadline{20ms} : Deadline{60s}})
                           .has_value();
    });
    CHECK(runs <= 40);
    CHECK(applied >= 20);
    CHECK(store.quantity() == applied);
    // Not even those who have time enough share: a batch that is not applied makes its members run again.
    int const begun = store.story->begun;
    run_threads(8, [&](std::size_t) {
        for (int k = 0; k < 5; ++k)
            service.do_in_transaction("x", add_one, {.deadline = 60s});
    });
    CHECK(store.story->begun == begun + 40);
}

TEST_CASE("what the store refuses of one is refused to that one alone", "[core][combining][patience]")
{
    Slow const store;
    TransactionService const service{OptimisticVersioning{}, store, unhurried};
    std::atomic<int> refused{0};
    std::atomic<int> applied{0};
    in_one_batch(store, service, 9, [&](int i) {
        auto const outcome = service.try_do_in_transaction(
            "x", [&](Stock& s) { s.quantity += i == 4 ? Slow::most + 1 : 1; }, {.deadline = 60s});
        (i == 4 ? refused : applied) +=
            i == 4 ? outcome.errc() == Errc::constraint_violated : outcome.has_value();
    });
    CHECK(refused == 1);
    CHECK(applied == 8);
    CHECK(store.quantity() == 9);
}

}  // namespace combining_test
