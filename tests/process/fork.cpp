// SPDX-License-Identifier: BSL-1.0

// What a fork does to services, locks and random numbers, in the child and in the parent.
//
// How it works: the test forks, often while other threads of the parent are in the middle of something. The
// child makes its calls, writes what it found into a pipe, and leaves by _exit, so that nothing of the
// parent's is destroyed in the child. The parent reads the pipe and makes its own calls after that.

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/kit/store_identity.hpp>
#include <interlock/core/runtime/alarm.hpp>
#include <interlock/core/runtime/random.hpp>
#include <interlock/core/runtime/thread.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "support/blocking_repository.hpp"
#include "support/catch.hpp"
#include "support/scripted_repository.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace fork_test {

namespace asio = boost::asio;
using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::BlockingRepository;
using interlock_test::eventually;
using interlock_test::Stock;

struct Child {
    pid_t pid{-1};
    int from{-1};
};

template <class F>
Child start(F work)
{
    std::array<int, 2> ends{};
    REQUIRE(::pipe(ends.data()) == 0);
    auto const pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        ::alarm(60);  // a child that hangs is ended
        std::string out;
        try {
            out = work();
        } catch (std::exception const& e) {
            out = std::string("threw ") + e.what();
        }
        for (std::size_t done = 0; done < out.size();) {
            auto const n = ::write(ends[1], out.data() + done, out.size() - done);
            if (n <= 0)
                ::_exit(1);
            done += static_cast<std::size_t>(n);
        }
        ::_exit(0);
    }
    ::close(ends[1]);
    return {pid, ends[0]};
}

std::string finish(Child child)
{
    std::string out;
    std::array<char, 65536> buffer{};
    for (;;) {
        auto const n = ::read(child.from, buffer.data(), buffer.size());
        if (n <= 0)
            break;
        out.append(buffer.data(), static_cast<std::size_t>(n));
    }
    ::close(child.from);
    int status = 0;
    ::waitpid(child.pid, &status, 0);
    if (WIFSIGNALED(status))
        return "signal " + std::to_string(WTERMSIG(status));
    return out;
}

TEST_CASE(
    "a service made before a fork is misconfigured in the child and works on in the parent",
    "[process][fork]")
{
    memory::StateRepository<Stock> const repository;
    static_cast<void>(repository.insert(Stock{"x", 10}).value());
    TransactionService const service{OptimisticVersioning{}, repository};
    LockStateService const locks{repository};
    TransactionService const locking{SetNxLock{}, locks};
    auto const take = [](Stock& s) { return --s.quantity; };
    CHECK(service.do_in_transaction("x", take) == 9);
    auto const found = finish(start([&] {
        std::string out = name_of(service.try_do_in_transaction("x", take).errc());
        out += std::string(" ") + name_of(locking.try_do_in_transaction("x", take).errc());
        try {
            static_cast<void>(locks.try_acquire("x"));
        } catch (Error const& error) {
            out += std::string(" ") + name_of(error.errc());
        }
        return out + " " + std::to_string(repository.load("x")->value.quantity);
    }));
    CHECK(found == "misconfigured misconfigured misconfigured 9");
    CHECK(service.do_in_transaction("x", take) == 8);
    CHECK(locks.try_acquire("x"));
}

TEST_CASE("a lock that is held over a fork is not renewed by the child", "[process][fork]")
{
    LockStateService const locks{memory::StateRepository<Stock>{}, LockOptions{.ttl = 1s}};
    auto lock = locks.acquire("x");
    auto const child = start([&] {
        std::this_thread::sleep_for(1500ms);
        return std::string(lock.status() == LockStatus::lost ? "lost" : "held");
    });
    CHECK(finish(child) == "lost");
    CHECK(lock.status() == LockStatus::held);
}

