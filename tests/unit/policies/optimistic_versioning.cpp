// SPDX-License-Identifier: BSL-1.0

// Optimistic versioning: conflicts, retries and their bounds, several keys, remembered states.
//
// How it works: stores in memory. A case makes a conflict by writing through the repository from within the
// operation, or by letting threads meet. Where the number of trips matters, the store notes the names of the
// members that were called.

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>

#include "support/blocking_repository.hpp"
#include "support/catch.hpp"
#include "support/manual_runtime.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <latch>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace optimistic_versioning_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::BlockingRepository;
using interlock_test::ManualRuntime;
using interlock_test::run_threads;
using interlock_test::Stock;

using Repository = memory::StateRepository<Stock>;

TEST_CASE("of many writers that read one version exactly one succeeds", "[policies][optimistic_versioning]")
{
    Repository const repository;
    auto version = repository.insert(Stock{"x", 0}).value();
    int accepted = 0;
    for (int round = 0; round < 50; ++round) {
        std::atomic<int> won{0};
        std::atomic<int> conflicts{0};
        run_threads(8, [&](std::size_t i) {
            auto const written = repository.compare_and_set("x", version, Stock{"x", static_cast<int>(i)});
            won += written ? 1 : 0;
            conflicts += written.errc() == Errc::version_conflict ? 1 : 0;
        });
        CHECK(won == 1);
        CHECK(conflicts == 7);
        accepted += won;
        version = repository.load("x")->version;
    }
    CHECK(version == 1 + accepted);
}

TEST_CASE("a value that was changed and changed back is a conflict", "[policies][optimistic_versioning]")
{
    Repository const repository;
    auto const first = repository.insert(Stock{"x", 1}).value();
    TransactionService const service{OptimisticVersioning{}, repository};
    int runs = 0;
    service.do_in_transaction("x", [&](Stock& s) {
        if (++runs == 1) {
            auto const changed = repository.compare_and_set("x", first, Stock{"x", 2}).value();
            static_cast<void>(repository.compare_and_set("x", changed, Stock{"x", 1}).value());
        }
        s.quantity += 10;
    });
    CHECK(runs == 2);
    CHECK(repository.load("x")->value.quantity == 11);
    CHECK(repository.load("x")->version == first + 3);
    CHECK(repository.compare_and_set("x", first, Stock{"x", 9}).errc() == Errc::version_conflict);
}

TEST_CASE("a storm of conflicts makes progress and ends by the deadline", "[policies][optimistic_versioning]")
{
    Repository const repository;
    static_cast<void>(repository.insert(Stock{"x", 0}).value());
    TransactionService const service{OptimisticVersioning{.max_attempts = 50}, repository};
    std::atomic<int> applied{0};
    std::atomic<int> wrong{0};
    std::atomic<int> runs{0};
    std::atomic<int> calls{0};
    std::array<std::atomic<int>, 3> applied_in_second{};
    constexpr int threads = 64;
    std::latch started{threads};  // which takes its time on a busy machine
    auto const spent = interlock_test::time_of([&] {
        run_threads(threads, [&](std::size_t) {
            started.arrive_and_wait();
            auto const begin = std::chrono::steady_clock::now();
            auto const end = begin + std::chrono::seconds{applied_in_second.size()};
            while (std::chrono::steady_clock::now() < end) {
                ++calls;
                auto const outcome = service.try_do_in_transaction(
                    "x",
                    [&](Stock& s) {
                        ++runs;
                        ++s.quantity;
                    },
                    {.deadline = 2s});
                applied += outcome ? 1 : 0;
                auto const second = static_cast<std::size_t>((std::chrono::steady_clock::now() - begin) / 1s);
                if (outcome && second < applied_in_second.size())
                    ++applied_in_second[second];
                if (!outcome && outcome.errc() != Errc::version_conflict &&
                    outcome.errc() != Errc::deadline_exceeded)
                    ++wrong;
            }
        });
    });
    for (auto const& count : applied_in_second)
        CHECK(count > 0);
    CHECK(wrong == 0);
    CHECK(repository.load("x")->value.quantity == applied);
    CHECK(runs <= calls * 50);
    CHECK(spent < 30s);
}

