// SPDX-License-Identifier: BSL-1.0

// What operations on a `JointRepository` record: each event exactly as often as the changes are made.

#include <interlock/core/contracts/joint_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/idempotency_keys.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/describe/class.hpp>

#include "contract/backends.hpp"
#include "contract/joint_shop.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>

#ifdef INTERLOCK_TESTS_CONTRACT_JOINT

namespace contract {
namespace {

namespace joint_events {

namespace asio = boost::asio;
using namespace interlock;
using namespace std::chrono_literals;
using contract::joint::Shop;
using interlock_test::Account;

struct Bought {
    int left{0};
    static constexpr EventType event{"joint.bought", 1};
};
BOOST_DESCRIBE_STRUCT(Bought, (), (left))

struct CountingWaiter final : Waiter {
    std::atomic<int> woken{0};
    void wake() noexcept override { ++woken; }
};

/// What the events of a stream say, one behind the other; their numbers are 1, 2, 3 and so on.
template <class Log>
std::string said(Log const& log, Key const& stream)
{
    std::string out;
    std::int64_t number = 0;
    for (Event const& event : log.read_stream(stream).value()) {
        CHECK(event.number == ++number);
        out += (out.empty() ? "" : " ") + std::to_string(event.as<Bought>().value().left);
    }
    return out;
}
template <class Backend>
std::string said_of_stock(Shop<Backend> const& shop)
{
    return said(shop.backend.template events_of<Stock>(), Key{"sku-1"});
}
template <class Backend>
std::string said_of_account(Shop<Backend> const& shop)
{
    Key const of_account{KeyTraits<std::int64_t>::encode(1)};
    return said(shop.backend.template events_of<Account>(), of_account);
}

/// Two events of the stock and one of the account.
inline constexpr auto buy_and_say = [](Stock& stock, Account& account, Recorder& record) {
    account.balance -= 5;
    record(Bought{--stock.quantity});
    record(Bought{static_cast<int>(account.balance)}, 1);
    record(Bought{-stock.quantity});
    return stock.quantity;
};

/// The events of `service`, each as often as its effect. `name(text)`: what names a call.
template <class Backend, class Service, class Name>
void check_events(Shop<Backend> const& shop, Service const& service, Name name)
{
    CHECK(service.do_in_transaction(name("one"), shop.both(), buy_and_say) == 9);
    CHECK(said_of_stock(shop) == "9 -9");
    CHECK(said_of_account(shop) == "95");
    // Once more, and what it made is found.
    CHECK(service.do_in_transaction(name("one"), shop.both(), buy_and_say) == 9);
    CHECK(service.do_in_transaction(name("two"), shop.both(), buy_and_say) == 8);
    CHECK_THROWS_AS(
        service.do_in_transaction(
            name("three"), shop.both(),
            [](Stock& stock, Account& account, Recorder& record) -> int {
                buy_and_say(stock, account, record);
                throw std::runtime_error("no");
            }),
        std::runtime_error);
    // Of the second state alone, and where nothing changes.
    auto const say = [](Stock const&, Account const& account, Recorder& record) {
        record(Bought{static_cast<int>(account.balance)}, 1);
        return 0;
    };
    for (int i = 0; i < 2; ++i)
        service.do_in_transaction(name("four"), shop.both(), say);
    // On one of them alone.
    service.do_in_transaction(name("five"), in(shop.accounts, 1), [](Account& account, Recorder& record) {
        record(Bought{static_cast<int>(++account.balance)});
        return 0;
    });
    CHECK(said_of_stock(shop) == "9 -9 8 -8");
    CHECK(said_of_account(shop) == "95 90 90 91");
    CHECK(shop.left() == 8);
    CHECK(shop.balance() == 91);
}

inline constexpr auto operation_id = [](char const* text) { return OperationId{text}; };
inline constexpr auto request = [](char const* text) {
    return IdempotentRequest(text, Scope("s"), fingerprint("body"));
};

}  // namespace joint_events

TEMPLATE_LIST_TEST_CASE(
    "Events of two types are stored with their commit, each once, under every policy", "[joint]",
    JointBackends)
{
    using namespace joint_events;
    Shop<TestType> const shop;
    using Both = JointRepository<decltype(shop.stock), decltype(shop.accounts)>;
    Both const both{shop.stock, shop.accounts};
    STATIC_REQUIRE(RecordingRepository<Both> == TestType::has_events);
    if constexpr (TestType::has_events) {
        SECTION("optimistic")
        {
            check_events(shop, shop.service(), operation_id);
        }
        SECTION("leases")
        {
            check_events(shop, TransactionService{SetNxLock{}, both}, operation_id);
        }
        SECTION("idempotency keys")
        {
            auto const store = shop.backend.idempotency_store();
            if (GENERATE(true, false))
                check_events(
                    shop, TransactionService{IdempotencyKeys{OptimisticVersioning{}, store}, both}, request);
            else
                check_events(shop, TransactionService{IdempotencyKeys{SetNxLock{}, store}, both}, request);
        }
        if constexpr (TestType::row_locks)
            SECTION("row locks")
            {
                check_events(shop, TransactionService{PessimisticRowLock{}, both}, operation_id);
            }
    }
}

TEMPLATE_LIST_TEST_CASE("Events of two types when something comes between", "[joint]", JointBackends)
{
    using namespace joint_events;
    if constexpr (TestType::has_events) {
        Shop<TestType> const shop;
        SECTION("an operation that runs again records what its last run says")
        {
            int runs = 0;
            shop.service().do_in_transaction(
                shop.both(), [&](Stock& stock, Account& account, Recorder& record) {
                    if (++runs == 1)  // the second repository has moved when both are committed
                        interlock_test::run_threads(1, [&](auto) {
                            shop.other_service().do_in_transaction(
                                in(shop.other_accounts, 1), [](Account& other) { other.balance = 50; });
                        });
                    buy_and_say(stock, account, record);
                });
            CHECK(runs == 2);
            CHECK(said_of_stock(shop) == "9 -9");
            CHECK(said_of_account(shop) == "45");
            CHECK(shop.balance() == 45);
        }
        SECTION("a lease that was lost stores no event")
        {
            TransactionService const leased{SetNxLock{}, JointRepository{shop.stock, shop.accounts}};
            auto const late = leased.try_do_in_transaction(
                shop.both(), [&](Stock& stock, Account& account, Recorder& record) {
                    static_cast<void>(shop.other_accounts.force_release(1));
                    buy_and_say(stock, account, record);
                });
            CHECK(late.errc() == Errc::fenced_out);
            CHECK(said_of_stock(shop).empty());
            CHECK(said_of_account(shop).empty());
        }
        SECTION("many at once leave no gap")
        {
            auto const service = shop.service();
            constexpr int rounds = 10;
            interlock_test::run_threads(4, [&](auto thread) {
                for (int i = 0; i < rounds; ++i)
                    service.do_in_transaction(
                        OperationId{std::to_string(thread) + "-" + std::to_string(i / 2)}, shop.both(),
                        [](Stock& stock, Account&, Recorder& record) {
                            record(Bought{--stock.quantity});
                            return 0;
                        },
                        {.deadline = 60s});
            });
            std::string expected;
            for (int left = 9; left >= 10 - 4 * rounds / 2; --left)
                expected += (expected.empty() ? "" : " ") + std::to_string(left);
            CHECK(said_of_stock(shop) == expected);
        }
        SECTION("asynchronously, too")
        {
            asio::io_context context;
            std::optional<int> left;
            auto const both = shop.both();
            shop.service().async_do_in_transaction(
                both, buy_and_say, asio::bind_executor(context, [&](std::exception_ptr thrown, int result) {
                    CHECK_FALSE(thrown);
                    left = result;
                }));
            auto const work = asio::make_work_guard(context);
            while (!left)
                context.run_one();
            CHECK(said_of_stock(shop) == "9 -9");
            CHECK(said_of_account(shop) == "95");
        }
        SECTION("and readers of both logs are woken, on this client and on others")
        {
            auto const stocks = shop.backend.template events_of<Stock>();
            auto const accounts = shop.backend.template events_of<Account>();
            auto const of_account = partition_of(KeyTraits<std::int64_t>::encode(1), accounts.partitions());
            auto const of_stock = partition_of("sku-1", stocks.partitions());
            CountingWaiter waits_for_stock;
            CountingWaiter waits_for_account;
            for (auto const& by : {shop.service(), shop.service_of_other_client()}) {
                stocks.note_consumer("reader", of_stock, 0).value();
                accounts.note_consumer("reader", of_account, 0).value();
                stocks.subscribe(of_stock, waits_for_stock);
                accounts.subscribe(of_account, waits_for_account);
                CHECK(interlock_test::eventually([&] {
                    by.do_in_transaction(shop.both(), buy_and_say);
                    return waits_for_stock.woken.exchange(0) > 0;
                }));
                CHECK(interlock_test::eventually([&] {
                    by.do_in_transaction(shop.both(), buy_and_say);
                    return waits_for_account.woken.exchange(0) > 0;
                }));
                stocks.unsubscribe(of_stock, waits_for_stock);
                accounts.unsubscribe(of_account, waits_for_account);
            }
        }
    }
}

}  // namespace
}  // namespace contract

#endif