TEST_CASE(
    "a child leaves its parent's lock alone, whatever the parent's threads were doing at the fork",
    "[process][fork]")
{
    auto const script = std::make_shared<scripted::Script<Stock>>();
    scripted::ScriptedRepository<Stock, std::string, SystemRuntime> const repository{
        memory::StateRepository<Stock, std::string>{}, script, SystemRuntime{}, true};
    LockStateService const locks{repository, LockOptions{.ttl = 60s}};
    auto lock = locks.acquire("x");
    // A renewal in place keeps the mutex of the lock's shard.
    interlock_test::Gate gate;
    script->before = [&](scripted::Call call, std::uint64_t) {
        if (call == scripted::Call::renew)
            gate.pass();
    };
    std::thread renewing([&] { CHECK(interlock::LockAccess::hold(lock)->renew_now(Deadline{30s})); });
    REQUIRE(gate.wait_for(1));
    auto const child = start([&] {
        ::alarm(10);
        std::string out = name_of(lock.ensure(1h).errc());
        out += std::string(" ") + name_of(interlock::LockAccess::hold(lock)->release_and_report().errc());
        lock = Lock<Stock>{};
        return out + " gone";
    });
    CHECK(finish(child) == "misconfigured misconfigured gone");
    gate.open();
    renewing.join();
    CHECK(lock.status() == LockStatus::held);
    CHECK_FALSE(LockStateService(repository).try_acquire("x"));
    CHECK(locks.release(lock));
}

TEST_CASE("a new service in the child works, renewals included", "[process][fork]")
{
    // The parent has its alarm thread and its pool already; neither is in the child.
    LockStateService const before{memory::StateRepository<Stock>{}, LockOptions{.ttl = 1s}};
    auto const held = before.acquire("x");
    auto const found = finish(start([] {
        LockStateService const locks{memory::StateRepository<Stock>{}, LockOptions{.ttl = 1s}};
        auto const lock = locks.acquire("x");
        std::this_thread::sleep_for(1500ms);
        return std::string(lock.status() == LockStatus::held ? "held" : "lost");
    }));
    CHECK(found == "held");
    CHECK(held.status() == LockStatus::held);
}

TEST_CASE(
    "a new service on a blocking store works in the child, renewals and async calls included",
    "[process][fork]")
{
    std::atomic<bool> ran{false};
    asio::post(SystemRuntime::blocking_executor(), [&] { ran = true; });
    REQUIRE(eventually([&] { return ran.load(); }));
    auto const found = finish(start([] {
        memory::StateRepository<Stock> const store;
        BlockingRepository const repository{store};
        LockStateService const locks{repository, LockOptions{.ttl = 1s}};
        auto lock = std::optional{locks.acquire("x")};
        std::this_thread::sleep_for(1500ms);
        std::string out = lock->status() == LockStatus::held ? "held" : "lost";
        lock.reset();
        out += eventually([&] { return store.key_count() == 0; }, 10s) ? " released" : " stuck";
        static_cast<void>(store.insert(Stock{"x", 10}).value());
        TransactionService const service{OptimisticVersioning{}, repository};
        asio::io_context io;
        int left = 0;
        service.async_do_in_transaction(
            "x", [](Stock& s) { return --s.quantity; }, {.deadline = 5s},
            asio::bind_executor(io, [&](std::exception_ptr, int value) { left = value; }));
        io.run_for(10s);
        return out + " " + std::to_string(left);
    }));
    CHECK(found == "held released 9");
}

/// Calls `ask` on a thread of the parent all the time, and once in each of many children.
template <class F>
std::string ask_in_children(F ask)
{
    std::atomic<bool> stop{false};
    std::atomic<int> asked{0};
    std::thread asking([&] {
        for (; !stop; ++asked)
            ask();
    });
    REQUIRE(eventually([&] { return asked > 0; }));
    std::string found;
    for (int i = 0; i < 1000 && (i == 0 || found == "answered"); ++i)
        found = finish(start([&] {
            ::alarm(3);
            ask();
            return std::string("answered");
        }));
    stop = true;
    asking.join();
    return found;
}

TEST_CASE("a child waits for none of its parent's threads", "[process][fork]")
{
    int const store = 0;
    CHECK(ask_in_children([&] {
              static_cast<void>(interlock::detail::CallThreads::of(&store, 0, 1));
          }) == "answered");
    CHECK(ask_in_children([] { static_cast<void>(intern_store("a place")); }) == "answered");
}

