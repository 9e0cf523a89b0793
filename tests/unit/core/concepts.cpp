// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/memory/idempotency_store.hpp>
#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/contracts/any_idempotency_store.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/state_repository.hpp>

#include "support/blocking_repository.hpp"
#include "support/catch.hpp"
#include "support/states.hpp"

#include <memory>
#include <utility>

namespace concepts_test {

using namespace interlock;
using interlock_test::BlockingRepository;
using interlock_test::Stock;

using Memory = memory::StateRepository<Stock>;
using Blocking = BlockingRepository<Memory>;
using Erased = StateRepository<Stock>;

template <class R>
constexpr bool models_everything =
    VersionedRepository<R> && AtomicRepository<R> && OperationRepository<R> && RowLockingRepository<R> &&
    LeaseRepository<R> && FencedRepository<R> && FusedRepository<R>;
static_assert(models_everything<Memory>);
static_assert(models_everything<Blocking>);
static_assert(models_everything<Erased>);
static_assert(IdempotencyStore<memory::IdempotencyStore> && IdempotencyStore<AnyIdempotencyStore>);

// Taking one verb away takes away the concepts that need it, and no other.
struct WithoutCommit : Blocking {
    using Blocking::Blocking;
    using Blocking::carry_out;
    void carry_out(verb::Commit<Stock> const&, Deadline) const = delete;
};
static_assert(
    VersionedRepository<WithoutCommit> && LeaseRepository<WithoutCommit> &&
    RowLockingRepository<WithoutCommit>);
static_assert(
    !AtomicRepository<WithoutCommit> && !OperationRepository<WithoutCommit> &&
    !FencedRepository<WithoutCommit>);

struct WithoutFence : Blocking {
    using Blocking::Blocking;
    using Blocking::carry_out;
    void carry_out(verb::VerifyFencing const&, Deadline) const = delete;
};
static_assert(LeaseRepository<WithoutFence> && OperationRepository<WithoutFence>);
static_assert(!FencedRepository<WithoutFence> && !FusedRepository<WithoutFence>);

struct WithoutRows : Blocking {
    using Blocking::Blocking;
    using Blocking::carry_out;
    void carry_out(verb::LoadForUpdate<transaction_type> const&, Deadline) const = delete;
};
static_assert(FusedRepository<WithoutRows> && !RowLockingRepository<WithoutRows>);

static_assert(
    SubscribableRepository<Memory> && SubscribableRepository<Erased> && !SubscribableRepository<Blocking>);

TEST_CASE("a handle says whether its store blocks, and whether it wakes waiters", "[core][concepts]")
{
    Memory const memory;
    Blocking const blocking{memory};
    CHECK(runs_in_place(memory));
    CHECK(wakes_waiters(memory));
    CHECK_FALSE(runs_in_place(blocking));
    CHECK_FALSE(wakes_waiters(blocking));
    // Chosen at run time it is known at run time.
    CHECK(runs_in_place(Erased{memory}));
    CHECK(wakes_waiters(Erased{memory}));
    CHECK_FALSE(runs_in_place(Erased{blocking}));
    CHECK_FALSE(wakes_waiters(Erased{blocking}));
}

TEST_CASE("a wake-up fires exactly once, at the latest in its destructor", "[core][concepts]")
{
    struct Counting final : Waiter {
        void wake() noexcept override { ++woken; }
        int woken{0};
    };
    auto const waiter = std::make_shared<Counting>();
    {
        Wakeup wakeup{waiter};
        wakeup.fire();
        CHECK(waiter->woken == 1);
    }
    CHECK(waiter->woken == 1);
    {
        Wakeup wakeup{waiter};
        Wakeup const moved{std::move(wakeup)};
    }
    CHECK(waiter->woken == 2);
    Wakeup other;
    {
        Wakeup first{waiter};
        first = Wakeup{waiter};  // the one before is given
        CHECK(waiter->woken == 3);
        other = std::move(first);
    }
    CHECK(waiter->woken == 3);
    other.fire();
    CHECK(waiter->woken == 4);
    CHECK(waiter.use_count() == 1);
}

}  // namespace concepts_test
