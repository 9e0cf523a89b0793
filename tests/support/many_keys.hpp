// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_MANY_KEYS_HPP
#define INTERLOCK_TESTS_SUPPORT_MANY_KEYS_HPP

/// @file
/// What an operation on a range of keys promises, under every policy on every store.

#include <interlock/core/transaction_service.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_future.hpp>

#include "support/catch.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <list>
#include <random>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace interlock_test {

inline constexpr std::chrono::seconds long_deadline{60};

/// The keys of `count` stocks with ten pieces each, in an order that is not that of their bytes. Each call
/// makes other ones.
template <class R>
std::vector<std::string> many_stocks(R const& repository, std::size_t count)
{
    static std::atomic<int> calls{0};
    auto const prefix = "stock-" + std::to_string(++calls) + "-";
    std::vector<std::string> skus;
    for (std::size_t i = 0; i < count; ++i)
        skus.push_back(prefix + std::to_string((i * 7 + 3) % count));
    for (auto const& sku : skus)
        static_cast<void>(repository.insert(Stock{sku, 10}).value());
    return skus;
}

template <class R>
int pieces(R const& repository, std::vector<std::string> const& skus)
{
    int sum = 0;
    for (auto const& sku : skus)
        sum += repository.load(sku).value().value.quantity;
    return sum;
}

/// Takes one piece of each state that it is given, and gives their keys in that order.
struct TakeOneOfEach {
    static std::string take(Stock& s) { return --s.quantity, s.sku + " "; }
    static std::string take(Stock* s) { return take(*s); }
    std::string operator()(auto const& states) const
    {
        std::string order;
        for (auto& s : states)
            order += take(s);
        return order;
    }
};

inline std::string joined(auto const& skus)
{
    std::string all;
    for (auto const& sku : skus)
        all += sku + " ";
    return all;
}

/// Every way to name a range, and every way to take its states.
template <class Service, class R>
void check_ways_to_call(Service const& service, R const& repository)
{
    using namespace interlock;
    auto const skus = many_stocks(repository, 5);
    TakeOneOfEach const take;
    auto const order = joined(skus);
    auto const span = [&](std::span<Stock> s) { return take(s); };
    auto const pointers = [&](std::span<Stock* const> s) { return take(s); };
    auto const vector = [&](std::vector<Stock*> s) { return take(s); };
    auto const by_reference = [&](std::vector<Stock*> const& s, TransactionContext& context) {
        CHECK(context.keys().size() == 5);
        return take(s);
    };
    auto const generic = [&](auto& s, TransactionContext& context) {
        CHECK(context.keys()[0] == Key{skus[0]});
        static_assert(std::is_same_v<decltype(s), std::span<Stock>&>);
        return take(s);
    };
    CHECK(service.do_in_transaction(keys(skus), span) == order);
    CHECK(service.do_in_transaction(skus, pointers) == order);
    CHECK(service.try_do_in_transaction(skus, vector).value() == order);
    CHECK(service.do_in_transaction(skus, by_reference, {.deadline = long_deadline}) == order);
    CHECK(service.do_in_transaction(std::span<std::string const>{skus}, generic) == order);
    CHECK(pieces(repository, skus) == 25);

    std::set<std::string> const sorted(skus.begin(), skus.end());
    CHECK(service.do_in_transaction(sorted, span) == joined(sorted));
    std::list<std::string_view> const views(skus.begin(), skus.end());
    CHECK(service.do_in_transaction(views, span) == order);
    std::vector<char const*> texts;
    for (auto const& sku : skus)
        texts.push_back(sku.c_str());
    CHECK(service.do_in_transaction(keys(std::move(texts)), span) == order);
    std::vector<Key> const encoded(skus.begin(), skus.end());
    CHECK(service.do_in_transaction(encoded, span) == order);
    std::vector<Stock> const states{Stock{skus[0], 0}, Stock{skus[1], 0}};
    CHECK(service.do_in_transaction(states, span) == skus[0] + " " + skus[1] + " ");
    CHECK(service.do_in_transaction(std::vector{skus[2]}, span) == skus[2] + " ");
    CHECK(pieces(repository, skus) == 2);

    auto const nothing = [](std::span<Stock>) {};
    service.do_in_transaction(skus, nothing);
    CHECK(service.try_do_in_transaction(skus, nothing));
    CHECK(pieces(repository, skus) == 2);
}