TEST_CASE("no thread of a child meets the alarm clock of the parent", "[process][fork]")
{
    // Each round stands for a fork: two threads of the child ask, a little apart from each other, and neither
    // must get what there was before.
    auto const found = finish(start([] {
        using interlock::detail::AlarmClock;
        constexpr int rounds = 20'000;
        std::atomic<int> arrived{0};
        // Awake, so that both go on at the same time; a barrier would put them to sleep.
        auto const meet = [&](int& meetings) {
            ++meetings;
            ++arrived;
            for (int looks = 0; arrived < 2 * meetings; ++looks)
                if (looks % 10'000 == 9'999)
                    std::this_thread::yield();
        };
        std::array<AlarmClock*, 2> clocks{};
        std::array<int, 2> stale{};
        int different = 0;
        auto const ask = [&](std::size_t i) {
            int meetings = 0;
            auto random = static_cast<std::uint32_t>(i);
            for (int round = 0; round < rounds; ++round) {
                auto* const before = clocks[i];
                meet(meetings);
                if (i == 0)
                    ++interlock::detail::fork_counter();
                meet(meetings);
                random = random * 1664525U + 1013904223U;
                for (auto pause = (random >> 16U) % 40U; pause != 0; --pause)
                    std::atomic_signal_fence(std::memory_order_seq_cst);
                clocks[i] = &AlarmClock::instance();
                stale[i] += clocks[i] == before ? 1 : 0;
                meet(meetings);
                if (i == 0)
                    different += clocks[0] != clocks[1] ? 1 : 0;
            }
        };
        std::thread other([&] { ask(1); });
        ask(0);
        other.join();
        return std::to_string(stale[0] + stale[1]) + " stale, " + std::to_string(different) + " different";
    }));
    CHECK(found == "0 stale, 0 different");
}

TEST_CASE("forked children never draw the same owner token", "[process][fork]")
{
    constexpr std::size_t each = 100'000;
    // Both start with the same half-used block of random bits in this thread.
    static_cast<void>(SystemRuntime::random_bits());
    auto const draw = [] {
        std::string out;
        out.reserve(each * 16);
        for (std::size_t i = 0; i < each; ++i) {
            auto const bytes = new_owner_token(SystemRuntime{}).bytes();
            out.append(bytes.data(), bytes.size());
        }
        return out;
    };
    auto const one = start(draw);
    auto const two = start(draw);
    auto all = draw();
    all += finish(one);
    all += finish(two);
    REQUIRE(all.size() == 3 * each * 16);
    std::vector<std::string_view> tokens;
    for (std::size_t i = 0; i < 3 * each; ++i)
        tokens.push_back(std::string_view(all).substr(i * 16, 16));
    std::sort(tokens.begin(), tokens.end());
    CHECK(std::adjacent_find(tokens.begin(), tokens.end()) == tokens.end());
}

struct Globals {
    memory::StateRepository<Stock> repository;
    LockStateService<Stock, memory::StateRepository<Stock>> locks{repository, LockOptions{.ttl = 1s}};
    TransactionService<Stock, SetNxLock, memory::StateRepository<Stock>> service{SetNxLock{}, locks};
    Lock<Stock> lock{locks.acquire("x")};
};

TEST_CASE(
    "a program with static handles, a held lock and renewals under way exits cleanly", "[process][fork]")
{
    for (int round = 0; round < 5; ++round) {
        auto const pid = ::fork();
        REQUIRE(pid >= 0);
        if (pid == 0) {
            ::alarm(60);
            static std::optional<Globals> globals;
            globals.emplace();
            std::this_thread::sleep_for(330ms + round * 7ms);  // about when the first renewal is due
            bool const held = globals->lock.status() == LockStatus::held;
            // Destroyed with the other statics, while the alarm thread runs; quick_exit would skip it.
            std::atexit([] { globals.reset(); });
            ::close(STDOUT_FILENO);
            std::exit(held ? 0 : 3);
        }
        int status = 0;
        ::waitpid(pid, &status, 0);
        CHECK(WIFEXITED(status));
        CHECK(WEXITSTATUS(status) == 0);
    }
}

}  // namespace fork_test
