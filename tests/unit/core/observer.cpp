// SPDX-License-Identifier: BSL-1.0

// What an observer is told: a begin and one end for each call, which call and which lock an event is about,
// keys only when it asked for them, and a conflict once.

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/observer.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>

#include "support/catch.hpp"
#include "support/states.hpp"

#include <chrono>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace observer_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::Stock;

using Repository = memory::StateRepository<Stock>;

/// Writes down each event as a word or two, and what it says about its call or its lock.
class Notes final : public Observer {
public:
    using Observer::Observer;

    void on_begin(CallInfo& call) noexcept override
    {
        call.tag = this;
        note("begin", call);
        nested += call.outer != nullptr ? 1 : 0;
    }
    void on_transaction(TransactionEvent const& event) noexcept override
    {
        note(std::string("end ") + name_of(event.result), *event.call);
    }
    void on_conflict(RetryEvent const& event) noexcept override
    {
        note(event.repeats ? "conflict" : "last conflict", *event.call);
    }
    void on_retry(RetryEvent const& event) noexcept override { note("retry", *event.call); }
    void on_acquire_begin(ObservedLock const& lock) noexcept override { note("acquire begin", lock); }
    void on_acquire(AcquireEvent const& event) noexcept override
    {
        note(std::string("acquire ") + name_of(event.result), event.lock);
    }
    void on_release(ReleaseEvent const& event) noexcept override
    {
        note(std::string("release ") + name_of(event.result), event.lock);
    }
    void on_lock(LockEvent const& event) noexcept override
    {
        if (event.kind == LockEvent::Kind::lost)
            note("lost", event.lock);
        if (event.kind == LockEvent::Kind::fenced_out)
            note("fenced out", event.lock);
    }

    struct Note {
        std::string what;
        std::string policy;
        std::string store;
        std::string operation;
        std::vector<std::string> keys;
        std::optional<Cause> cause;
        bool tagged;
    };
    std::vector<Note> notes() const
    {
        std::lock_guard const lock(mutex_);
        return notes_;
    }
    std::vector<std::string> words() const
    {
        std::vector<std::string> all;
        for (auto const& one : notes())
            all.push_back(one.what);
        return all;
    }
    int nested{0};

private:
    void note(std::string what, CallInfo const& call)
    {
        Note one{std::move(what),
                 std::string(call.policy),
                 std::string(call.store.kind),
                 std::string(call.operation),
                 {},
                 {},
                 call.tag == this};
        for (auto const& key : call.keys)
            one.keys.emplace_back(key.bytes());
        if (call.cause != nullptr)
            one.cause = *call.cause;
        keep(std::move(one));
    }
    void note(std::string what, ObservedLock const& lock)
    {
        Note one{std::move(what), {}, std::string(lock.store.kind), {}, {}, {}, lock.call != nullptr};
        if (lock.key != nullptr)
            one.keys.emplace_back(lock.key->bytes());
        keep(std::move(one));
    }
    void keep(Note one)
    {
        std::lock_guard const lock(mutex_);
        notes_.push_back(std::move(one));
    }

    mutable std::mutex mutex_;
    std::vector<Note> notes_;
};

using Words = std::vector<std::string>;

Repository with_stock()
{
    Repository repository;
    repository.insert(Stock{"sku-1", 10}).value();
    repository.insert(Stock{"sku-2", 10}).value();
    return repository;
}

