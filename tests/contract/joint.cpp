// SPDX-License-Identifier: BSL-1.0

// What a `JointRepository` promises: states of two types change together, or neither does.

#include <interlock/core/contracts/joint_repository.hpp>
#include <interlock/core/kit/place.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "contract/backends.hpp"
#include "contract/joint_shop.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/threads.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#ifdef INTERLOCK_TESTS_CONTRACT_JOINT

namespace contract {
namespace {

namespace joint_laws {

namespace asio = boost::asio;
using namespace interlock;
using namespace std::chrono_literals;
using contract::joint::Shop;
using interlock_test::Account;

}  // namespace joint_laws

TEMPLATE_LIST_TEST_CASE("States of two types change together", "[joint]", JointBackends)
{
    using namespace joint_laws;
    Shop<TestType> const shop;
    auto const service = shop.service();
    int const left = service.do_in_transaction(shop.both(), [](Stock& stock, Account& account) {
        account.balance -= 5;
        return --stock.quantity;
    });
    CHECK(left == 9);
    CHECK(shop.left() == 9);
    CHECK(shop.balance() == 95);

    SECTION("or neither does, when the operation throws")
    {
        CHECK_THROWS_AS(
            service.do_in_transaction(
                shop.both(),
                [](Stock& stock, Account& account) {
                    --stock.quantity;
                    --account.balance;
                    throw std::runtime_error("no");
                }),
            std::runtime_error);
        CHECK(shop.left() == 9);
        CHECK(shop.balance() == 95);
    }
    SECTION("one of them alone, too")
    {
        service.do_in_transaction(in(shop.accounts, 1), [](Account& account) { account.balance = 7; });
        CHECK(shop.balance() == 7);
    }
    SECTION("two of one type")
    {
        static_cast<void>(shop.stock.insert(Stock{"sku-2", 0}).value());
        service.do_in_transaction(
            keys(in(shop.stock, "sku-1"), in(shop.accounts, 1), in(shop.stock, "sku-2")),
            [](Stock& from, Account const& account, Stock& to) {
                from.quantity -= 2;
                to.quantity += account.balance == 95 ? 2 : 1000;
            });
        CHECK(shop.left() == 7);
        CHECK(shop.stock.load("sku-2").value().value.quantity == 2);
    }
    SECTION("and not when one of them gets another key")
    {
        auto const renamed = service.try_do_in_transaction(shop.both(), [](Stock& stock, Account& account) {
            --stock.quantity;
            account.id = 2;
        });
        CHECK(renamed.errc() == Errc::invalid_argument);
        CHECK(shop.left() == 9);
    }
    SECTION("and not when one is named twice")
    {
        auto const twice = service.try_do_in_transaction(
            keys(in(shop.stock, "sku-1"), in(shop.stock, "sku-1")), [](Stock&, Stock&) {});
        CHECK(twice.errc() == Errc::invalid_argument);
    }
}

TEMPLATE_LIST_TEST_CASE(
    "A change of either state by another client makes both run again", "[joint]", JointBackends)
{
    using namespace joint_laws;
    Shop<TestType> const shop;
    bool const changes_stock = GENERATE(true, false);
    int runs = 0;
    shop.service().do_in_transaction(shop.both(), [&](Stock& stock, Account& account) {
        if (++runs == 1)
            interlock_test::run_threads(1, [&](auto) {
                TransactionService const stocks{OptimisticVersioning{}, shop.other_stock};
                TransactionService const accounts{OptimisticVersioning{}, shop.other_accounts};
                if (changes_stock)
                    stocks.do_in_transaction("sku-1", [](Stock& other) { other.quantity += 100; });
                else
                    accounts.do_in_transaction(1, [](Account& other) { other.balance += 100; });
            });
        // What is only read counts as well: the other one is written.
        if (changes_stock)
            account.balance = stock.quantity;
        else
            stock.quantity = static_cast<int>(account.balance);
    });
    CHECK(runs == 2);
    CHECK(shop.left() == (changes_stock ? 110 : 200));
    CHECK(shop.balance() == (changes_stock ? 110 : 200));

    SECTION("and with one attempt neither is written")
    {
        bool once = false;
        auto const lost =
            shop.service({.max_attempts = 1})
                .try_do_in_transaction(shop.both(), [&](Stock& stock, Account& account) {
                    if (!std::exchange(once, true))
                        interlock_test::run_threads(1, [&](auto) {
                            shop.other_service().do_in_transaction(
                                in(shop.other_accounts, 1), [](Account& other) { other.balance = 1; });
                        });
                    stock.quantity = 0;
                    account.balance = 0;
                });
        CHECK(lost.errc() == Errc::version_conflict);
        CHECK(shop.left() != 0);
        CHECK(shop.balance() == 1);
    }
}

TEMPLATE_LIST_TEST_CASE("One operation id has one effect on both states", "[joint]", JointBackends)
{
    using namespace joint_laws;
    Shop<TestType> const shop;
    OperationId const id{"order-1"};
    auto const buy = [](Stock& stock, Account& account) {
        account.balance -= 5;
        return --stock.quantity;
    };
    CHECK(shop.service().do_in_transaction(id, shop.both(), buy) == 9);
    CHECK(shop.service().do_in_transaction(id, shop.both(), buy) == 9);
    // Another program names them in another order, and comes with the same id.
    auto const again = shop.other_service().try_do_in_transaction(
        id, shop.both_of_other(), [&](Account& account, Stock& stock) { return buy(stock, account); });
    REQUIRE(again);
    CHECK(*again == 9);
    CHECK(again.replayed());
    CHECK(shop.left() == 9);
    CHECK(shop.balance() == 95);

    SECTION("and a straggler that was forbidden changes neither")
    {
        JointRepository const both{shop.stock, shop.accounts};
        TransactionService const service{OptimisticVersioning{.max_attempts = 1}, both};
        OperationId const late{"order-2"};
        bool forbidden = false;
        auto const superseded = service.try_do_in_transaction(
            late, shop.both(), [&](Stock& stock, Account& account, TransactionContext& context) {
                if (!std::exchange(forbidden, true)) {
                    auto const home = std::min(context.keys()[0], context.keys()[1]);
                    static_cast<void>(both.carry_out(verb::ForbidOperation{home, late, 1}, soon).value());
                }
                account.balance = 0;
                return stock.quantity = 0;
            });
        CHECK(superseded.errc() == Errc::superseded);
        CHECK(shop.left() == 9);
        CHECK(shop.balance() == 95);
    }
}

TEMPLATE_LIST_TEST_CASE("A state of two types that is missing", "[joint]", JointBackends)
{
    using namespace joint_laws;
    Shop<TestType> const shop;
    auto const missing = keys(in(shop.stock, "sku-1"), in(shop.accounts, 2));
    auto const buy = [](Stock& stock, Account& account) {
        --stock.quantity;
        --account.balance;
    };
    SECTION("is not found, and named")
    {
        auto const failed = shop.service().try_do_in_transaction(missing, buy);
        CHECK(failed.errc() == Errc::not_found);
        CHECK(shop.left() == 10);
        auto const none = shop.service().try_do_in_transaction(
            keys(in(shop.accounts, 1), in(shop.stock, "none")), [](Account&, Stock&) {});
        CHECK(none.failure().message() == "not_found: " + place_of(shop.stock) + ": none: not_found");
        CHECK(failed.failure().detail() == place_of(shop.accounts) + ": 2: not_found");
    }
    SECTION("is made where the policy says so")
    {
        shop.service({.missing = Missing::create}).do_in_transaction(missing, buy);
        CHECK(shop.left() == 9);
        CHECK(shop.accounts.load(2).value().value.balance == -1);
        Account const named{3, 50, "new"};
        shop.service({.missing = Missing::create})
            .do_in_transaction(
                keys(in(shop.accounts, named), in(shop.stock, "sku-1")),
                [&](Account& a, Stock& s) { buy(s, a); });
        CHECK(shop.accounts.load(3).value().value.balance == 49);
        CHECK(shop.left() == 8);
    }
    SECTION("and is there when somebody else has made it meanwhile")
    {
        int runs = 0;
        shop.service({.missing = Missing::create})
            .do_in_transaction(missing, [&](Stock& stock, Account& account) {
                if (++runs == 1)
                    static_cast<void>(shop.other_accounts.insert(Account{2, 70, ""}).value());
                buy(stock, account);
            });
        CHECK(runs == 2);
        CHECK(shop.left() == 9);
        CHECK(shop.accounts.load(2).value().value.balance == 69);
    }
}

TEMPLATE_LIST_TEST_CASE("Nothing is lost between two types under contention", "[joint]", JointBackends)
{
    using namespace joint_laws;
    Shop<TestType> const shop;
    auto const service = shop.service();
    auto const other = shop.other_service();
    constexpr int rounds = 25;
    interlock_test::run_threads(4, [&](auto thread) {
        for (int i = 0; i < rounds; ++i)
            if (thread % 2 == 0)
                service.do_in_transaction(shop.both(), [](Stock& stock, Account& account) {
                    stock.quantity -= 1;
                    account.balance += 1;
                });
            else
                other.do_in_transaction(shop.both_of_other(), [](Account& account, Stock& stock) {
                    stock.quantity += 2;
                    account.balance -= 2;
                });
    });
    CHECK(shop.left() == 10 + 2 * rounds);
    CHECK(shop.balance() == 100 - 2 * rounds);
}

TEMPLATE_LIST_TEST_CASE("Leases on states of two types", "[joint]", JointBackends)
{
    using namespace joint_laws;
    Shop<TestType> const shop;
    TransactionService const service{SetNxLock{}, JointRepository{shop.stock, shop.accounts}};
    TransactionService const other{SetNxLock{}, JointRepository{shop.other_accounts, shop.other_stock}};
    auto const buy = [](Stock& stock, Account& account) {
        account.balance -= 5;
        return --stock.quantity;
    };
    SECTION("let nobody else in, whatever order the states are named in")
    {
        constexpr int rounds = 10;
        interlock_test::run_threads(4, [&](auto thread) {
            for (int i = 0; i < rounds; ++i)
                if (thread % 2 == 0)
                    service.do_in_transaction(shop.both(), buy, {.deadline = 60s});
                else
                    other.do_in_transaction(
                        shop.both_of_other(), [&](Account& account, Stock& stock) { buy(stock, account); },
                        {.deadline = 60s});
        });
        CHECK(shop.left() == 10 - 4 * rounds);
        CHECK(shop.balance() == 100 - 4 * 5 * rounds);
    }
    SECTION("and a lock of one of the repositories alone is the same lock")
    {
        LockStateService const locks{shop.other_accounts};
        auto lock = locks.acquire(1);
        CHECK(
            service.try_do_in_transaction(shop.both(), buy, {.deadline = 100ms}).errc() ==
            Errc::deadline_exceeded);
        std::atomic<bool> released{false};
        std::thread waits([&] {
            service.do_in_transaction(shop.both(), buy, {.deadline = 60s});
            CHECK(released);
        });
        std::this_thread::sleep_for(20ms);
        released = true;
        CHECK(lock.release());
        waits.join();
        CHECK(shop.left() == 9);
    }
    SECTION("a lock that was broken meanwhile lets neither be written")
    {
        bool const of_stock = GENERATE(true, false);
        auto const late = service.try_do_in_transaction(shop.both(), [&](Stock& stock, Account& account) {
            static_cast<void>(
                of_stock ? shop.other_stock.force_release("sku-1") : shop.other_accounts.force_release(1));
            return buy(stock, account);
        });
        CHECK(late.errc() == Errc::fenced_out);
        CHECK(shop.left() == 10);
        CHECK(shop.balance() == 100);
    }
    SECTION("one of them alone, again and again, with an operation id")
    {
        for (int i = 0; i < 2; ++i)
            service.do_in_transaction(
                OperationId{"gift"}, in(shop.accounts, 1), [](Account& account) { account.balance += 7; });
        service.do_in_transaction(in(shop.accounts, 1), [](Account& account) { ++account.balance; });
        CHECK(shop.balance() == 108);
        CHECK(service.do_in_transaction(OperationId{"order-1"}, shop.both(), buy) == 9);
        CHECK(other.do_in_transaction(OperationId{"order-1"}, shop.both_of_other(), [](Account&, Stock&) {
            return -1;
        }) == 9);
        CHECK(shop.left() == 9);
    }
    SECTION("one that is missing is made where the policy says so")
    {
        auto const none = keys(in(shop.stock, "sku-2"), in(shop.accounts, 1));
        CHECK(service.try_do_in_transaction(none, buy).errc() == Errc::not_found);
        TransactionService const makes{
            SetNxLock{.missing = Missing::create}, JointRepository{shop.stock, shop.accounts}};
        CHECK(makes.do_in_transaction(none, buy) == -1);
        CHECK(shop.stock.load("sku-2").value().value.quantity == -1);
    }
    SECTION("show the operation its locks")
    {
        auto const token = service.do_in_transaction(
            shop.both(), [&](Stock& stock, Account& account, auto& of_stock, auto& of_account) {
                of_stock.check();
                CHECK(shop.other_accounts.inspect(1).value()->token == of_account.fencing_token());
                buy(stock, account);
                return of_stock.fencing_token().value();
            });
        CHECK(token > 0);
        CHECK(shop.left() == 9);
    }
}

TEMPLATE_LIST_TEST_CASE("Row locks on states of two types", "[joint]", JointBackends)
{
    using namespace joint_laws;
    Shop<TestType> const shop;
    using Both = JointRepository<decltype(shop.stock), decltype(shop.accounts)>;
    STATIC_REQUIRE(RowLockingRepository<Both> == TestType::row_locks);
    if constexpr (TestType::row_locks) {
        TransactionService const service{PessimisticRowLock{}, Both{shop.stock, shop.accounts}};
        TransactionService const other{
            PessimisticRowLock{}, JointRepository{shop.other_accounts, shop.other_stock}};
        int runs = 0;
        auto const buy = [&runs](Stock& stock, Account& account) {
            ++runs;
            account.balance -= 5;
            return --stock.quantity;
        };
        SECTION("let nobody else in, whatever order the states are named in")
        {
            constexpr int rounds = 10;
            auto const buy_too = [](Account& account, Stock& stock) {
                account.balance -= 5;
                --stock.quantity;
            };
            interlock_test::run_threads(4, [&](auto thread) {
                for (int i = 0; i < rounds; ++i)
                    if (thread % 2 == 0)
                        service.do_in_transaction(
                            shop.both(), [&](Stock& stock, Account& account) { buy_too(account, stock); },
                            {.deadline = 60s});
                    else
                        other.do_in_transaction(shop.both_of_other(), buy_too, {.deadline = 60s});
            });
            CHECK(shop.left() == 10 - 4 * rounds);
            CHECK(shop.balance() == 100 - 4 * 5 * rounds);
        }
        SECTION("and a row that its own repository has locked is waited for")
        {
            TransactionService const accounts{PessimisticRowLock{}, shop.other_accounts};
            TransactionService const hasty{
                PessimisticRowLock{.wait = Wait::no}, Both{shop.stock, shop.accounts}};
            std::thread waits;
            accounts.do_in_transaction(1, [&](Account& account) {
                interlock_test::run_threads(1, [&](auto) {
                    CHECK(hasty.try_do_in_transaction(shop.both(), buy).errc() == Errc::lock_busy);
                    CHECK(
                        service.try_do_in_transaction(shop.both(), buy, {.deadline = 100ms}).errc() ==
                        Errc::deadline_exceeded);
                });
                waits = std::thread{[&] { service.do_in_transaction(shop.both(), buy, {.deadline = 60s}); }};
                std::this_thread::sleep_for(20ms);
                account.balance = 50;
            });
            waits.join();
            CHECK(shop.left() == 9);
            CHECK(shop.balance() == 45);
            CHECK(runs == 1);
        }
        SECTION("and what is thrown leaves both as they were, and lets them go")
        {
            CHECK_THROWS_AS(
                service.do_in_transaction(
                    shop.both(),
                    [&](Stock& stock, Account& account) {
                        buy(stock, account);
                        throw std::runtime_error("no");
                    }),
                std::runtime_error);
            CHECK(shop.left() == 10);
            CHECK(service.do_in_transaction(shop.both(), buy) == 9);
        }
        SECTION("one operation id has one effect")
        {
            OperationId const id{"order-1"};
            CHECK(service.do_in_transaction(id, shop.both(), buy) == 9);
            CHECK(
                other.do_in_transaction(id, shop.both_of_other(), [](Account&, Stock&) { return -1; }) == 9);
            CHECK(shop.service().do_in_transaction(id, shop.both(), buy) == 9);
            CHECK(shop.left() == 9);
            CHECK(shop.balance() == 95);
            CHECK(runs == 1);
        }
        SECTION("one that is missing is not found, or made, with others locked behind it")
        {
            auto const none = keys(in(shop.stock, "none"), in(shop.accounts, 1), in(shop.stock, "sku-1"));
            auto const move = [](Stock& to, Account& account, Stock& from) {
                --from.quantity;
                --account.balance;
                ++to.quantity;
            };
            auto const failed = service.try_do_in_transaction(none, move);
            CHECK(failed.errc() == Errc::not_found);
            CHECK(failed.failure().message().find("none") != std::string::npos);
            TransactionService const makes{
                PessimisticRowLock{.missing = Missing::create}, Both{shop.stock, shop.accounts}};
            interlock_test::run_threads(
                3, [&](auto) { makes.do_in_transaction(none, move, {.deadline = 60s}); });
            CHECK(shop.stock.load("none").value().value.quantity == 3);
            CHECK(shop.left() == 7);
            CHECK(shop.balance() == 97);
        }
        SECTION("one of them alone, and what is only read")
        {
            service.do_in_transaction(in(shop.accounts, 1), [](Account& account) { account.balance = 7; });
            CHECK(shop.balance() == 7);
            auto const before = shop.stock.load("sku-1").value().version;
            service.do_in_transaction(
                shop.both(), [](Stock const& stock, Account& account) { account.balance = stock.quantity; });
            CHECK(shop.balance() == 10);
            CHECK(shop.stock.load("sku-1").value().version == before);
        }
        SECTION("asynchronous calls wait for their rows without a thread of their executor")
        {
            asio::io_context context;
            int done = 0;
            for (int i = 0; i < 3; ++i)
                service.async_do_in_transaction(
                    shop.both(), buy, asio::bind_executor(context, [&](std::exception_ptr thrown, int) {
                        CHECK_FALSE(thrown);
                        ++done;
                    }));
            auto const work = asio::make_work_guard(context);
            while (done < 3)
                context.run_one();
            CHECK(shop.left() == 7);
        }
        SECTION("a lease on both waits for a row that is locked without one")
        {
            TransactionService const leased{SetNxLock{}, Both{shop.stock, shop.accounts}};
            TransactionService const accounts{PessimisticRowLock{}, shop.other_accounts};
            std::thread waits;
            accounts.do_in_transaction(1, [&](Account& account) {
                waits = std::thread{[&] { leased.do_in_transaction(shop.both(), buy, {.deadline = 60s}); }};
                std::this_thread::sleep_for(50ms);
                account.balance = 50;
            });
            waits.join();
            CHECK(shop.left() == 9);
            CHECK(shop.balance() == 45);
        }
    }
}

TEMPLATE_LIST_TEST_CASE("Asynchronous calls change states of two types", "[joint]", JointBackends)
{
    using namespace joint_laws;
    Shop<TestType> const shop;
    auto const service = shop.service();
    auto const both = shop.both();
    asio::io_context context;
    SECTION("with a callback")
    {
        std::optional<int> left;
        service.async_do_in_transaction(
            OperationId{"order-1"}, both,
            [](Stock& stock, Account& account) {
                --account.balance;
                return --stock.quantity;
            },
            asio::bind_executor(context, [&](std::exception_ptr thrown, int result) {
                CHECK_FALSE(thrown);
                left = result;
            }));
        auto const work = asio::make_work_guard(context);
        while (!left)
            context.run_one();
        CHECK(*left == 9);
    }
    SECTION("in a coroutine, whose operation awaits")
    {
        bool done = false;
        auto const run = [&]() -> asio::awaitable<void> {
            auto const operation = [](Stock& stock, Account& account) -> asio::awaitable<int> {
                --account.balance;
                co_return --stock.quantity;
            };
            auto const outcome =
                co_await service.async_try_do_in_transaction(both, operation, asio::use_awaitable);
            CHECK(outcome.value() == 9);
            done = true;
        };
        asio::co_spawn(context, run, asio::detached);
        auto const work = asio::make_work_guard(context);
        while (!done)
            context.run_one();
        CHECK(done);
    }
    CHECK(shop.left() == 9);
    CHECK(shop.balance() == 99);
}

namespace joint_laws {

/// What calls within operations come to that name a state which the operation works on.
template <class Backend, class Policy>
void check_nested_calls(Shop<Backend> const& shop, Policy policy)
{
    TransactionService const both{policy, JointRepository{shop.stock, shop.accounts}};
    TransactionService const both_again{policy, JointRepository{shop.other_accounts, shop.other_stock}};
    TransactionService const accounts{policy, shop.other_accounts};
    CallOptions const long_enough{.deadline = 10s};
    auto const balance = [](Account& account) { account.balance = 0; };
    auto const balance_and_stock = [](Account& account, Stock&) { account.balance = 0; };
    std::vector<Errc> nested;
    both.do_in_transaction(shop.both(), [&](Stock&, Account&) {
        nested.push_back(accounts.try_do_in_transaction(1, balance, long_enough).errc());
        nested.push_back(
            both_again.try_do_in_transaction(in(shop.other_accounts, 1), balance, long_enough).errc());
        nested.push_back(
            both_again.try_do_in_transaction(shop.both_of_other(), balance_and_stock, long_enough).errc());
        nested.push_back(both.try_do_in_transaction(in(shop.accounts, 1), balance, long_enough).errc());
    });
    accounts.do_in_transaction(1, [&](Account&) {
        nested.push_back(both.try_do_in_transaction(in(shop.accounts, 1), balance, long_enough).errc());
        // Around another one.
        both.do_in_transaction(in(shop.stock, "sku-1"), [&](Stock&) {
            nested.push_back(
                both_again.try_do_in_transaction(shop.both_of_other(), balance_and_stock, long_enough)
                    .errc());
        });
    });
    CHECK(nested == std::vector(6, Errc::would_deadlock));
    CHECK(shop.balance() == 100);
    CHECK(shop.left() == 10);
}

}  // namespace joint_laws

TEMPLATE_LIST_TEST_CASE(
    "A call within an operation that asks for a state of it is refused at once", "[joint]", JointBackends)
{
    using namespace joint_laws;
    Shop<TestType> const shop;
    SECTION("optimistic")
    {
        check_nested_calls(shop, OptimisticVersioning{});
    }
    SECTION("leases, and the lock itself")
    {
        check_nested_calls(shop, SetNxLock{});
        LockStateService const locks{shop.other_accounts};
        TransactionService const service{SetNxLock{}, JointRepository{shop.stock, shop.accounts}};
        auto const asked = service.do_in_transaction(shop.both(), [&](Stock&, Account&) {
            return interlock_test::error_thrown_by(
                [&] { static_cast<void>(locks.acquire(1, {.deadline = 10s})); });
        });
        CHECK(asked == Errc::would_deadlock);
    }
    if constexpr (TestType::row_locks)
        SECTION("row locks")
        {
            check_nested_calls(shop, PessimisticRowLock{});
        }
    SECTION("of an asynchronous operation by its context")
    {
        auto const service = shop.service();
        auto const both = shop.both();
        TransactionService const accounts{OptimisticVersioning{}, shop.other_accounts};
        asio::io_context context;
        std::optional<Errc> nested;
        auto const run = [&]() -> asio::awaitable<void> {
            auto const balance = [](Account& account) { account.balance = 0; };
            auto const operation = [&](Stock&, Account&, TransactionContext& own) -> asio::awaitable<void> {
                CallOptions const within{.within = &own};
                auto const outcome =
                    co_await accounts.async_try_do_in_transaction(1, balance, within, asio::use_awaitable);
                nested = outcome.errc();
            };
            co_await service.async_do_in_transaction(both, operation, asio::use_awaitable);
        };
        asio::co_spawn(context, run, asio::detached);
        auto const work = asio::make_work_guard(context);
        while (!nested)
            context.run_one();
        CHECK(*nested == Errc::would_deadlock);
    }
    SECTION("and another state of either repository is no such call")
    {
        static_cast<void>(shop.accounts.insert(Account{2, 0, ""}).value());
        std::string const same_bytes{KeyTraits<std::int64_t>::encode(1)};
        bool const takes_any_bytes = shop.stock.insert(Stock{same_bytes, 0}).errc() == Errc::ok;
        TransactionService const leased{SetNxLock{}, JointRepository{shop.stock, shop.accounts}};
        TransactionService const accounts{SetNxLock{}, shop.other_accounts};
        leased.do_in_transaction(shop.both(), [&](Stock&, Account& from) {
            accounts.do_in_transaction(2, [&](Account& to) { to.balance += 10; });
            if (takes_any_bytes)
                leased.do_in_transaction(in(shop.stock, same_bytes), [](Stock& stock) { ++stock.quantity; });
            from.balance -= 10;
        });
        CHECK(shop.balance() == 90);
        CHECK(shop.accounts.load(2).value().value.balance == 10);
        if (takes_any_bytes)
            CHECK(shop.stock.load(same_bytes).value().value.quantity == 1);
    }
}

TEMPLATE_LIST_TEST_CASE("What can not be joined is refused in words", "[joint]", JointBackends)
{
    using namespace joint_laws;
    Shop<TestType> const shop;
    auto const buy = [](Stock& stock, Account& account) {
        stock.quantity = 0;
        account.balance = 0;
    };
    auto const refused = [&](auto const& outcome) {
        CHECK(outcome.errc() == Errc::misconfigured);
        CHECK_FALSE(outcome.failure().detail().empty());
        CHECK(shop.left() == 10);
        CHECK(shop.balance() == 100);
    };
    SECTION("a state in a repository that was not joined")
    {
        TestType const another;
        auto const stranger = another.template states<Account>();
        refused(shop.service().try_do_in_transaction(keys(in(shop.stock, "sku-1"), in(stranger, 1)), buy));
    }
    SECTION("one store twice")
    {
        TransactionService const twice{
            OptimisticVersioning{}, JointRepository{shop.stock, shop.stock, shop.accounts}};
        refused(twice.try_do_in_transaction(OperationId{"once"}, shop.both(), buy));
        refused(twice.try_do_in_transaction(shop.both(), buy));
    }
    if constexpr (TestType::has_elsewhere) {
        SECTION("stores of two servers, or of two clients")
        {
            auto const elsewhere = shop.backend.template elsewhere<Account>();
            TransactionService const service{OptimisticVersioning{}, JointRepository{shop.stock, elsewhere}};
            refused(service.try_do_in_transaction(keys(in(shop.stock, "sku-1"), in(elsewhere, 1)), buy));
        }
    }
}

}  // namespace
}  // namespace contract

#endif