/// The same without blocking, with operations that await and others.
template <class Service, class R>
void check_asynchronous_calls(Service const& service, R const& repository)
{
    using namespace interlock;
    namespace asio = boost::asio;
    auto const skus = many_stocks(repository, 4);
    TakeOneOfEach const take;
    CHECK(service.async_do_in_transaction(skus, take, asio::use_future).get() == joined(skus));
    auto awaiting = [take](std::span<Stock> states) -> asio::awaitable<std::string> {
        auto order = take(states.first(2));
        co_await asio::this_coro::executor;
        co_return order + take(states.subspan(2));
    };
    CHECK(service.async_do_in_transaction(keys(skus), awaiting, asio::use_future).get() == joined(skus));
    auto pointers = [](std::vector<Stock*> const& states, TransactionContext&) -> asio::awaitable<void> {
        co_await asio::this_coro::executor;
        for (auto* s : states)
            --s->quantity;
    };
    service.async_do_in_transaction(keys(skus), pointers, {.deadline = long_deadline}, asio::use_future)
        .get();
    CHECK(pieces(repository, skus) == 28);
    auto throwing = [](std::span<Stock* const> states) -> asio::awaitable<int> {
        states[1]->quantity = -1;
        co_await asio::this_coro::executor;
        throw std::out_of_range("mine");
    };
    CHECK_THROWS_AS(
        service.async_try_do_in_transaction(skus, throwing, asio::use_future).get(), std::out_of_range);
    auto const none = service.async_try_do_in_transaction(std::vector<Key>{}, take, asio::use_future).get();
    CHECK(none.errc() == Errc::invalid_argument);
    CHECK(pieces(repository, skus) == 28);
}

/// One effect for each operation id.
template <class Service, class R>
void check_operation_ids(Service const& service, R const& repository)
{
    using namespace interlock;
    auto const skus = many_stocks(repository, 6);
    TakeOneOfEach const take;
    OperationId const id{"order of " + skus[0]};
    CHECK(service.do_in_transaction(id, skus, take) == joined(skus));
    auto const again = service.try_do_in_transaction(id, keys(skus), take);
    CHECK(again.value() == joined(skus));
    CHECK(again.replayed());
    auto const later = service.async_try_do_in_transaction(id, skus, take, boost::asio::use_future).get();
    CHECK(later.replayed());
    CHECK(pieces(repository, skus) == 54);
}

/// One effect for each request; `service` has an idempotent policy.
template <class Service, class R>
void check_requests(Service const& service, R const& repository)
{
    using namespace interlock;
    auto const skus = many_stocks(repository, 3);
    TakeOneOfEach const take;
    IdempotentRequest const request{"request of " + skus[0], Scope{"ann"}, fingerprint("body")};
    auto const first = service.do_in_transaction(request, skus, take);
    CHECK_FALSE(first.replayed());
    auto const second =
        service.async_do_in_transaction(request, keys(skus), take, boost::asio::use_future).get();
    CHECK(second.replayed());
    CHECK(*second == joined(skus));
    auto const refuse = [](std::span<Stock> states) {
        states[0].quantity = -1;
        throw FinalRejection("sold out");
    };
    IdempotentRequest const other{"another of " + skus[0], Scope{"ann"}, fingerprint("body")};
    CHECK_THROWS_AS(service.do_in_transaction(other, skus, refuse), FinalRejection);
    CHECK_THROWS_AS(service.do_in_transaction(other, skus, refuse), FinalRejection);
    CHECK(pieces(repository, skus) == 27);
}

/// What is wrong is refused before anything is asked, in words that say which key it was.
template <class Service, class R>
void check_wrong_ranges(Service const& service, R const& repository)
{
    using namespace interlock;
    auto const skus = many_stocks(repository, 3);
    int runs = 0;
    auto const text_of = [&](auto const& range) {
        auto const outcome = service.try_do_in_transaction(
            range, [&](std::span<Stock>) { ++runs; }, {.deadline = long_deadline});
        CHECK(outcome.errc() == Errc::invalid_argument);
        return outcome.failure().detail();
    };
    CHECK(
        text_of(std::vector<std::string>{}) ==
        "the range of keys is empty: a transaction needs at least one");
    CHECK(
        text_of(std::vector{skus[0], skus[1], skus[2], skus[1]}) ==
        "a key is named twice: keys 2 and 4 of 4 are " + skus[1]);
    CHECK(text_of(std::vector{skus[0], std::string{}}) == "key 2 of 2: key is empty");
    CHECK(
        text_of(std::vector{skus[0], std::string(513, 'x'), skus[1]}) ==
        "key 2 of 3: key has 513 bytes, the limit is 512");
    CHECK(text_of(std::vector{std::string{}}) == "key is empty");
    std::vector<std::string> many;
    for (std::size_t i = 0; i <= max_keys_of_a_range; ++i)
        many.push_back("key " + std::to_string(i));
    CHECK(
        text_of(many) ==
        "the range names more than 1000 keys, the limit of one transaction "
        "(max_keys_of_a_range)");
    CHECK(runs == 0);

    auto const missing = std::vector{skus[0], skus[1] + "-none", skus[2]};
    auto const outcome = service.try_do_in_transaction(missing, [&](std::span<Stock>) { ++runs; });
    CHECK(outcome.errc() == Errc::not_found);
    CHECK(outcome.failure().detail().ends_with(skus[1] + "-none: not_found"));
    CHECK(runs == 0);
    CHECK(pieces(repository, skus) == 30);
}

