// SPDX-License-Identifier: BSL-1.0

// What every policy promises, on every backend, by the blocking and by the asynchronous calls.

#include <interlock/core/codec/json_state_traits.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/idempotency_keys.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/describe/class.hpp>

#include "contract/backends.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#ifdef INTERLOCK_TESTS_CONTRACT_EVENTS
namespace contract {

/// Stored as JSON, which has no NaN, and no text that is not UTF-8.
struct Measured {
    std::string id;
    double value{0};
    std::string note{};
};
BOOST_DESCRIBE_STRUCT(Measured, (), (id, value, note))
/// The same of a state that may be copied as bytes.
struct MeasuredPlainly {
    std::int64_t id{0};
    double value{0};
};
BOOST_DESCRIBE_STRUCT(MeasuredPlainly, (), (id, value))
/// Whose author throws no `std::exception`.
struct Refusing {
    std::string id;
    double value{0};
};

}  // namespace contract

template <>
struct interlock::StateTraits<contract::Measured> : interlock::JsonStateTraits<contract::Measured> {};
template <>
struct interlock::StateTraits<contract::MeasuredPlainly>
    : interlock::JsonStateTraits<contract::MeasuredPlainly> {};
template <>
struct interlock::StateTraits<contract::Refusing> {
    using Refusing = contract::Refusing;
    using key_type = std::string;
    static std::string const& key(Refusing const& state) { return state.id; }
    static void encode(Refusing const& state, std::string& out)
    {
        static_cast<void>(encoded_size(state));
        out += state.id + '=' + std::to_string(state.value);
    }
    static std::optional<Refusing> decode(std::string_view bytes)
    {
        auto const at = bytes.find('=');
        return Refusing{std::string{bytes.substr(0, at)}, std::stod(std::string{bytes.substr(at + 1)})};
    }
    static std::size_t encoded_size(Refusing const& state)
    {
        if (state.value != state.value)
            throw 1;
        return state.id.size() + 1 + std::to_string(state.value).size();
    }
};
#endif

