// SPDX-License-Identifier: BSL-1.0

// Shows the pessimistic way: the row is locked before the operation sees it, so that the operation runs once
// and others queue, or give up at once if they like.
// Needs: nothing.
// Run with: 3_row_lock

#include <interlock/interlock.hpp>

#include <boost/describe.hpp>
#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <future>
#include <string>
#include <vector>

namespace il = interlock;
using namespace std::chrono_literals;

struct Account {
    std::string owner;
    int balance = 0;
};
BOOST_DESCRIBE_STRUCT(Account, (), (owner, balance))

void check(bool ok)  // like assert, but in release builds, too
{
    if (!ok)
        std::abort();
}

int main()
{
    il::memory::StateRepository<Account> accounts;
    accounts.insert({"ann", 1000}).value();

    // Only the policy differs from the first two steps.
    il::TransactionService service{il::PessimisticRowLock{}, accounts};
    std::atomic<int> runs{0};
    std::vector<std::future<void>> tellers;
    for (int i = 0; i < 4; ++i)
        tellers.push_back(std::async(std::launch::async, [&] {
            for (int n = 0; n < 100; ++n)
                service.do_in_transaction("ann", [&](Account& account) {
                    ++runs;  // exactly once: whoever comes meanwhile waits in line
                    --account.balance;
                });
        }));
    for (auto& teller : tellers)
        teller.get();
    check(runs == 400 && accounts.load("ann").value().value.balance == 600);

    // Somebody who would rather do something else than wait.
    il::TransactionService impatient{il::PessimisticRowLock{.wait = il::Wait::no}, accounts};
    service.do_in_transaction("ann", [&](Account& account) {
        account.balance -= 100;
        auto other = std::async(std::launch::async, [&] {
            return impatient.try_do_in_transaction("ann", [](Account& a) { a.balance = 0; });
        });
        check(other.get().errc() == il::Errc::lock_busy);
    });

    // Somebody who waits, but not for ever. The deadline bounds everything except the operation itself.
    service.do_in_transaction("ann", [&](Account&) {
        auto other = std::async(std::launch::async, [&] {
            return service.try_do_in_transaction(
                "ann", [](Account& a) { a.balance = 0; }, {.deadline = 20ms});
        });
        check(other.get().errc() == il::Errc::deadline_exceeded);
    });

    // An operation that asks for a row which its own caller holds is told so instead of waiting for itself.
    service.do_in_transaction("ann", [&](Account&) {
        auto const again = service.try_do_in_transaction("ann", [](Account& a) { a.balance = 0; });
        check(again.errc() == il::Errc::would_deadlock);
    });

    auto const left = accounts.load("ann").value().value.balance;
    fmt::print("{} left\n", left);
    check(left == 500);
}
