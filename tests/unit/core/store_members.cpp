// SPDX-License-Identifier: BSL-1.0

// The asynchronous twins of a repository's members. That they come to what the blocking ones come to stands
// in the contract suite, for every store; here: on whose thread they run, and what cancelling them does.
// `StartedRepository` keeps its replies back until a test gives them; `BlockingRepository` calls a hook on
// the thread that makes a call.

#include <interlock/interlock.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include "support/blocking_repository.hpp"
#include "support/catch.hpp"
#include "support/started_repository.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace store_members_test {

using namespace interlock;
using namespace std::chrono_literals;
namespace asio = boost::asio;
using interlock_test::BlockingRepository;
using interlock_test::Gate;
using interlock_test::StartedRepository;
using interlock_test::Stock;
using Memory = memory::StateRepository<Stock>;

Memory stocked()
{
    Memory const memory;
    memory.insert(Stock{"x", 10}).value();
    return memory;
}

TEST_CASE("a coroutine reads, writes and erases a state without a thread of its own", "[core][store_members]")
{
    Memory const memory = stocked();
    asio::io_context io;
    bool done = false;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            auto const loaded = co_await memory.async_load("x", asio::use_awaitable);
            CHECK(loaded.value().value.quantity == 10);
            Stock const less{"x", 9};
            auto const written =
                co_await async_save_if(memory, loaded.value().version, less, asio::use_awaitable);
            auto const both = co_await memory.async_load(std::array{"x", "y"}, 1s, asio::use_awaitable);
            CHECK(both.value()[0]->value == less);
            CHECK_FALSE(both.value()[1]);
            auto const erased = co_await memory.async_erase("x", written.value(), asio::use_awaitable);
            CHECK(erased.value() == written.value());
            done = true;
        },
        asio::detached);
    io.run();
    CHECK(done);
}

TEST_CASE(
    "an asynchronous member completes on the handler's executor, never from within the call",
    "[core][store_members]")
{
    auto const check = [](auto const& repository) {
        asio::io_context io;
        auto const here = std::this_thread::get_id();
        bool called = false;
        repository.async_load("x", asio::bind_executor(io, [&](Outcome<Versioned<Stock>> outcome) {
                                  CHECK(std::this_thread::get_id() == here);
                                  CHECK(outcome.value().value.quantity == 10);
                                  called = true;
                              }));
        CHECK_FALSE(called);
        io.run();
        CHECK(called);
    };
    SECTION("of a store that answers in place")
    {
        check(stocked());
    }
    SECTION("of a store that blocks")
    {
        check(BlockingRepository{stocked()});
    }
    SECTION("of a store that starts calls")
    {
        check(StartedRepository{stocked()});
    }
    SECTION("of a store that is chosen at run time")
    {
        check(StateRepository<Stock>{stocked()});
    }
}

TEST_CASE(
    "a call of a store that blocks does not keep the caller's thread from other work",
    "[core][store_members]")
{
    BlockingRepository const repository{stocked()};
    Gate gate;
    repository.before_calls([&](std::string_view call) {
        if (call == "load")
            gate.pass();
    });
    asio::io_context io;
    std::optional<Outcome<Versioned<Stock>>> loaded;
    repository.async_load("x", asio::bind_executor(io, [&](Outcome<Versioned<Stock>> outcome) {
                              loaded = std::move(outcome);
                          }));
    asio::post(io, [&] { gate.open(); });  // runs although the call blocks
    io.run();
    REQUIRE(loaded);
    CHECK(loaded->value().value.quantity == 10);
}

TEST_CASE(
    "a started call takes no thread, and a deferred one is not begun before it is asked for",
    "[core][store_members]")
{
    StartedRepository const repository{stocked()};
    asio::io_context io;
    auto later = repository.async_load("x", asio::deferred);
    CHECK(repository.started() == 0);
    auto future = std::move(later)(asio::bind_executor(io, asio::use_future));
    CHECK(repository.started() == 1);
    io.run();
    CHECK(future.get().value().value.quantity == 10);
}