/// An operation that throws, or that renames a state, leaves no trace; nor does it keep a lock.
template <class Service, class R>
void check_nothing_is_left(Service const& service, R const& repository)
{
    using namespace interlock;
    auto const skus = many_stocks(repository, 3);
    auto const throwing = [](std::span<Stock> states) {
        for (auto& s : states)
            s.quantity = -1;
        throw std::runtime_error("mine");
    };
    CHECK_THROWS_AS(service.do_in_transaction(skus, throwing), std::runtime_error);
    auto const throwing_late = [](std::vector<Stock*> states) {
        for (auto* s : states)
            s->quantity = -1;
        throw std::runtime_error("mine");
    };
    CHECK_THROWS_AS(service.do_in_transaction(skus, throwing_late), std::runtime_error);
    auto const renaming = [](std::span<Stock> states) {
        states[0].quantity = -1;
        states[2].sku = "another";
    };
    CHECK(service.try_do_in_transaction(skus, renaming).errc() == Errc::invalid_argument);
    auto const swapping = [](std::span<Stock> states) { std::swap(states[0], states[1]); };
    CHECK(service.try_do_in_transaction(skus, swapping).errc() == Errc::invalid_argument);
    CHECK(pieces(repository, skus) == 30);
    CHECK(service.do_in_transaction(skus, TakeOneOfEach{}, {.deadline = long_deadline}) == joined(skus));
    // What an operation around this one works on would be waited for without end.
    service.do_in_transaction(skus, [&](std::span<Stock>) {
        auto const inner = std::vector{skus[2] + "-other", skus[1]};
        CHECK(service.try_do_in_transaction(inner, TakeOneOfEach{}).errc() == Errc::would_deadlock);
    });
}

/// Threads that move pieces between states of overlapping ranges, in every order: none is lost, nobody waits
/// for ever, and none sees a sum that was never true.
template <class Service, class R>
void check_concurrent_ranges(Service const& service, R const& repository, int rounds)
{
    using namespace interlock;
    auto const skus = many_stocks(repository, 5);
    std::atomic<int> wrong{0};
    run_threads(4, [&](std::size_t thread) {
        std::minstd_rand random{static_cast<unsigned>(thread + 1)};
        for (int i = 0; i < rounds; ++i) {
            auto mine = skus;
            std::shuffle(mine.begin(), mine.end(), random);
            bool const all = i % 4 == 0;
            mine.resize(all ? 5 : 3);
            auto const move = [&](std::span<Stock> states) {
                --states.front().quantity;
                ++states.back().quantity;
                int sum = 0;
                for (auto const& s : states)
                    sum += s.quantity;
                return sum;
            };
            auto const outcome = service.try_do_in_transaction(mine, move, {.deadline = long_deadline});
            wrong += !outcome || (all && *outcome != 50) ? 1 : 0;
            auto const move_between_two = [](Stock& a, Stock& b) { --a.quantity, ++b.quantity; };
            wrong += !service.try_do_in_transaction(
                         keys(mine[1], mine[0]), move_between_two, {.deadline = long_deadline})
                         ? 1
                         : 0;
        }
    });
    CHECK(wrong == 0);
    CHECK(pieces(repository, skus) == 50);
}

/// As many as there may be.
template <class Service, class R>
void check_most_keys(Service const& service, R const& repository)
{
    using namespace interlock;
    auto const skus = many_stocks(repository, max_keys_of_a_range);
    CHECK(service.do_in_transaction(skus, TakeOneOfEach{}, {.deadline = long_deadline}) == joined(skus));
    CHECK(
        service.do_in_transaction(OperationId{skus[0]}, skus, TakeOneOfEach{}, {.deadline = long_deadline}) ==
        joined(skus));
    CHECK(pieces(repository, skus) == 8 * static_cast<int>(max_keys_of_a_range));
}

/// A conflict makes the operation run again, on states that are loaded again.
template <class Service, class R>
void check_runs_again(Service const& service, R const& repository)
{
    using namespace interlock;
    auto const skus = many_stocks(repository, 3);
    int runs = 0;
    auto const take = [&](std::span<Stock> states, TransactionContext& context) {
        CHECK(context.attempt() == ++runs);
        for (auto& s : states)
            --s.quantity;
        if (runs == 1) {  // somebody else comes between
            auto other = repository.load(skus[1]).value();
            other.value.quantity += 100;
            static_cast<void>(repository.compare_and_set(skus[1], other.version, other.value).value());
        }
    };
    service.do_in_transaction(skus, take);
    CHECK(runs == 2);
    CHECK(pieces(repository, skus) == 127);
}

/// What may differ between stores.
template <class Service, class R>
void check_ranges(Service const& service, R const& repository, int rounds)
{
    check_asynchronous_calls(service, repository);
    check_operation_ids(service, repository);
    check_nothing_is_left(service, repository);
    check_concurrent_ranges(service, repository, rounds);
}

}  // namespace interlock_test

#endif  // INTERLOCK_TESTS_SUPPORT_MANY_KEYS_HPP
