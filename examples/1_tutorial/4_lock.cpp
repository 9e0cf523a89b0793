// SPDX-License-Identifier: BSL-1.0

// Shows the distributed critical section by its names: a LockStateService gives out a Lock on a state, one
// holder at a time, and a holder who has lost it is stopped, and refused by the store even if he does not
// notice.
// Needs: nothing; put another repository in its place and the section spans machines.
// Run with: 4_lock

#include <interlock/core/format.hpp>
#include <interlock/interlock.hpp>

#include <boost/describe.hpp>
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <future>
#include <stop_token>
#include <string>

namespace il = interlock;
using namespace std::chrono_literals;

struct Order {
    std::string id;
    std::string status;
};
BOOST_DESCRIBE_STRUCT(Order, (), (id, status))

void check(bool ok)  // like assert, but in release builds, too
{
    if (!ok)
        std::abort();
}

int main()
{
    il::memory::StateRepository<Order> orders;
    auto const first_version = orders.insert({"order-7", "paid"}).value();

    // A lease ends by itself when its holder dies. While he lives it is renewed every third of the ttl.
    il::LockStateService locks{orders, {.ttl = 500ms}};

    // ---- acquire, try, release
    auto lock = locks.acquire("order-7");
    fmt::print("holding {} under token {}\n", lock.state().id, lock.fencing_token());
    auto const first_token = lock.fencing_token();
    check(!locks.try_acquire("order-7"));    // somebody holds it: us
    check(locks.release(lock).has_value());  // reports; the destructor would release as well, silently
    if (auto again = locks.try_acquire("order-7")) {
        // Hand the token to whatever you change outside the store: it can refuse tokens lower than it has
        // seen.
        check(again->fencing_token() > first_token);
    } else {
        check(false);
    }

    // ---- the same around an operation: acquire, run, release
    il::TransactionService service{il::SetNxLock{}, locks};
    service.do_in_transaction("order-7", [&](il::Lock<Order>& held) {
        check(held.status() == il::LockStatus::held);
        check(held.state().id == "order-7" && held.fencing_token() > first_token);
    });

    // ---- losing it
    auto doomed = locks.acquire("order-7");
    std::promise<void> told;
    std::stop_callback const on_loss(doomed.stop_token(), [&] { told.set_value(); });
    il::Key const key{std::string("order-7")};
    check(orders.force_release(key).has_value());  // an operator, or a store that forgot
    told.get_future().wait();                      // at the next renewal
    fmt::print("lost, because it was {}\n", doomed.lost_reason());
    check(doomed.status() == il::LockStatus::lost);

    // Its late write is refused, whoever holds the lock by now; the new holder's is not.
    auto successor = locks.acquire("order-7");
    check(locks.write(doomed, first_version, {"order-7", "shipped twice"}).errc() == il::Errc::lock_lost);
    check(locks.write(successor, first_version, {"order-7", "shipped"}).value() == first_version + 1);

    // The store decides that, not a flag in this process: the fence alone is enough to be refused.
    Order const late{"order-7", "shipped twice"};
    auto const fence = doomed.fence();
    il::Change<Order> change{.key = &key, .version = first_version + 1, .value = &late, .fence = &fence};
    check(orders.commit({&change, 1}, nullptr).errc() != il::Errc::ok);

    auto const now = orders.load("order-7").value();
    fmt::print("{} is {}\n", now.value.id, now.value.status);
    check(now.value.status == "shipped");
}