TEST_CASE("attempts are bounded and the last error is told", "[policies][optimistic_versioning]")
{
    memory::StateRepository<Stock, void, ManualRuntime> const repository;
    static_cast<void>(repository.insert(Stock{"x", 0}).value());
    TransactionService const service{OptimisticVersioning{.max_attempts = 3}, repository};
    int runs = 0;
    auto const interfere = [&](Stock& s) {
        ++runs;
        auto const now = repository.load("x").value();
        static_cast<void>(
            repository.compare_and_set("x", now.version, Stock{"x", now.value.quantity + 1}).value());
        s.quantity = -1;
    };
    auto const lost = service.try_do_in_transaction("x", interfere);
    CHECK(
        lost.failure().message() ==
        "version_conflict: memory: somebody else changed the value, after 3 attempts");
    CHECK(runs == 3);
    static_cast<void>(repository.insert(Stock{"y", 0}).value());
    auto const both = service.try_do_in_transaction(
        keys("y", "x"), [&](Stock& y, Stock& x) { y = Stock{"y", 1}, interfere(x); });
    CHECK(both.failure().message() == "version_conflict: memory: x: version_conflict, after 3 attempts");
    CHECK(runs == 6);
    TransactionService const slow{
        OptimisticVersioning{.backoff = {.initial = 1s, .cap = 1s, .immediate = 0}}, repository};
    auto const late = slow.try_do_in_transaction("x", interfere, {.deadline = 3s});
    CHECK(late.errc() == Errc::deadline_exceeded);
    CHECK_THAT(late.detail(), Catch::Matchers::ContainsSubstring("version_conflict"));
    CHECK(repository.load("x")->value.quantity > 0);
}

TEST_CASE("an operation that changes nothing writes nothing", "[policies][optimistic_versioning]")
{
    Repository const repository;
    auto const version = repository.insert(Stock{"x", 1}).value();
    TransactionService const service{OptimisticVersioning{}, repository};
    CHECK(service.do_in_transaction("x", [](Stock& s) { return s.quantity = 1; }) == 1);
    CHECK(repository.load("x")->version == version);
    service.do_in_transaction("x", [](Stock& s) { s.quantity = 2; });
    CHECK(repository.load("x")->version == version + 1);
}

TEST_CASE(
    "several states are of one moment, and a state that was only read is verified",
    "[policies][optimistic_versioning]")
{
    Repository const repository;
    static_cast<void>(repository.insert(Stock{"a", 1}).value());
    static_cast<void>(repository.insert(Stock{"b", 1}).value());
    TransactionService const service{OptimisticVersioning{}, repository};
    int runs = 0;
    service.do_in_transaction(keys("a", "b"), [&](Stock& a, Stock& b) {
        if (++runs == 1)
            static_cast<void>(repository.compare_and_set("b", 1, Stock{"b", 5}).value());
        a.quantity = b.quantity;  // b is only read: write skew, if nobody looked at its version
    });
    CHECK(runs == 2);
    CHECK(repository.load("a")->value.quantity == 5);
    CHECK(repository.load("b")->version == 2);
}

TEST_CASE(
    "two operations that create one key are both applied, one after the other",
    "[policies][optimistic_versioning]")
{
    Repository const repository;
    TransactionService const service{OptimisticVersioning{.missing = Missing::create}, repository};
    run_threads(8, [&](std::size_t) {
        service.do_in_transaction("x", [](Stock& s) { ++s.quantity; }, {.deadline = 60s});
    });
    CHECK(repository.load("x")->value.quantity == 8);
}

TEST_CASE(
    "save_if writes if the version is still the one it names, and never tries again",
    "[policies][optimistic_versioning]")
{
    Repository const repository;
    auto const first = repository.insert(Stock{"x", 1}).value();
    auto const second = save_if(repository, first, Stock{"x", 2});
    REQUIRE(second);
    CHECK(*second > first);
    CHECK(save_if(repository, first, Stock{"x", 3}).errc() == Errc::version_conflict);
    CHECK(save_if(repository, 1, Stock{"y", 3}).errc() == Errc::not_found);
    CHECK(save_if(repository, no_version, Stock{"x", 3}).errc() == Errc::invalid_argument);
    CHECK(repository.load("x")->value.quantity == 2);
    CHECK(repository.load("x")->version == *second);
}

/// Calls of the store, by name.
struct Calls {
    explicit Calls(BlockingRepository<Repository> const& store)
    {
        store.before_calls([this](std::string_view call) { names += std::string(call) + " "; });
    }
    std::string take() { return std::exchange(names, {}); }
    std::string names;
};

