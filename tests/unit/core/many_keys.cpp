// SPDX-License-Identifier: BSL-1.0

// Operations on a number of states that is known at run time, in memory: see support/many_keys.hpp.

#include "support/many_keys.hpp"

#include <interlock/backends/memory/event_repository.hpp>
#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <cstddef>
#include <iterator>
#include <map>
#include <span>
#include <sstream>
#include <stdexcept>
#include <utility>
#include <vector>

namespace many_keys_test {

using namespace interlock;
using namespace interlock_test;
using Repository = memory::StateRepository<Stock>;

template <class P>
void check_in_memory(P policy)
{
    Repository const repository;
    TransactionService const service{std::move(policy), repository};
    check_ways_to_call(service, repository);
    check_wrong_ranges(service, repository);
    check_ranges(service, repository, 100);
}

TEST_CASE("a range under every policy in memory", "[core][many_keys]")
{
    check_in_memory(OptimisticVersioning{.max_attempts = 1000});
    check_in_memory(OptimisticVersioning{.max_attempts = 1000, .remember = 9});
    check_in_memory(PessimisticRowLock{});
    check_in_memory(SetNxLock{});
}

TEST_CASE("a range may have a thousand keys", "[core][many_keys]")
{
    Repository const repository;
    check_most_keys(TransactionService{OptimisticVersioning{}, repository}, repository);
    check_most_keys(TransactionService{PessimisticRowLock{}, repository}, repository);
    check_most_keys(TransactionService{SetNxLock{}, repository}, repository);
}

TEST_CASE("an operation on a range runs again after a conflict", "[core][many_keys]")
{
    Repository const repository;
    check_runs_again(TransactionService{OptimisticVersioning{}, repository}, repository);
}

TEST_CASE("an exception about states of two moments is not believed", "[core][many_keys]")
{
    Repository const repository;
    TransactionService const service{OptimisticVersioning{}, repository};
    auto const skus = many_stocks(repository, 3);
    int runs = 0;
    service.do_in_transaction(skus, [&](std::span<Stock> states) {
        if (++runs > 1)
            return;
        auto other = repository.load(skus[0]).value();
        static_cast<void>(repository.compare_and_set(skus[0], other.version, Stock{skus[0], 3}).value());
        states[1].quantity = -1;
        throw std::runtime_error("torn");
    });
    CHECK(runs == 2);
    CHECK(pieces(repository, skus) == 23);
}

TEST_CASE("states of a range that are missing are made", "[core][many_keys]")
{
    Repository const repository;
    auto const make = [&](auto policy, std::string const& prefix) {
        TransactionService const service{policy, repository};
        static_cast<void>(repository.insert(Stock{prefix + "b", 5}).value());
        std::vector const skus{prefix + "c", prefix + "b", prefix + "a"};
        service.do_in_transaction(skus, [](std::span<Stock> states) {
            for (auto& s : states)
                ++s.quantity;
        });
        CHECK(pieces(repository, skus) == 8);
        // Named by states, a missing one begins as it is named.
        std::vector const states{Stock{prefix + "d", 40}, Stock{prefix + "b", 0}};
        service.do_in_transaction(keys(states), [](std::vector<Stock*> s) { ++s[0]->quantity; });
        CHECK(pieces(repository, {prefix + "d", prefix + "b"}) == 47);
    };
    make(OptimisticVersioning{.missing = Missing::create}, "o");
    make(PessimisticRowLock{.missing = Missing::create}, "p");
    make(SetNxLock{.missing = Missing::create}, "s");
}

TEST_CASE("an operation gets the locks of a range", "[core][many_keys]")
{
    Repository const repository;
    TransactionService const service{SetNxLock{}, repository};
    auto const skus = many_stocks(repository, 4);
    using Locks = std::span<Lock<Stock>* const>;
    auto const check = [&](auto const& locks) {
        REQUIRE(locks.size() == 4);
        for (std::size_t i = 0; i < 4; ++i) {
            CHECK(locks[i]->state().sku == skus[i]);
            CHECK(locks[i]->status() == LockStatus::held);
        }
    };
    service.do_in_transaction(skus, [&](Locks locks) { check(locks); });
    service.do_in_transaction(skus, [&](std::vector<Lock<Stock>*> locks) { check(locks); });
    service.do_in_transaction(skus, [&](Locks locks, TransactionContext& context) {
        check(locks);
        CHECK(context.fencing_token(2) == locks[2]->fencing_token());
        CHECK_FALSE(context.stop_token().stop_requested());
    });
    service.do_in_transaction(skus, [&](std::span<Stock> states, Locks locks) {
        check(locks);
        --states[3].quantity;
    });
    service.do_in_transaction(skus, [&](std::vector<Stock*> states, std::vector<Lock<Stock>*> locks) {
        check(locks);
        --states[3]->quantity;
    });
    CHECK(pieces(repository, skus) == 38);
    TransactionService const efficiency{EfficiencySetNxLock{}, repository};
    efficiency.do_in_transaction(skus, [&](std::span<EfficiencyLock<Stock>* const> locks) { check(locks); });
}

TEST_CASE("an operation on a range gets the transaction of the store", "[core][many_keys]")
{
    Repository const repository;
    TransactionService const service{PessimisticRowLock{}, repository};
    auto const skus = many_stocks(repository, 2);
    service.do_in_transaction(
        skus, [](std::span<Stock> states, Repository::transaction_type&) { --states[1].quantity; });
    CHECK(pieces(repository, skus) == 19);
}

/// Can be gone through once.
struct Numbers {
    std::istream& text;
    auto begin() { return std::istream_iterator<int>{text}; }
    static auto end() { return std::istream_iterator<int>{}; }
};

struct Sold {
    std::string sku;
    static constexpr EventType event{"stock.sold", 1};
};
BOOST_DESCRIBE_STRUCT(Sold, (), (sku))

template <class P>
void check_recorded(P policy)
{
    memory::EventRepository const events;
    Repository const repository{{.events = events}};
    auto const skus = many_stocks(repository, 3);
    TransactionService const service{policy, repository};
    auto const sell = [](std::span<Stock> states, Recorder& record) {
        for (std::size_t i = states.size(); i-- > 0;) {
            --states[i].quantity;
            record(Sold{states[i].sku}, i);
        }
    };
    service.do_in_transaction(skus, sell);
    service.do_in_transaction(OperationId{"op"}, skus, sell);
    service.do_in_transaction(OperationId{"op"}, skus, sell);
    service.do_in_transaction(skus, [](std::vector<Stock*> s, TransactionContext& context, Recorder& record) {
        record(Sold{s[1]->sku}, context.keys().size() - 1);
    });
    auto failing = [&](std::span<Stock* const> s, Recorder& record) -> boost::asio::awaitable<void> {
        record(Sold{s[0]->sku});
        co_await boost::asio::this_coro::executor;
        throw std::out_of_range("mine");
    };
    CHECK_THROWS_AS(
        service.async_do_in_transaction(skus, failing, boost::asio::use_future).get(), std::out_of_range);
    CHECK(pieces(repository, skus) == 24);
    auto const page = events.read(0, 0).value();
    REQUIRE(page.events.size() == 7);
    std::map<std::string, int> of_stream;
    for (auto const& event : page.events)
        ++of_stream[std::string(event.stream.bytes())];
    CHECK((of_stream[skus[0]] == 2 && of_stream[skus[1]] == 2 && of_stream[skus[2]] == 3));
}

TEST_CASE("what an operation on a range records belongs to the states it names", "[core][many_keys]")
{
    check_recorded(OptimisticVersioning{});
    check_recorded(PessimisticRowLock{});
    check_recorded(SetNxLock{});
}

TEST_CASE("a range of numbers, of scalars, and one that can be gone through once", "[core][many_keys]")
{
    memory::StateRepository<Account> const accounts;
    for (int i = 0; i < 5; ++i)
        static_cast<void>(accounts.insert(Account{i, 100, {}}).value());
    TransactionService const service{PessimisticRowLock{}, accounts};
    std::istringstream request{"4 0 3"};
    auto const ids = keys(Numbers{request});
    service.do_in_transaction(ids, [](std::span<Account> a) {
        REQUIRE(a.size() == 3);
        CHECK((a[0].id == 4 && a[1].id == 0 && a[2].id == 3));
        a[0].balance -= 50;
        a[2].balance += 50;
    });
    CHECK(accounts.load(4)->value.balance == 50);
    CHECK(accounts.load(3)->value.balance == 150);

    memory::StateRepository<bool, std::string> const flags;
    static_cast<void>(flags.insert("a", true).value());
    static_cast<void>(flags.insert("b", false).value());
    TransactionService const switches{OptimisticVersioning{}, flags};
    switches.do_in_transaction(std::vector<std::string>{"b", "a"}, [](std::span<bool> f) {
        CHECK((!f[0] && f[1]));
        f[0] = true;
    });
    CHECK(flags.load("b")->value);
}

TEST_CASE("a range that is a key names one state", "[core][many_keys]")
{
    // A text is one key, though it is a range of characters.
    Repository const repository;
    auto const skus = many_stocks(repository, 1);
    TransactionService const service{OptimisticVersioning{}, repository};
    service.do_in_transaction(skus[0], [](Stock& s) { --s.quantity; });
    CHECK(pieces(repository, skus) == 9);
}

}  // namespace many_keys_test
