// SPDX-License-Identifier: BSL-1.0

// Every call on the memory backend that waits, blocking and asynchronous, for somebody who never lets go: it
// ends by its deadline, and leaves the line.

#include <interlock/backends/memory/idempotency_store.hpp>
#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/idempotency_keys.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/use_future.hpp>

#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <array>
#include <chrono>
#include <future>
#include <optional>
#include <string>
#include <utility>

namespace memory_deadlines_test {

using namespace interlock;
using namespace std::chrono_literals;
using boost::asio::use_future;
using interlock_test::error_thrown_by;
using interlock_test::Stock;
using interlock_test::time_of;
using interlock_test::told_to_handler;

constexpr auto deadline = 300ms;
constexpr auto margin = 2s;  // for a busy machine

template <class F>
void ends_in_time(std::string const& name, F call)
{
    CAPTURE(name);
    auto came_to = Errc::ok;
    auto const took = time_of([&] { came_to = call(); });
    CHECK(came_to == Errc::deadline_exceeded);
    CHECK(took >= deadline);
    CHECK(took < deadline + margin);
}

/// `ok` when there is no answer, which nobody expects.
template <class Future>
Errc answer_of(Future future)
{
    if (future.wait_for(20s) != std::future_status::ready)
        return Errc::ok;
    return future.get().errc();
}

/// A call of `service`, in both ways.
template <class Service>
void both_ways_end_in_time(std::string const& name, Service const& service)
{
    auto const change = [](Stock& s) { return ++s.quantity; };
    CallOptions const options{.deadline = deadline};
    ends_in_time(name, [&] { return service.try_do_in_transaction("x", change, options).errc(); });
    ends_in_time(name + ", asynchronous", [&] {
        return answer_of(service.async_try_do_in_transaction("x", change, options, use_future));
    });
    ends_in_time(name + ", with an id", [&] {
        return service.try_do_in_transaction(OperationId{"id"}, "x", change, options).errc();
    });
    ends_in_time(name + ", with an id, asynchronous", [&] {
        return answer_of(
            service.async_try_do_in_transaction(OperationId{"id"}, "x", change, options, use_future));
    });
}

TEST_CASE("a row that is never unlocked is waited for until the deadline", "[memory][deadlines]")
{
    memory::StateRepository<Stock> const stock;
    REQUIRE(stock.insert(Stock{"x", 1}));
    Key const x{"x"};
    std::array const rows{&x};
    auto held = stock.load_for_update(rows, Wait::no);
    REQUIRE(held);
    ends_in_time("load_for_update", [&] {
        return stock.load_for_update(rows, Wait::until_deadline, deadline).errc();
    });
    both_ways_end_in_time("row lock", TransactionService{PessimisticRowLock{}, stock});
    CHECK(stock.waiter_count() == 0);
    held->rollback();
    CHECK(TransactionService{PessimisticRowLock{}, stock}.try_do_in_transaction(
        "x", [](Stock& s) { return ++s.quantity; }));
}

TEST_CASE("a lock that is never released is waited for until the deadline", "[memory][deadlines]")
{
    memory::StateRepository<Stock> const stock;
    REQUIRE(stock.insert(Stock{"x", 1}));
    LockStateService const holder{stock};
    std::optional held{holder.acquire("x")};
    // Of the same service, where the wait is a local one, and of another, whose wait is the store's.
    for (auto const& locks : {holder, LockStateService{stock}}) {
        ends_in_time("acquire", [&] {
            return error_thrown_by([&] { return locks.acquire("x", {.deadline = deadline}); });
        });
        ends_in_time("acquire, asynchronous", [&] {
            return told_to_handler([&](auto handler) {
                locks.async_acquire("x", AcquireOptions{.deadline = deadline}, std::move(handler));
            });
        });
        both_ways_end_in_time("lock", TransactionService{SetNxLock{}, locks});
    }
    REQUIRE(holder.release(std::move(*held)));
    CHECK(LockStateService{stock}.try_acquire("x"));
}

TEST_CASE("a request that somebody else never ends is waited for until the deadline", "[memory][deadlines]")
{
    memory::StateRepository<Stock> const stock;
    REQUIRE(stock.insert(Stock{"x", 1}));
    memory::IdempotencyStore const store;
    IdempotentRequest const request{"r", Scope("tenant"), fingerprint("body")};
    REQUIRE(store.claim(request, OwnerToken{{1, 1}}, 60s, AfterLease::take_over));
    TransactionService const service{
        IdempotencyKeys{OptimisticVersioning{}, store, IdempotencyOptions{.duplicates = Duplicates::wait}},
        stock};
    auto const change = [](Stock& s) { return ++s.quantity; };
    CallOptions const options{.deadline = deadline};
    ends_in_time(
        "a duplicate", [&] { return service.try_do_in_transaction(request, "x", change, options).errc(); });
    ends_in_time("a duplicate, asynchronous", [&] {
        return answer_of(service.async_try_do_in_transaction(request, "x", change, options, use_future));
    });
    REQUIRE(store.give_back(request, OwnerToken{{1, 1}}));
    CHECK(service.try_do_in_transaction(request, "x", change));
}

}  // namespace memory_deadlines_test
