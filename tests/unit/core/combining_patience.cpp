// SPDX-License-Identifier: BSL-1.0

// Operations that share a commit harm nobody: a slow one, a stopped executor or a leader that does not go on
// is left behind, and what has finished is committed.
//
// How it works: a `Member` is one call of a service, driven step by step, so that a case says who stands
// still where. Other cases let threads and executors do it.

#include <interlock/core/kit/blocking_waiter.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

#include "support/catch.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"
#include "unit/core/combining.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <optional>
#include <span>
#include <thread>
#include <utility>
#include <vector>

namespace combining_test {

namespace asio = boost::asio;
using interlock_test::run_threads;

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

TEST_CASE("a patience beyond all time shares, and one below zero does not", "[core][combining][patience]")
{
    using Patience = std::chrono::microseconds;
    for (auto const patience : {Patience::max(), Patience{INT64_MAX / 1000}, Patience::min()}) {
        Slow const store;
        TransactionService const service{OptimisticVersioning{}, store, {.combine_patience = patience}};
        CallOptions const long_enough{.deadline = 3h};  // a leader begins to commit one patience before it
        in_one_batch(store, service, 6, [&](int) { service.do_in_transaction("x", add_one, long_enough); });
        CHECK(store.quantity() == 7);
        CHECK((store.story->commits < 7) == (patience > 0us));
    }
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

// The store refuses what one asks for, and is slow to answer when it is asked again.
class Refusing : public BlockingRepository<Memory> {
public:
    struct Story {
        std::atomic<int> asked{0};
        Gate second;
    };
    Refusing() : BlockingRepository(Memory{}), story(std::make_shared<Story>())
    {
        inner().insert(Stock{"x", 1}).value();
    }
    using BlockingRepository::carry_out;
    Outcome<Grant> carry_out(verb::Create const& create, Deadline deadline) const
    {
        return answer(create, deadline);
    }
    Outcome<GrantAndState<Stock>> carry_out(verb::CreateAndLoad<Stock> const& create, Deadline deadline) const
    {
        return answer(create, deadline);
    }

    std::shared_ptr<Story> story;

private:
    template <class Verb>
    Outcome<typename Verb::answer> answer(Verb const& verb, Deadline deadline) const
    {
        if (++story->asked == 1)
            return Failure{Errc::unavailable, "NOREPLICAS"};
        story->second.pass();
        return BlockingRepository::carry_out(verb, deadline);
    }
};

TEST_CASE("who waits behind one that asks again hears what the store has said", "[core][combining][patience]")
{
    auto const hears = [](auto const& of_store, auto const& call) {
        std::jthread const leader{[&] { static_cast<void>(call(Deadline{60s})); }};
        CHECK(of_store.story->second.wait_for(1));
        auto const outcome = call(Deadline{500ms});
        INFO(outcome.message());
        CHECK(outcome.errc() == Errc::deadline_exceeded);
        CHECK(outcome.cause() == Errc::unavailable);
        CHECK(outcome.detail().find("NOREPLICAS") != std::string::npos);
        of_store.story->second.open();
    };
    Refusing const store;
    TransactionService const service{SetNxLock{}, store};
    hears(store, [&](Deadline deadline) {
        return service.try_do_in_transaction("x", add_one, {.deadline = deadline});
    });
    // The others hear no more of it once the one in front has begun.
    Refusing const other;
    TransactionService const serving{SetNxLock{}, other};
    Gate runs;
    std::jthread const leader{
        [&] { serving.do_in_transaction("x", [&](Stock&) { runs.pass(); }, {.deadline = 60s}); }};
    CHECK(other.story->second.wait_for(1));
    other.story->second.open();
    CHECK(runs.wait_for(1));
    auto const outcome = serving.try_do_in_transaction("x", add_one, {.deadline = 500ms});
    INFO(outcome.message());
    CHECK(outcome.errc() == Errc::deadline_exceeded);
    CHECK(outcome.detail().find("NOREPLICAS") == std::string::npos);
    runs.open();

    Refusing const locked;
    LockStateService const locks{locked};
    hears(locked, [&](Deadline deadline) {
        return locks
            .async_acquire_outcome(
                "x", Wait::until_deadline, AcquireOptions{.deadline = deadline}, asio::use_future)
            .get();
    });
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
