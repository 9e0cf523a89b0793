// SPDX-License-Identifier: BSL-1.0

// The n-th allocation fails, for every n, in calls on their caller's thread: nothing is changed, or it
// is said that it was; nothing leaks and no key stays stuck.

#include <interlock/backends/memory/event_repository.hpp>
#include <interlock/interlock.hpp>

#include <boost/describe/class.hpp>

#include "support/blocking_repository.hpp"
#include "support/catch.hpp"
#include "support/started_repository.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

namespace {
namespace allocation_failure {

constexpr std::int64_t never = -1;
thread_local std::int64_t allocations_left = never;
thread_local bool no_memory = false;  // on this thread, until it is said that there is some again

/// As long as it lives no allocation of this thread succeeds.
struct WithoutMemory {
    WithoutMemory() { no_memory = true; }
    WithoutMemory(WithoutMemory const&) = delete;
    WithoutMemory& operator=(WithoutMemory const&) = delete;
    ~WithoutMemory() { no_memory = false; }
};

void* allocate(std::size_t size)
{
    if (no_memory)
        throw std::bad_alloc();
    if (allocations_left != never && allocations_left-- == 0) {
        allocations_left = never;  // one failure: what follows may clean up
        throw std::bad_alloc();
    }
    if (void* const memory = std::malloc(size == 0 ? 1 : size))
        return memory;
    throw std::bad_alloc();
}

}  // namespace allocation_failure
}  // namespace

