// SPDX-License-Identifier: BSL-1.0

// What a `JointRepository` promises: states of two types change together, or neither does.

#include <interlock/core/contracts/joint_repository.hpp>
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
#include <boost/describe/class.hpp>

#include "contract/backends.hpp"
#include "support/catch.hpp"
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

#ifdef INTERLOCK_TESTS_CONTRACT_JOINT

namespace contract {
namespace {

namespace joint {

namespace asio = boost::asio;
using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::Account;

struct Bought {
    int left{0};
    static constexpr EventType event{"joint.bought", 1};
};
BOOST_DESCRIBE_STRUCT(Bought, (), (left))

/// A shop's goods and its customers' accounts, and a service on both.
template <class Backend>
struct Shop {
    Backend backend;
    decltype(backend.template states<Stock>()) stock{backend.template states<Stock>()};
    decltype(backend.template states<Account>()) accounts{backend.template states<Account>()};
    decltype(backend.template other_states<Stock>()) other_stock{backend.template other_states<Stock>()};
    decltype(backend.template other_states<Account>()) other_accounts{
        backend.template other_states<Account>()};

    Shop()
    {
        static_cast<void>(stock.insert(Stock{"sku-1", 10}).value());
        static_cast<void>(accounts.insert(Account{1, 100, ""}).value());
    }
    auto service(OptimisticVersioning policy = {}) const
    {
        return TransactionService{policy, JointRepository{stock, accounts}};
    }
    /// Through the other client, which names them in the other order.
    auto other_service() const
    {
        return TransactionService{OptimisticVersioning{}, JointRepository{other_accounts, other_stock}};
    }
    auto both() const { return keys(in(stock, "sku-1"), in(accounts, 1)); }
    auto both_of_other() const { return keys(in(other_accounts, 1), in(other_stock, "sku-1")); }
    int left() const { return stock.load("sku-1").value().value.quantity; }
    std::int64_t balance() const { return accounts.load(1).value().value.balance; }
};

}  // namespace joint

TEMPLATE_LIST_TEST_CASE("States of two types change together", "[joint]", JointBackends)
{
    using namespace joint;
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
    using namespace joint;
    Shop<TestType> const shop;
    bool const changes_stock = GENERATE(true, false);
    int runs = 0;
    shop.service().do_in_transaction(shop.both(), [&](Stock& stock, Account& account) {
        if (++runs == 1) {
            TransactionService const stocks{OptimisticVersioning{}, shop.other_stock};
            TransactionService const accounts{OptimisticVersioning{}, shop.other_accounts};
            if (changes_stock)
                stocks.do_in_transaction("sku-1", [](Stock& other) { other.quantity += 100; });
            else
                accounts.do_in_transaction(1, [](Account& other) { other.balance += 100; });
        }
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
                        shop.other_service().do_in_transaction(
                            in(shop.other_accounts, 1), [](Account& other) { other.balance = 1; });
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
    using namespace joint;
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
    using namespace joint;
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
        CHECK(none.failure().message().find("none: not_found") != std::string::npos);
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
    using namespace joint;
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
    using namespace joint;
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
    using namespace joint;
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
                CHECK(hasty.try_do_in_transaction(shop.both(), buy).errc() == Errc::lock_busy);
                CHECK(
                    service.try_do_in_transaction(shop.both(), buy, {.deadline = 100ms}).errc() ==
                    Errc::deadline_exceeded);
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
    using namespace joint;
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

TEMPLATE_LIST_TEST_CASE(
    "Events of two types are stored with their commit, or not at all", "[joint]", JointBackends)
{
    using namespace joint;
    Shop<TestType> const shop;
    using Both = JointRepository<decltype(shop.stock), decltype(shop.accounts)>;
    STATIC_REQUIRE(RecordingRepository<Both> == TestType::has_events);
    if constexpr (TestType::has_events) {
        auto const log = shop.backend.events();
        auto const said = [&](Key const& stream) { return log.read_stream(stream).value().size(); };
        Key const of_account{KeyTraits<std::int64_t>::encode(1)};
        auto const buy = [](Stock& stock, Account& account, Recorder& record) {
            --account.balance;
            record(Bought{--stock.quantity}, 1);
            record(Bought{stock.quantity});
        };
        shop.service().do_in_transaction(shop.both(), buy);
        CHECK(said(Key{"sku-1"}) == 1);
        CHECK(said(of_account) == 1);
        CHECK_THROWS_AS(
            shop.service().do_in_transaction(
                shop.both(),
                [&](Stock& s, Account& a, Recorder& record) {
                    buy(s, a, record);
                    throw std::runtime_error("no");
                }),
            std::runtime_error);
        int runs = 0;
        shop.service().do_in_transaction(shop.both(), [&](Stock& s, Account& a, Recorder& record) {
            if (++runs == 1)  // the second table has moved when both are committed
                shop.other_service().do_in_transaction(
                    in(shop.other_accounts, 1), [](Account& other) { other.balance = 50; });
            buy(s, a, record);
        });
        CHECK(runs == 2);
        CHECK(said(Key{"sku-1"}) == 2);
        CHECK(said(of_account) == 2);
        CHECK(shop.balance() == 49);
    }
}

TEMPLATE_LIST_TEST_CASE("What can not be joined is refused in words", "[joint]", JointBackends)
{
    using namespace joint;
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