TEST_CASE("a call is told from its begin to its end, by its name and its cause", "[core][observer]")
{
    auto const repository = with_stock();
    Notes notes;
    TransactionService const service{OptimisticVersioning{}, repository, {.observer = &notes}};
    Cause const cause{"order-7", "request-9", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"};
    bool begun = false;
    service.do_in_transaction(
        "sku-1",
        [&](Stock& s) {
            begun = notes.words() == Words{"begin"};
            --s.quantity;
        },
        {.cause = &cause, .name = "sell"});
    CHECK(begun);
    auto const all = notes.notes();
    REQUIRE(all.size() == 2);
    CHECK(all[1].what == "end ok");
    for (auto const& one : all) {
        CHECK(one.policy == "optimistic_versioning");
        CHECK(one.store == "memory");
        CHECK(one.operation == "sell");
        CHECK(one.cause == cause);
        CHECK(one.keys.empty());  // nobody asked for them
        CHECK(one.tagged);
    }
}

TEST_CASE("keys are told to an observer that asked for them", "[core][observer]")
{
    auto const repository = with_stock();
    Notes notes{HearsKeys::yes};
    TransactionService const service{OptimisticVersioning{}, repository, {.observer = &notes}};
    service.do_in_transaction(keys("sku-2", "sku-1"), [](Stock& a, Stock& b) {
        --a.quantity;
        ++b.quantity;
    });
    REQUIRE(notes.notes().size() == 2);
    CHECK(notes.notes()[0].keys == Words{"sku-2", "sku-1"});
    CHECK(notes.notes()[1].keys == Words{"sku-2", "sku-1"});
}

TEST_CASE("what a call is made for, a call within its operation is made for as well", "[core][observer]")
{
    auto const repository = with_stock();
    Notes notes;
    TransactionService const service{OptimisticVersioning{}, repository, {.observer = &notes}};
    Cause const cause{"order-7", "request-9", {}};
    service.do_in_transaction(
        "sku-1",
        [&](Stock&) {
            service.do_in_transaction("sku-2", [](Stock& s) { --s.quantity; }, {.name = "inner"});
        },
        {.cause = &cause, .name = "outer"});
    CHECK(notes.words() == Words{"begin", "begin", "end ok", "end ok"});
    CHECK(notes.nested == 1);
    CHECK(notes.notes()[2].operation == "inner");
    CHECK(notes.notes()[2].cause == cause);
    CHECK(notes.notes()[3].operation == "outer");
}

TEST_CASE("a conflict is one event", "[core][observer]")
{
    auto const repository = with_stock();
    auto const meddle = [&](Stock&) {
        auto seen = repository.load("sku-1").value();
        repository.compare_and_set("sku-1", seen.version, seen.value).value();
    };
    SECTION("for an observer that listens to conflicts")
    {
        Notes notes;
        TransactionService const service{
            OptimisticVersioning{.max_attempts = 2}, repository, {.observer = &notes}};
        auto const end = service.try_do_in_transaction("sku-1", [&](Stock& s) {
            meddle(s);
            --s.quantity;
        });
        CHECK(end.errc() == Errc::version_conflict);
        CHECK(notes.words() == Words{"begin", "conflict", "last conflict", "end version_conflict"});
    }
    SECTION("for one of version 0.1 that listens to retries only")
    {
        struct Retries final : Observer {
            void on_retry(RetryEvent const& event) noexcept override { seen.push_back(event.reason); }
            std::vector<Errc> seen;
        } retries;
        TransactionService const service{
            OptimisticVersioning{.max_attempts = 2}, repository, {.observer = &retries}};
        static_cast<void>(service.try_do_in_transaction("sku-1", [&](Stock& s) {
            meddle(s);
            --s.quantity;
        }));
        CHECK(retries.seen == std::vector{Errc::version_conflict});
    }
}

TEST_CASE("each acquire that begins ends, also in vain, and names its lock", "[core][observer]")
{
    Notes notes{HearsKeys::yes};
    LockStateService const locks{with_stock(), LockOptions{.observer = &notes}};
    {
        auto const held = locks.acquire("sku-1");
        CHECK(!locks.try_acquire("sku-1"));
        CHECK_THROWS_AS(locks.acquire("sku-1", {.deadline = 30ms}), Error);
    }
    CHECK(
        notes.words() == Words{
                             "acquire begin", "acquire ok", "acquire begin", "acquire lock_busy",
                             "acquire begin", "acquire deadline_exceeded", "release ok"});
    for (auto const& one : notes.notes()) {
        CHECK(one.keys == Words{"sku-1"});
        CHECK(one.store == "memory");
        CHECK_FALSE(one.tagged);  // no transaction is under way
    }
}

TEST_CASE("the locks of a policy are told within its call", "[core][observer]")
{
    auto const repository = with_stock();
    Notes notes{HearsKeys::yes};
    TransactionService const service{SetNxLock{}, repository, {.observer = &notes}};
    service.do_in_transaction("sku-1", [](Stock& s) { --s.quantity; });
    CHECK(notes.words() == Words{"begin", "acquire begin", "acquire ok", "release ok", "end ok"});
    for (auto const& one : notes.notes()) {
        CHECK(one.tagged);
        CHECK(one.keys == Words{"sku-1"});
    }
}

TEST_CASE("a lock that is lost and a write that is refused name the lock", "[core][observer]")
{
    auto const repository = with_stock();
    Notes notes{HearsKeys::yes};
    LockStateService const locks{repository, LockOptions{.ttl = 60s, .observer = &notes}};
    auto lock = locks.acquire("sku-1");
    auto const seen = repository.load("sku-1").value();
    repository.force_release("sku-1").value();
    auto const written = locks.write(lock, seen.version, Stock{"sku-1", 3});
    CHECK(written.errc() == Errc::fenced_out);
    CHECK(notes.words() == Words{"acquire begin", "acquire ok", "fenced out"});
    CHECK(notes.notes()[2].keys == Words{"sku-1"});
    std::this_thread::sleep_for(5ms);  // so that it asks the store, which knows nothing of it
    CHECK_FALSE(lock.ensure(59'394ms));
    REQUIRE(notes.words().size() == 4);
    CHECK(notes.notes()[3].what == "lost");
    CHECK(notes.notes()[3].keys == Words{"sku-1"});
}

TEST_CASE("a call whose executor goes away has an end", "[core][observer]")
{
    Notes notes;
    LockStateService const locks{with_stock(), LockOptions{.observer = &notes}};
    TransactionService const service{SetNxLock{}, locks, {.observer = &notes}};
    auto const held = locks.acquire("sku-1");
    {
        boost::asio::io_context context;
        auto const take = [](Stock& s) { --s.quantity; };
        service.async_try_do_in_transaction(
            "sku-1", take, CallOptions{.name = "sell"},
            boost::asio::bind_executor(
                context.get_executor(), [](std::exception_ptr const&, Outcome<void> const&) {}));
        context.poll();  // it waits for the lock
        CHECK(notes.words() == Words{"acquire begin", "acquire ok", "begin", "acquire begin"});
    }
    auto const all = notes.notes();
    REQUIRE(all.size() == 6);
    CHECK(all[4].what == "acquire cancelled");
    CHECK(all[5].what == "end outcome_unknown");
    CHECK(all[5].operation == "sell");
}

}  // namespace observer_test