TEST_CASE(
    "cancelling a started call that reads lets its caller go, one that writes ends with its outcome",
    "[core][store_members]")
{
    StartedRepository const repository{stocked()};
    repository.hold_replies();
    asio::io_context io;
    asio::cancellation_signal cancel;
    SECTION("a load")
    {
        std::optional<Errc> code;
        repository.async_load(
            "x", asio::bind_cancellation_slot(
                     cancel.slot(),
                     asio::bind_executor(io, [&](Outcome<Versioned<Stock>> o) { code = o.errc(); })));
        asio::post(io, [&] { cancel.emit(asio::cancellation_type::terminal); });
        io.run();
        CHECK(code == Errc::cancelled);
        repository.give_replies();  // to nobody
    }
    SECTION("an erase")
    {
        std::optional<Errc> code;
        repository.async_erase(
            "x", 1,
            asio::bind_cancellation_slot(
                cancel.slot(), asio::bind_executor(io, [&](Outcome<Version> o) { code = o.errc(); })));
        asio::post(io, [&] { cancel.emit(asio::cancellation_type::terminal); });
        io.poll();
        CHECK_FALSE(code);
        repository.give_replies();
        io.restart();
        io.run();
        CHECK(code == Errc::ok);
        CHECK(repository.load("x").errc() == Errc::not_found);
    }
}

TEST_CASE("a call that never found a thread in time was not made", "[core][store_members]")
{
    BlockingRepository const repository{stocked()};
    Gate gate;
    repository.before_calls([&](std::string_view call) {
        if (call == "load")
            gate.pass();
    });
    asio::io_context io;
    int loaded = 0;
    for (int i = 0; i < 64; ++i)  // every thread of the store
        repository.async_load(
            "x", 20s, asio::bind_executor(io, [&](Outcome<Versioned<Stock>> o) { loaded += o ? 1 : 0; }));
    std::optional<Errc> late;
    repository.async_erase("x", 1, 50ms, asio::bind_executor(io, [&](Outcome<Version> o) {
                               late = o.errc();
                               gate.open();
                           }));
    io.run();
    CHECK(late == Errc::deadline_exceeded);
    CHECK(loaded == 64);
    CHECK(repository.load("x").has_value());
}

TEST_CASE("operations of the context that goes away are dropped, not completed", "[core][store_members]")
{
    StartedRepository const repository{stocked()};
    repository.hold_replies();
    bool called = false;
    {
        asio::io_context io;
        repository.async_load(
            "x", asio::bind_executor(io, [&](Outcome<Versioned<Stock>>) { called = true; }));
        io.poll();
    }
    repository.give_replies();
    CHECK_FALSE(called);
}

TEST_CASE("a member that fails says which store it asked, and what went wrong there", "[core][store_members]")
{
    Memory const memory = stocked();
    CHECK(memory.load("none").message() == "not_found: memory: there is no value under this key");
    CHECK_THROWS_WITH(
        memory.load("none").value(), std::string("not_found: memory: there is no value under this key"));
    CHECK(
        memory.insert(Stock{"x", 1}).message() ==
        "already_exists: memory: there is a value under this key already");
    CHECK(
        memory.compare_and_set("x", 77, Stock{"x", 1}).message() ==
        "version_conflict: memory: somebody else changed the value");
    CHECK(memory.renew(Key{"x"}, OwnerToken{std::array<std::uint64_t, 2>{1, 2}}, Ttl{1s})
              .detail()
              .starts_with("memory: "));
}

TEST_CASE("an asynchronous member that fails says the same as the blocking one", "[core][store_members]")
{
    Memory const memory = stocked();
    asio::io_context io;
    auto loaded = memory.async_load("none", asio::bind_executor(io, asio::use_future));
    io.run();
    CHECK(loaded.get().message() == memory.load("none").message());
}

TEST_CASE("a failure that has words of its own keeps them", "[core][store_members]")
{
    Memory const memory = stocked();
    CHECK(
        memory.load(std::string(600, 'k')).message() ==
        "invalid_argument: key has 600 bytes, the limit is 512");
    CHECK(
        memory.create(Key{"x"}, OwnerToken{std::array<std::uint64_t, 2>{1, 2}}, Ttl{1ms}).message() ==
        "invalid_argument: ttl must be from 50 ms to 24 h");
}

}  // namespace store_members_test