void* operator new(std::size_t size)
{
    return allocation_failure::allocate(size);
}
void* operator new[](std::size_t size)
{
    return allocation_failure::allocate(size);
}
void* operator new(std::size_t size, std::nothrow_t const&) noexcept
{
    return std::malloc(size == 0 ? 1 : size);
}
void* operator new[](std::size_t size, std::nothrow_t const&) noexcept
{
    return std::malloc(size == 0 ? 1 : size);
}
void operator delete(void* memory) noexcept
{
    std::free(memory);
}
void operator delete[](void* memory) noexcept
{
    std::free(memory);
}
void operator delete(void* memory, std::nothrow_t const&) noexcept
{
    std::free(memory);
}
void operator delete[](void* memory, std::nothrow_t const&) noexcept
{
    std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept
{
    std::free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept
{
    std::free(memory);
}

namespace {
namespace allocation_failure {

using namespace std::chrono_literals;
using interlock::OperationId;

struct Page {
    std::string id;
    std::string text;
};
BOOST_DESCRIBE_STRUCT(Page, (), (id, text))

using Repository = interlock::memory::StateRepository<Page>;
using Locks = interlock::LockStateService<Page, Repository, interlock::Assurance::fenced>;

char const* const first_key = "the first key, too long for a small string";
char const* const second_key = "the second key, too long for a small string";
std::string const before(100, 'b');
std::string const after(200, 'a');

/// Calls `call` with the n-th allocation failing, for all n until none fails, and `check(failed)` after.
template <class Call, class Check>
void fail_each_allocation(Call call, Check check)
{
    for (std::int64_t n = 0;; ++n) {
        bool failed = false;
        allocations_left = n;
        try {
            call();
        } catch (std::bad_alloc const&) {
            failed = true;
        } catch (interlock::Error const& error) {
            // A call of the store that ran out of memory: not applied, or unknown where the commit had begun.
            CHECK(
                (error.code() == interlock::make_error_code(interlock::Errc::overloaded) ||
                 error.code() == interlock::make_error_code(interlock::Errc::outcome_unknown)));
            failed = true;
        }
        bool const reached = allocations_left == never;
        allocations_left = never;
        INFO("allocation " << n);
        check(failed);
        if (!reached)
            return;
        REQUIRE(n < 1000);
    }
}

struct Fixture {
    Fixture()
    {
        REQUIRE(repository.insert(Page{first_key, before}));
        REQUIRE(repository.insert(Page{second_key, before}));
    }

    std::string text(char const* key) const { return repository.load(key).value().value.text; }

    void reset()
    {
        for (auto const* key : {first_key, second_key}) {
            auto const loaded = repository.load(key).value();
            REQUIRE(repository.compare_and_set(key, loaded.version, Page{key, before}));
        }
    }

    /// Nobody holds a lock or a row.
    void check_free(Locks const& locks) const
    {
        for (auto const* key : {first_key, second_key}) {
            CHECK(locks.try_acquire(key));
            interlock::Key const name{std::string{key}};
            auto const* const names = &name;
            CHECK(repository.load_for_update({&names, 1}, interlock::Wait::no));
        }
        CHECK(repository.key_count() == 2);
        CHECK(locks.waiter_count() == 0);
    }

    Repository repository;
};

template <class Policy>
void fail_in_transactions(Policy const& policy)
{
    Fixture fixture;
    Locks const locks{fixture.repository};
    interlock::TransactionService const service{policy, fixture.repository};
    auto const write = [](Page& page) { page.text = after; };
    auto const write_both = [](Page& a, Page& b) {
        a.text = after;
        b.text = after;
    };
    SECTION("one key")
    {
        fail_each_allocation(
            [&] { service.do_in_transaction(first_key, write); },
            [&](bool failed) {
                CHECK(fixture.text(first_key) == (failed ? before : after));
                fixture.check_free(locks);
                fixture.reset();
            });
    }
    SECTION("two keys")
    {
        fail_each_allocation(
            [&] { service.do_in_transaction(interlock::keys(first_key, second_key), write_both); },
            [&](bool failed) {
                CHECK(fixture.text(first_key) == (failed ? before : after));
                CHECK(fixture.text(second_key) == (failed ? before : after));
                fixture.check_free(locks);
                fixture.reset();
            });
    }
    SECTION("an operation id")
    {
        int round = 0;
        std::string id;
        id.reserve(100);
        fail_each_allocation(
            [&] {
                service.do_in_transaction(
                    OperationId{id = "the operation with number " + std::to_string(++round)}, first_key,
                    write);
            },
            [&](bool failed) {
                CHECK(fixture.text(first_key) == (failed ? before : after));
                fixture.check_free(locks);
                if (!id.empty()) {  // asking again is safe
                    auto const again = service.try_do_in_transaction(OperationId{id}, first_key, write);
                    CHECK(again);
                    CHECK((failed || again.replayed()));
                    CHECK(fixture.text(first_key) == after);
                }
                fixture.reset();
            });
    }
}

}  // namespace allocation_failure
}  // namespace

TEST_CASE("An optimistic transaction survives every failing allocation", "[interleaving][allocation]")
{
    allocation_failure::fail_in_transactions(interlock::OptimisticVersioning{});
}

TEST_CASE("A row lock transaction survives every failing allocation", "[interleaving][allocation]")
{
    allocation_failure::fail_in_transactions(interlock::PessimisticRowLock{});
}

TEST_CASE("A lease transaction survives every failing allocation", "[interleaving][allocation]")
{
    allocation_failure::fail_in_transactions(interlock::SetNxLock{});
}

TEST_CASE("Locks survive every failing allocation", "[interleaving][allocation]")
{
    using namespace allocation_failure;
    Fixture fixture;
    Locks const locks{fixture.repository};
    SECTION("acquire and release")
    {
        fail_each_allocation(
            [&] {
                auto lock = locks.acquire(first_key);
                static_cast<void>(locks.release(std::move(lock)));
            },
            [&](bool) { fixture.check_free(locks); });
    }
    SECTION("renew")
    {
        auto lock = locks.acquire(first_key);
        fail_each_allocation(
            [&] { static_cast<void>(lock.ensure(9800ms)); },
            [&](bool) { CHECK(lock.status() != interlock::LockStatus::lost); });
        CHECK(locks.release(lock));
        fixture.check_free(locks);
    }
    SECTION("write")
    {
        auto const lock = locks.acquire(first_key);
        Page const page{first_key, after};
        fail_each_allocation(
            [&] {
                static_cast<void>(
                    locks.write(lock, fixture.repository.load(first_key).value().version, page));
            },
            [&](bool failed) {
                CHECK(fixture.text(first_key) == (failed ? before : after));
                auto const loaded = fixture.repository.load(first_key).value();
                REQUIRE(
                    fixture.repository.compare_and_set(first_key, loaded.version, Page{first_key, before}));
            });
    }
}

namespace {
namespace allocation_failure {

/// A granted lock ends by a call that reports, on a thread without memory.
template <class Service>
void release_without_memory(Service const& locks)
{
    auto lock = locks.acquire(first_key);
    interlock::Outcome<void> released;
    {
        WithoutMemory const here;
        released = locks.release(lock);
    }
    CHECK(released);
}

/// A granted lock ends with its handle, on a thread without memory.
template <class Service>
void drop_without_memory(Service const& locks)
{
    std::optional lock{locks.acquire(first_key)};
    WithoutMemory const here;
    lock.reset();
}

/// Long before the lease of 10 s is over, so that it was not the lease that ended.
template <class Service>
void check_free_soon(Service const& locks)
{
    CHECK(interlock_test::eventually([&] { return locks.try_acquire(first_key).has_value(); }, 3s));
}

}  // namespace allocation_failure
}  // namespace

TEST_CASE("A granted lock is released and reported although no memory is left", "[interleaving][allocation]")
{
    using namespace allocation_failure;
    Fixture fixture;
    Locks const locks{fixture.repository};
    SECTION("by a call that reports")
    {
        release_without_memory(locks);
    }
    SECTION("by the destructor of its handle")
    {
        drop_without_memory(locks);
        interlock::OwnerToken const somebody{{1, 1}};
        interlock::Key const name{std::string{first_key}};
        CHECK(fixture.repository.remove(name, somebody).value() == interlock::Removal::gone);
    }
    fixture.check_free(locks);
}

TEST_CASE(
    "A lock of a store that blocks is released soon although no memory was left at its end",
    "[interleaving][allocation]")
{
    using namespace allocation_failure;
    Fixture fixture;
    interlock_test::BlockingRepository const store{fixture.repository};
    interlock::LockStateService const locks{store};
    std::atomic<std::thread::id> destroys{};
    std::atomic<int> removed_here{0};
    store.before_calls([&](std::string_view member) {
        if (member == "remove" && std::this_thread::get_id() == destroys)
            ++removed_here;
    });
    SECTION("by a call that reports")
    {
        release_without_memory(locks);
    }
    SECTION("by the destructor of its handle, which leaves the trip to another thread")
    {
        destroys = std::this_thread::get_id();
        drop_without_memory(locks);
        CHECK(removed_here == 0);
    }
    check_free_soon(Locks{fixture.repository});
}

TEST_CASE(
    "A lock of a store that starts its calls is released soon although no memory was left at its end",
    "[interleaving][allocation]")
{
    using namespace allocation_failure;
    Fixture fixture;
    interlock_test::StartedRepository const store{fixture.repository};
    interlock::LockStateService const locks{store};
    drop_without_memory(locks);
    check_free_soon(Locks{fixture.repository});
    check_free_soon(locks);
    CHECK(store.started() > 0);
}

TEST_CASE(
    "An append in memory for which no memory was left uses up no room for a stream",
    "[interleaving][allocation]")
{
    using namespace allocation_failure;
    interlock::NewEvent event;
    event.type = "sold";
    event.data.assign(100, 'x');
    std::int64_t failed = 0;
    for (bool done = false; !done; ++failed) {
        interlock::memory::EventRepository const events{{.max_streams = 1}};
        allocations_left = failed;
        try {
            done = events.append(interlock::Key{"a"}, interlock::Expected::any(), {&event, 1}).has_value();
        } catch (std::bad_alloc const&) {
        }
        allocations_left = never;
        auto const other = events.append(interlock::Key{"b"}, interlock::Expected::any(), {&event, 1});
        CHECK(other.has_value() == !done);
        CHECK(events.extent(0).value().last == 1);
    }
    CHECK(failed > 3);
}
