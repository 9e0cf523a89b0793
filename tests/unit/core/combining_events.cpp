// SPDX-License-Identifier: BSL-1.0

// Operations that record share commits: each event exactly as often as its effect, in the order of the
// operations, whoever threw, was refused or ran again meanwhile.

#include <interlock/backends/memory/event_repository.hpp>
#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/describe/class.hpp>

#include "support/blocking_repository.hpp"
#include "support/catch.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace combining_events_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::BlockingRepository;
using interlock_test::run_threads;
using interlock_test::Stock;
using Memory = memory::StateRepository<Stock>;

struct Counted {
    int value{0};
    static constexpr EventType event{"counted", 1};
};
BOOST_DESCRIBE_STRUCT(Counted, (), (value))

/// A store with a log, each trip to which takes its time. It counts commits, and the most events of one.
class Slow : public BlockingRepository<Memory> {
public:
    struct Story {
        std::atomic<int> commits{0};
        std::atomic<std::size_t> most_events{0};
        std::atomic<int> intrusions{0};  // how many commits are to meet somebody else's write
    };
    Slow() : Slow(memory::EventRepository{}) {}
    explicit Slow(memory::EventRepository its_log)
        : BlockingRepository(Memory{{.events = its_log}}), log(std::move(its_log)),
          story(std::make_shared<Story>())
    {
        inner().insert(Stock{"x", 0}).value();
        before_calls([](std::string_view) { std::this_thread::sleep_for(300us); });
    }
    using BlockingRepository::carry_out;
    Outcome<CommitResult> carry_out(verb::Commit<Stock> const& commit, Deadline deadline) const
    {
        ++story->commits;
        auto const events = commit.changes[0].events.size();
        for (auto most = story->most_events.load();
             most < events && !story->most_events.compare_exchange_weak(most, events);) {
        }
        if (story->intrusions.fetch_sub(1) > 0) {
            auto const now = inner().load("x").value();
            inner().compare_and_set("x", now.version, Stock{"x", now.value.quantity + 1000}).value();
        }
        return BlockingRepository::carry_out(commit, deadline);
    }
    std::vector<int> counted() const
    {
        std::vector<int> values;
        for (auto const& event : log.read_stream(Key{"x"}, 0, 100'000).value())
            values.push_back(event.as<Counted>().value().value);
        return values;
    }
    int quantity() const { return inner().load("x").value().value.quantity; }

    memory::EventRepository log;
    std::shared_ptr<Story> story;
};

/// Nobody is late, however busy the machine is.
constexpr ServiceOptions unhurried{.combine_patience = 500ms};
constexpr auto count_on = [](Stock& s, Recorder& record) {
    record(Counted{++s.quantity});
    return s.quantity;
};

template <class Policy>
void each_once(Policy policy)
{
    Slow const store;
    TransactionService const service{policy, store, unhurried};
    run_threads(16, [&](std::size_t) {
        for (int i = 0; i < 25; ++i)
            service.do_in_transaction("x", count_on);
    });
    CHECK(store.quantity() == 400);
    std::vector<int> expected(400);
    for (int i = 0; i < 400; ++i)
        expected[static_cast<std::size_t>(i)] = i + 1;
    CHECK(store.counted() == expected);
    if constexpr (!std::is_same_v<Policy, PessimisticRowLock>)  // which commits by its rows
        CHECK((store.story->commits > 0 && store.story->commits < 200));
}

TEST_CASE("operations that record share commits, and every event is there once", "[core][combining_events]")
{
    SECTION("optimistic")
    {
        each_once(OptimisticVersioning{});
    }
    SECTION("row lock")
    {
        each_once(PessimisticRowLock{});
    }
    SECTION("lock")
    {
        each_once(SetNxLock{});
    }
}

template <class Policy>
void each_as_its_effect(Policy policy, bool intrude)
{
    Slow const store;
    TransactionService const service{policy, store, unhurried};
    if (intrude)
        store.story->intrusions = 5;
    std::mutex mutex;
    std::set<int> answers;
    std::atomic<int> wrong{0};
    std::atomic<int> thrown{0};
    run_threads(16, [&](std::size_t i) {
        for (int n = 0; n < 20; ++n)
            switch ((i + static_cast<std::size_t>(n)) % 4) {
            case 0:  // has no event
                service.do_in_transaction("x", [](Stock& s) { return ++s.quantity; });
                break;
            case 1:  // throws what it has recorded
                try {
                    service.do_in_transaction("x", [](Stock& s, Recorder& record) -> int {
                        record(Counted{-1});
                        ++s.quantity;
                        throw std::runtime_error("mine");
                    });
                    ++wrong;
                } catch (std::runtime_error const&) {
                    ++thrown;
                }
                break;
            case 2:  // is refused
                wrong += service.try_do_in_transaction(
                                    "x",
                                    [](Stock& s, Recorder& record) {
                                        record(Counted{-2});
                                        s.sku = "y";
                                    })
                                     .errc() == Errc::invalid_argument
                             ? 0
                             : 1;
                break;
            default:
                auto const answer = service.do_in_transaction("x", count_on);
                std::lock_guard const lock(mutex);
                wrong += answers.insert(answer).second ? 0 : 1;
            }
    });
    CHECK(wrong == 0);
    CHECK(thrown == 80);
    CHECK(store.quantity() % 1000 == 160);
    // The answers are what the events say, and in their order.
    auto const counted = store.counted();
    CHECK(counted == std::vector(answers.begin(), answers.end()));
    CHECK(counted.size() == 80);
}

TEST_CASE("each event is there as often as its effect, whatever others do", "[core][combining_events]")
{
    SECTION("optimistic")
    {
        each_as_its_effect(OptimisticVersioning{}, false);
    }
    SECTION("optimistic, against writers that know nothing of this service")
    {
        each_as_its_effect(OptimisticVersioning{.max_attempts = 20}, true);
    }
    SECTION("row lock")
    {
        each_as_its_effect(PessimisticRowLock{}, false);
    }
    SECTION("lock")
    {
        each_as_its_effect(SetNxLock{}, false);
    }
}

TEST_CASE("asynchronous operations that record share commits, too", "[core][combining_events]")
{
    Slow const store;
    TransactionService const service{OptimisticVersioning{}, store, unhurried};
    boost::asio::thread_pool pool(3);
    std::atomic<int> applied{0};
    for (int i = 0; i < 200; ++i)
        service.async_try_do_in_transaction(
            "x", count_on, {.deadline = 60s},
            boost::asio::bind_executor(
                pool, [&](std::exception_ptr e, Outcome<int> outcome) { applied += !e && outcome; }));
    pool.join();
    CHECK(applied == 200);
    auto const counted = store.counted();
    REQUIRE(counted.size() == 200);
    for (int i = 0; i < 200; ++i)
        CHECK(counted[static_cast<std::size_t>(i)] == i + 1);
    CHECK(store.story->commits < 100);
}

TEST_CASE("a shared commit has no more events than one commit may have", "[core][combining_events]")
{
    Slow const store;
    TransactionService const service{OptimisticVersioning{.max_attempts = 50}, store, unhurried};
    run_threads(8, [&](std::size_t) {
        for (int i = 0; i < 2; ++i)
            service.do_in_transaction("x", [](Stock& s, Recorder& record) {
                for (int n = 0; n < 400; ++n)
                    record(Counted{++s.quantity});
            });
    });
    auto const counted = store.counted();
    REQUIRE(counted.size() == 6400);
    for (int i = 0; i < 6400; ++i)
        CHECK(counted[static_cast<std::size_t>(i)] == i + 1);
    CHECK(store.story->most_events <= max_events_of_commit);
}

TEST_CASE("an event without a change shares a commit, too", "[core][combining_events]")
{
    Slow const store;
    TransactionService const service{OptimisticVersioning{}, store, unhurried};
    run_threads(8, [&](std::size_t i) {
        for (int n = 0; n < 10; ++n)
            service.do_in_transaction(
                "x", [&](Stock& s, Recorder& record) { record(Counted{s.quantity += i % 2 == 0 ? 1 : 0}); });
    });
    auto const counted = store.counted();
    CHECK(counted.size() == 80);
    CHECK(std::is_sorted(counted.begin(), counted.end()));
    CHECK(counted.back() == 40);
    CHECK(store.story->commits < 80);
}

}  // namespace combining_events_test
