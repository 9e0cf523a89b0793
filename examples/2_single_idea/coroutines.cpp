// SPDX-License-Identifier: BSL-1.0

// Shows coroutines: the caller is one, and so is the operation, which holds a lock while it awaits somebody
// else's system.
// Needs: nothing.
// Run with: coroutines

#include <interlock/interlock.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/describe.hpp>
#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <future>
#include <string>
#include <vector>

namespace asio = boost::asio;
namespace il = interlock;
using namespace std::chrono_literals;

struct Order {
    std::string id;
    int charged = 0;
};
BOOST_DESCRIBE_STRUCT(Order, (), (id, charged))

struct Account {
    std::string id;
    int balance = 0;
};
BOOST_DESCRIBE_STRUCT(Account, (), (id, balance))

struct Receipt {
    std::string order;
    std::uint64_t token = 0;
};

/// Somebody else's system. It remembers the highest token, so that a customer who was paused cannot come
/// late.
struct Bank {
    std::uint64_t highest = 0;
    int busy = 0;

    asio::awaitable<Receipt> charge(Order const& order, il::FencingToken token)
    {
        if (++busy > 1 || token.value() <= highest)
            std::abort();  // two at once, or too late: the lock is there to prevent it
        highest = token.value();
        asio::steady_timer network(co_await asio::this_coro::executor, 1ms);
        co_await network.async_wait(asio::use_awaitable);
        --busy;
        co_return Receipt{order.id, token.value()};
    }
};

using Service = il::TransactionService<Order, il::SetNxLock, il::memory::StateRepository<Order>>;

asio::awaitable<Receipt> pay(Service service, Bank& bank, std::string order_id)
{
    // Named, not written inside the co_await: g++ 12 destroys such a temporary twice. The library refuses it
    // there.
    auto charge = [&](il::Lock<Order>& lock) -> asio::awaitable<Receipt> {
        co_return co_await bank.charge(lock.state(), lock.fencing_token());
    };
    co_return co_await service.async_do_in_transaction(order_id, charge, asio::use_awaitable);
}

using Accounts =
    il::TransactionService<Account, il::OptimisticVersioning, il::memory::StateRepository<Account>>;

/// A transaction within a transaction: the inner one commits by itself.
asio::awaitable<void> charge(Service service, Accounts accounts, std::string order_id)
{
    // #region within
    il::OperationId const id{"charge-" + order_id};
    auto take = [](Account& account) { account.balance -= 5; };
    auto pay = [&](Order& order, il::TransactionContext& context) -> asio::awaitable<void> {
        co_await accounts.async_do_in_transaction(id, "ann", take, {.within = context}, asio::use_awaitable);
        order.charged += 5;
    };
    co_await service.async_do_in_transaction(order_id, pay, {.deadline = 2s}, asio::use_awaitable);
    // #endregion within
}

void check(bool ok)  // like assert, but in release builds, too
{
    if (!ok)
        std::abort();
}

int main()
{
    il::memory::StateRepository<Order> orders;
    Service const service{il::SetNxLock{}, orders};

    Bank bank;
    asio::thread_pool pool(2);
    std::vector<std::future<Receipt>> payments;
    for (int i = 0; i < 10; ++i)
        payments.push_back(asio::co_spawn(pool, pay(service, bank, "order-7"), asio::use_future));
    std::uint64_t last = 0;
    for (auto& payment : payments) {
        auto const receipt = payment.get();
        check(receipt.order == "order-7" && receipt.token != last);
        last = receipt.token;
    }
    pool.join();
    fmt::print("10 payments, one at a time, the last under token {}\n", bank.highest);
    check(bank.busy == 0);

    // A coroutine that works on the value itself: what it leaves in the state is written under the lock's
    // fence.
    orders.insert({"order-8", 0}).value();
    asio::thread_pool another(1);
    auto note = [](Order& order) -> asio::awaitable<int> { co_return order.charged += 5; };
    auto done =
        service.async_do_in_transaction("order-8", note, asio::bind_executor(another, asio::use_future));
    check(done.get() == 5 && orders.load("order-8").value().value.charged == 5);

    il::memory::StateRepository<Account> accounts;
    accounts.insert({"ann", 20}).value();
    Accounts const of_accounts{il::OptimisticVersioning{}, accounts};
    asio::co_spawn(another, charge(service, of_accounts, "order-8"), asio::use_future).get();
    check(accounts.load("ann").value().value.balance == 15);
    check(orders.load("order-8").value().value.charged == 10);
}