namespace contract {
namespace {

namespace asio = boost::asio;
using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::run_threads;

template <class Policy, class Backend>
struct Pair {
    Backend backend;
    auto service() const { return TransactionService{Policy{}, backend.repository()}; }
    auto idempotent_service() const
    {
        return TransactionService{
            IdempotencyKeys{Policy{}, backend.idempotency_store(), {.duplicates = Duplicates::wait}},
            backend.repository()};
    }
    void put(std::string const& sku, int quantity) const
    {
        static_cast<void>(backend.repository().insert(Key{sku}, Stock{sku, quantity}, Deadline{}).value());
    }
    int get(std::string const& sku) const
    {
        return backend.repository().load(Key{sku}, Deadline{}).value().value.quantity;
    }
};

template <class Policy, class... B>
std::tuple<Pair<Policy, B>...> pairs_of(std::tuple<B...>);
template <class Policy, class List = Backends>
using With = decltype(pairs_of<Policy>(std::declval<List>()));
using Pairs = decltype(std::tuple_cat(
    std::declval<With<OptimisticVersioning>>(), std::declval<With<PessimisticRowLock, RowLockingBackends>>(),
    std::declval<With<SetNxLock>>()));
using PairsWithoutFences = With<EfficiencySetNxLock>;

/// One call by the asynchronous face, waited for.
template <class Service, class F>
auto run_async(Service const& service, auto const& key, F operation)
{
    asio::io_context io;
    std::optional<Outcome<int>> result;
    std::exception_ptr thrown;
    service.async_try_do_in_transaction(
        key, operation, {.deadline = 60s},
        asio::bind_executor(io, [&](std::exception_ptr e, Outcome<int> outcome) {
            thrown = e;
            result.emplace(std::move(outcome));
        }));
    io.run();
    if (thrown)
        std::rethrow_exception(thrown);
    return *std::move(result);
}

TEMPLATE_LIST_TEST_CASE("a transaction is applied or leaves no trace", "[contract][policies]", Pairs)
{
    TestType const pair;
    auto const service = pair.service();
    pair.put("x", 10);
    pair.put("y", 10);
    auto const take = [](Stock& s) { return --s.quantity; };
    CHECK(service.do_in_transaction("x", take) == 9);
    CHECK(run_async(service, std::string("x"), take).value() == 8);
    auto const fail = [](Stock& s) -> int {
        s.quantity = -1;
        throw std::runtime_error("mine");
    };
    CHECK_THROWS_AS(service.do_in_transaction("x", fail), std::runtime_error);
    CHECK_THROWS_AS(run_async(service, std::string("x"), fail), std::runtime_error);
    auto const rename = [](Stock& s) {
        s.sku = "z";
        return 0;
    };
    CHECK(service.try_do_in_transaction("x", rename).errc() == Errc::invalid_argument);
    CHECK(run_async(service, std::string("x"), rename).errc() == Errc::invalid_argument);
    CHECK(service.try_do_in_transaction("none", take).errc() == Errc::not_found);
    CHECK(run_async(service, std::string("none"), take).errc() == Errc::not_found);
    auto const move_two = [](Stock& from, Stock& to) {
        from.quantity -= 2;
        to.quantity += 2;
        return from.quantity;
    };
    CHECK(service.do_in_transaction(keys("y", "x"), move_two) == 8);
    CHECK(run_async(service, keys(std::string("x"), std::string("y")), move_two).value() == 8);
    CHECK(pair.get("x") == 8);
    CHECK(pair.get("y") == 10);
}

TEMPLATE_LIST_TEST_CASE(
    "a transaction on a range is applied to all of its states or to none", "[contract][policies]", Pairs)
{
    TestType const pair;
    auto const service = pair.service();
    for (auto const* sku : {"x", "y", "z"})
        pair.put(sku, 10);
    std::vector<std::string> const skus{"z", "x", "y"};
    auto const take = [](std::span<Stock> states) {
        for (auto& s : states)
            --s.quantity;
        return states[0].sku == "z" ? states[0].quantity : -1;
    };
    CHECK(service.do_in_transaction(skus, take) == 9);
    CHECK(run_async(service, keys(skus), take).value() == 8);
    OperationId const id{"op"};
    CHECK(service.do_in_transaction(id, skus, take) == 7);
    CHECK(service.do_in_transaction(id, skus, take) == 7);
    auto const fail = [](std::vector<Stock*> const& states) -> int {
        for (auto* s : states)
            s->quantity = -1;
        throw std::runtime_error("mine");
    };
    CHECK_THROWS_AS(service.do_in_transaction(skus, fail), std::runtime_error);
    CHECK_THROWS_AS(run_async(service, skus, fail), std::runtime_error);
    std::vector<std::string> const missing{"x", "none"};
    CHECK(service.try_do_in_transaction(missing, take).errc() == Errc::not_found);
    CHECK(run_async(service, missing, take).errc() == Errc::not_found);
    std::vector<std::string> const twice{"x", "y", "x"};
    CHECK(service.try_do_in_transaction(twice, take).errc() == Errc::invalid_argument);
    CHECK(run_async(service, std::vector<std::string>{}, take).errc() == Errc::invalid_argument);
    for (auto const* sku : {"x", "y", "z"})
        CHECK(pair.get(sku) == 7);
}

TEMPLATE_LIST_TEST_CASE(
    "no update is lost between threads, handles, and blocking and asynchronous calls", "[contract][policies]",
    Pairs)
{
    TestType const pair;
    pair.put("x", 0);
    std::atomic<int> failed{0};
    run_threads(4, [&](std::size_t i) {
        auto const service = pair.service();
        auto const add = [](Stock& s) { return ++s.quantity; };
        for (int n = 0; n < 20; ++n) {
            auto const outcome = i % 2 == 0 ? service.try_do_in_transaction("x", add, {.deadline = 60s})
                                            : run_async(service, std::string("x"), add);
            failed += outcome ? 0 : 1;
        }
    });
    CHECK(failed == 0);
    CHECK(pair.get("x") == 80);
}

TEMPLATE_LIST_TEST_CASE("an operation id has one effect and one answer", "[contract][policies]", Pairs)
{
    TestType const pair;
    pair.put("x", 100);
    auto const service = pair.service();
    std::vector<std::optional<Outcome<int>>> answers(8);
    run_threads(answers.size(), [&](std::size_t i) {
        answers[i] = service.try_do_in_transaction(
            OperationId{"op"}, "x", [](Stock& s) { return --s.quantity; }, {.deadline = 60s});
    });
    for (auto const& answer : answers) {
        REQUIRE(*answer);
        CHECK(**answer == 99);
    }
    CHECK(pair.get("x") == 99);
}

TEMPLATE_LIST_TEST_CASE(
    "an operation id under locks without fences has one answer, whatever the number of its keys",
    "[contract][policies]", PairsWithoutFences)
{
    TestType const pair;
    auto const service = pair.service();
    int runs = 0;
    for (bool const replayed : {false, true}) {
        auto const one = service.try_do_in_transaction(
            OperationId{"one"}, "x", [&](EfficiencyLock<Stock>&) { return ++runs; });
        CHECK(one.value() == 1);
        CHECK(one.replayed() == replayed);
    }
    for (bool const replayed : {false, true}) {
        auto const two = service.try_do_in_transaction(
            OperationId{"two"}, keys("y", "x"),
            [&](EfficiencyLock<Stock>&, EfficiencyLock<Stock>&) { return ++runs; });
        CHECK(two.value() == 2);
        CHECK(two.replayed() == replayed);
    }
    std::vector<std::string> const names{"z", "x", "y"};
    for (bool const replayed : {false, true}) {
        auto const range = service.try_do_in_transaction(
            OperationId{"range"}, names, [&](std::span<EfficiencyLock<Stock>* const>) { return ++runs; });
        CHECK(range.value() == 3);
        CHECK(range.replayed() == replayed);
    }
    CHECK(runs == 3);
}

TEMPLATE_LIST_TEST_CASE(
    "an idempotent request is executed once and answered alike", "[contract][policies]", Pairs)
{
    TestType const pair;
    pair.put("x", 100);
    auto const service = pair.idempotent_service();
    IdempotentRequest const request("k", Scope("s"), fingerprint("body"));
    std::atomic<int> executions{0};
    std::vector<std::optional<Outcome<Answer<int>>>> answers(6);
    run_threads(answers.size(), [&](std::size_t i) {
        answers[i] = service.try_do_in_transaction(
            request, "x",
            [&](Stock& s) {
                ++executions;
                return --s.quantity;
            },
            {.deadline = 60s});
    });
    int fresh = 0;
    for (auto const& answer : answers) {
        REQUIRE(*answer);
        CHECK((*answer)->value() == 99);
        fresh += (*answer)->replayed() ? 0 : 1;
    }
    CHECK(fresh == 1);
    CHECK(executions == 1);
    CHECK(pair.get("x") == 99);
    IdempotentRequest const other("k", Scope("s"), fingerprint("another body"));
    CHECK(
        service.try_do_in_transaction(other, "x", [](Stock& s) { return --s.quantity; }).errc() ==
        Errc::idempotency_mismatch);
}

TEMPLATE_LIST_TEST_CASE("a call ends by its deadline while the key is in use", "[contract][policies]", Pairs)
{
    TestType const pair;
    pair.put("x", 1);
    auto const service = pair.service();
    if constexpr (!std::is_same_v<typename decltype(pair.service())::policy_type, OptimisticVersioning>) {
        std::optional<Errc> waited;
        service.do_in_transaction("x", [&](Stock&) {
            run_threads(1, [&](std::size_t) {
                waited = service.try_do_in_transaction("x", [](Stock&) {}, {.deadline = 50ms}).errc();
            });
        });
        CHECK(waited == Errc::deadline_exceeded);
    }
    CHECK(service.do_in_transaction("x", [](Stock& s) { return s.quantity; }) == 1);
}

#ifdef INTERLOCK_TESTS_CONTRACT_EVENTS

constexpr double no_number = std::numeric_limits<double>::quiet_NaN();

/// `spoil` makes a state of which nothing can be stored. Calls that do it change nothing, whichever they are.
template <class Repository, class State, class F>
void refuses_without_a_trace(Repository const& states, State const& good, F spoil)
{
    auto const key = make_key<State, typename Repository::key_type>(good);
    auto bad = good;
    spoil(bad);
    CHECK(states.insert(bad).errc() == Errc::invalid_argument);
    CHECK(states.load(key).errc() == Errc::not_found);
    auto const version = states.insert(good).value();
    CHECK(states.compare_and_set(key, version, bad).errc() == Errc::invalid_argument);
    std::array changes{Change<State>{.key = &key, .version = version, .value = &bad}};
    CHECK(states.commit(changes, nullptr, Deadline{}).errc() == Errc::invalid_argument);
    auto const operation = [&](State& state) {
        spoil(state);
        return 1;
    };
    auto const check = [&](auto const& service) {
        CHECK(service.try_do_in_transaction(key, operation).errc() == Errc::invalid_argument);
        CHECK(run_async(service, key, operation).errc() == Errc::invalid_argument);
        OperationId const id{"spoils"};
        CHECK(service.try_do_in_transaction(id, key, operation).errc() == Errc::invalid_argument);
    };
    check(TransactionService{OptimisticVersioning{}, states});
    check(TransactionService{SetNxLock{}, states});
    if constexpr (RowLockingRepository<Repository>)
        check(TransactionService{PessimisticRowLock{}, states});
    auto const now = states.load(key).value();
    CHECK(now.version == version);
    CHECK(now.value.value == good.value);
}

TEST_CASE("a value that has no stored form is refused, and nothing is stored", "[contract][policies]")
{
    std::tuple_element_t<1, EventBackends> const backend;
    auto const no_value = [](auto& state) { state.value = no_number; };
    refuses_without_a_trace(backend.template states<Measured>(), Measured{"x", 1}, no_value);
    refuses_without_a_trace(
        backend.template states<Measured>(), Measured{"y", 1}, [](Measured& state) { state.note = "\xff"; });
    refuses_without_a_trace(backend.template states<MeasuredPlainly>(), MeasuredPlainly{7, 1}, no_value);
    refuses_without_a_trace(backend.template states<Refusing>(), Refusing{"z", 1}, no_value);
}

#endif

}  // namespace
}  // namespace contract