/// Copied only as long as its owner likes.
struct Fragile {
    explicit Fragile(int v) : value(v) {}
    Fragile(Fragile const& other) : value(other.value)
    {
        if (!may_be_copied)
            throw std::runtime_error("no copy");
    }
    Fragile(Fragile&&) = default;
    Fragile& operator=(Fragile const&) = default;
    Fragile& operator=(Fragile&&) = default;
    int value;
    static inline bool may_be_copied{true};
};

TEST_CASE("a state that cannot be copied is not remembered", "[policies][optimistic_versioning]")
{
    StateCache<Fragile> cache{2};
    Key const key{"a"};
    cache.put(key, Fragile{1}, 1, 0);
    CHECK(cache.find(key)->value.value == 1);
    Fragile::may_be_copied = false;
    cache.put(key, Fragile{2}, 2, 0);
    cache.put(Key{"b"}, Fragile{3}, 3, 0);
    Fragile::may_be_copied = true;
    CHECK_FALSE(cache.find(key));
    CHECK_FALSE(cache.find(Key{"b"}));
    cache.put(key, Fragile{4}, 4, 0);
    CHECK(cache.find(key)->value.value == 4);
}

TEST_CASE("a remembered state saves the load, and is never believed", "[policies][optimistic_versioning]")
{
    Repository const inner;
    inner.insert(Stock{"a", 10}).value();
    BlockingRepository<Repository> const store{inner};
    Calls calls{store};
    TransactionService const service{OptimisticVersioning{.remember = 2}, store};
    auto const take_one = [](Stock& s) {
        if (s.quantity == 0)
            throw std::runtime_error("none left");
        return --s.quantity;
    };
    auto const somebody_else_sets = [&](int quantity) {
        auto now = inner.load("a").value();
        now.value.quantity = quantity;
        inner.compare_and_set(Key{"a"}, now.version, now.value).value();
    };

    CHECK(service.do_in_transaction("a", take_one) == 9);
    CHECK(calls.take() == "load compare_and_set ");
    CHECK(service.do_in_transaction("a", take_one) == 8);
    CHECK(calls.take() == "compare_and_set ");

    SECTION("a write that comes between is not lost")
    {
        somebody_else_sets(100);
        CHECK(service.do_in_transaction("a", take_one) == 99);
        CHECK(calls.take() == "compare_and_set load compare_and_set ");
    }
    SECTION("an exception about a state that is gone is not believed")
    {
        service.do_in_transaction("a", [](Stock& s) { s.quantity = 0; });
        somebody_else_sets(5);
        calls.take();
        CHECK(service.do_in_transaction("a", take_one) == 4);
        CHECK(calls.take() == "load compare_and_set ");
        service.do_in_transaction("a", [](Stock& s) { s.quantity = 0; });
        calls.take();
        CHECK_THROWS_AS(service.do_in_transaction("a", take_one), std::runtime_error);
        CHECK(calls.take() == "load ");
    }
    SECTION("a result that was read from a state that is gone is not believed")
    {
        somebody_else_sets(77);
        CHECK(service.do_in_transaction("a", [](Stock& s) { return s.quantity; }) == 77);
        CHECK(calls.take() == "load ");
    }
    SECTION("an operation id is written together with the commit")
    {
        CHECK(service.do_in_transaction(OperationId{"op"}, "a", take_one) == 7);
        CHECK(calls.take() == "find_operation commit ");
        CHECK(service.do_in_transaction(OperationId{"op"}, "a", take_one) == 7);
        CHECK(inner.load("a").value().value.quantity == 7);
    }
    SECTION("a state that was erased meanwhile is not_found")
    {
        inner.erase(Key{"a"}, inner.load("a").value().version).value();
        CHECK(service.try_do_in_transaction("a", take_one).errc() == Errc::not_found);
        inner.insert(Stock{"a", 3}).value();
        CHECK(service.do_in_transaction("a", take_one) == 2);
    }
    SECTION("only the configured number of states is remembered")
    {
        inner.insert(Stock{"b", 1}).value();
        inner.insert(Stock{"c", 1}).value();
        service.do_in_transaction("b", take_one);
        service.do_in_transaction("c", take_one);
        calls.take();
        service.do_in_transaction("a", take_one);
        CHECK(calls.take() == "load compare_and_set ");
    }
    SECTION("with a single attempt nothing is remembered")
    {
        TransactionService const once{OptimisticVersioning{.max_attempts = 1, .remember = 2}, store};
        once.do_in_transaction("a", take_one);
        calls.take();
        once.do_in_transaction("a", take_one);
        CHECK(calls.take() == "load compare_and_set ");
    }
}

}  // namespace optimistic_versioning_test
