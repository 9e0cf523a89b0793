// SPDX-License-Identifier: BSL-1.0

// What operations record, under every policy, on every store that has events: each event exactly as often as
// its effect, in order, none missing.
//
// How it works: an operation that sells one of a stock records how many are left. The events of the stock's
// stream must then count down from the first quantity to the last, whatever was thrown, refused, repeated or
// run again meanwhile: a missing event, one too many or two in the wrong order break the row.

#include "contract/backends.hpp"

#ifdef INTERLOCK_TESTS_CONTRACT_EVENTS

#include <interlock/core/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/any_policy.hpp>
#include <interlock/policies/idempotency_in_transaction.hpp>
#include <interlock/policies/idempotency_keys.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>

#include "contract/events.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace contract::recording {
namespace {

namespace asio = boost::asio;
using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::run_threads;

// ---- the policies -------------------------------------------------------------------------------

/// A policy by itself. Calls are named by operation ids.
template <class Policy>
struct Plain {
    using name_type = OperationId;
    static constexpr bool shares_transaction = std::is_same_v<Policy, PessimisticRowLock>;
    template <class Backend, class Repository>
    static auto service(Backend const&, Repository const& repository)
    {
        return TransactionService{Policy{.missing = Missing::create}, repository};
    }
};

/// A policy that is chosen at run time.
template <class Policy>
struct Chosen {
    using name_type = OperationId;
    static constexpr bool shares_transaction = false;
    template <class Backend, class Repository>
    static auto service(Backend const&, Repository const& repository)
    {
        return TransactionService<Stock>{
            AnyPolicy{Policy{.missing = Missing::create}}, StateRepository<Stock>{repository}};
    }
};

/// With idempotency keys around it. Calls are named by requests.
template <class Policy>
struct Keyed {
    using name_type = IdempotentRequest;
    static constexpr bool shares_transaction = std::is_same_v<Policy, PessimisticRowLock>;
    template <class Backend, class Repository>
    static auto service(Backend const& backend, Repository const& repository)
    {
        return TransactionService{
            IdempotencyKeys{
                Policy{.missing = Missing::create},
                backend.idempotency_store(),
                {.duplicates = Duplicates::wait}},
            repository};
    }
};

/// With records in the transaction of the effect.
struct InTransaction {
    using name_type = IdempotentRequest;
    static constexpr bool shares_transaction = true;
    template <class Backend, class Repository>
    static auto service(Backend const& backend, Repository const& repository)
    {
        return TransactionService{
            IdempotencyInTransaction{
                PessimisticRowLock{.missing = Missing::create}, backend.transactional_store()},
            repository};
    }
};

/// A policy on a store.
template <class Kind, class Backend>
struct Pair {
    using kind = Kind;
    Backend backend;
    auto service() const { return Kind::service(backend, backend.repository()); }
    auto other_service() const { return Kind::service(backend, backend.other()); }
    void put(std::string const& sku, int quantity) const
    {
        static_cast<void>(backend.repository().insert(Key{sku}, Stock{sku, quantity}, Deadline{}).value());
    }
    int get(std::string const& sku) const
    {
        return backend.repository().load(Key{sku}, Deadline{}).value().value.quantity;
    }
    std::vector<Event> stream(std::string const& sku) const
    {
        return backend.events().read_stream(Key{sku}, 0, 10'000, Deadline{}).value();
    }
    std::vector<int> said(std::string const& sku) const { return quantities(stream(sku)); }
};

template <class Kind, class... B>
std::tuple<Pair<Kind, B>...> pairs_of(std::tuple<B...>);
template <class Kind, class List = RecordingBackends>
using With = decltype(pairs_of<Kind>(std::declval<List>()));
template <class... Tuples>
using Joined = decltype(std::tuple_cat(std::declval<Tuples>()...));

// What wraps another policy hands on to it: on one fixture.
using First = std::tuple<std::tuple_element_t<0, RecordingBackends>>;
using LockingRows = decltype(with_row_locks(std::declval<RecordingBackends>()));
using FirstLockingRows = decltype(with_row_locks(std::declval<First>()));

template <class B>
constexpr bool transactional = requires(B const& backend) { backend.transactional_store(); };
template <class B>
using if_transactional =
    std::conditional_t<transactional<B>, std::tuple<Pair<InTransaction, B>>, std::tuple<>>;
template <class... B>
Joined<if_transactional<B>...> in_transaction(std::tuple<B...>);

using Pairs = Joined<
    With<Plain<OptimisticVersioning>>, With<Plain<SetNxLock>>, With<Chosen<OptimisticVersioning>, First>,
    With<Chosen<SetNxLock>, First>, With<Keyed<OptimisticVersioning>, First>, With<Keyed<SetNxLock>, First>,
    With<Plain<PessimisticRowLock>, LockingRows>, With<Chosen<PessimisticRowLock>, FirstLockingRows>,
    With<Keyed<PessimisticRowLock>, FirstLockingRows>, decltype(in_transaction(std::declval<First>()))>;

template <class P>
using if_shares = std::conditional_t<P::kind::shares_transaction, std::tuple<P>, std::tuple<>>;
template <class... P>
Joined<if_shares<P>...> that_share(std::tuple<P...>);

// ---- calls --------------------------------------------------------------------------------------

template <class Pair>
constexpr bool wants_requests = std::is_same_v<typename Pair::kind::name_type, IdempotentRequest>;

/// The name of a call that may come twice.
template <class Pair>
auto named(std::string const& name)
{
    if constexpr (wants_requests<Pair>)
        return IdempotentRequest(name, Scope("s"), fingerprint("body"));
    else
        return OperationId{name};
}

int next_number()
{
    static std::atomic<int> count{0};
    return ++count;
}

/// A call that nobody names; under an idempotent policy it is another request each time.
template <class Pair, class Service, class Keys, class F>
auto call(Service const& service, Keys const& keys, F const& operation)
{
    if constexpr (wants_requests<Pair>)
        return service.try_do_in_transaction(
            named<Pair>("unnamed " + std::to_string(next_number())), keys, operation, {.deadline = 60s});
    else
        return service.try_do_in_transaction(keys, operation, {.deadline = 60s});
}
template <class Pair, class Service, class Keys, class F>
auto call(Service const& service, std::string const& name, Keys const& keys, F const& operation)
{
    return service.try_do_in_transaction(named<Pair>(name), keys, operation, {.deadline = 60s});
}
/// Likewise, for a caller that does not block.
template <class Pair, class Service, class Keys, class F>
Errc call_async(Service const& service, std::string const& name, Keys const& keys, F const& operation)
{
    asio::io_context io;
    std::optional<Errc> result;
    std::exception_ptr thrown;
    service.async_try_do_in_transaction(
        named<Pair>(name), keys, operation, {.deadline = 60s},
        asio::bind_executor(io, [&](std::exception_ptr e, auto outcome) {
            thrown = e;
            result = outcome.errc();
        }));
    io.run();
    if (thrown)
        std::rethrow_exception(thrown);
    return result.value();
}

constexpr auto sell = [](Stock& s, Recorder& record) {
    --s.quantity;
    record(Sold{s.sku, s.quantity});
    return s.quantity;
};

// ---- the cases ----------------------------------------------------------------------------------

TEMPLATE_LIST_TEST_CASE(
    "what an operation records is there as often as its change", "[contract][recording]", Pairs)
{
    TestType const pair;
    auto const service = pair.service();
    pair.put("x", 10);
    CHECK(call<TestType>(service, "x", sell));
    CHECK(pair.said("x") == std::vector{9});
    // Several facts keep their order.
    CHECK(call<TestType>(service, "x", [](Stock& s, Recorder& record) {
        record(Reordered{s.sku});
        --s.quantity;
        record(Sold{s.sku, s.quantity});
        return 0;
    }));
    CHECK(pair.said("x") == std::vector{9, -1, 8});
    auto const reordered = pair.stream("x").at(1);
    CHECK(reordered.template as<Reordered>().value().sku == "x");
    CHECK(reordered.writer == "contract");
    CHECK(reordered.id.size() == 32);
    CHECK(reordered.id != pair.stream("x").at(2).id);
    // With the context in between.
    CHECK(call<TestType>(
        service, "x", [](Stock& s, TransactionContext&, Recorder& record) { return sell(s, record); }));
    CHECK(pair.said("x") == std::vector{9, -1, 8, 7});
    CHECK(call_async<TestType>(service, "async", "x", sell) == Errc::ok);
    CHECK(pair.said("x") == std::vector{9, -1, 8, 7, 6});
    CHECK(pair.get("x") == 6);
}

TEMPLATE_LIST_TEST_CASE("an operation that failed has recorded nothing", "[contract][recording]", Pairs)
{
    TestType const pair;
    auto const service = pair.service();
    pair.put("x", 10);
    auto const fail = [](Stock& s, Recorder& record) -> int {
        sell(s, record);
        throw std::runtime_error("mine");
    };
    CHECK_THROWS_AS(call<TestType>(service, "x", fail), std::runtime_error);
    CHECK_THROWS_AS(call<TestType>(service, "named", "x", fail), std::runtime_error);
    CHECK_THROWS_AS(call_async<TestType>(service, "async", "x", fail), std::runtime_error);
    auto const rename = [](Stock& s, Recorder& record) {
        record(Sold{s.sku, 0});
        s.sku = "z";
        return 0;
    };
    CHECK(call<TestType>(service, "x", rename).errc() == Errc::invalid_argument);
    CHECK(call_async<TestType>(service, "rename", "x", rename) == Errc::invalid_argument);
    auto const too_many = [](Stock& s, Recorder& record) {
        for (std::size_t i = 0; i <= max_events_of_commit; ++i)
            record(Sold{s.sku, 0});
        s.quantity = 0;
        return 0;
    };
    CHECK(call<TestType>(service, "x", too_many).errc() == Errc::invalid_argument);
    CHECK(everything(pair.backend.events()).empty());
    CHECK(pair.get("x") == 10);
    // And the name of what failed is free.
    CHECK(call<TestType>(service, "named", "x", sell));
    CHECK(pair.said("x") == std::vector{9});
}

TEMPLATE_LIST_TEST_CASE("an operation that comes again has recorded once", "[contract][recording]", Pairs)
{
    TestType const pair;
    auto const service = pair.service();
    auto const other = pair.other_service();
    pair.put("x", 10);
    CHECK(call<TestType>(service, "a", "x", sell));
    CHECK(call<TestType>(service, "a", "x", sell));
    CHECK(call_async<TestType>(other, "a", "x", sell) == Errc::ok);
    CHECK(call_async<TestType>(service, "b", "x", sell) == Errc::ok);
    CHECK(call<TestType>(other, "b", "x", sell));
    std::atomic<int> failed{0};
    run_threads(4, [&](std::size_t i) {
        for (int n = 0; n < 5; ++n)
            failed +=
                call<TestType>(i % 2 == 0 ? service : other, "n" + std::to_string(n), "x", sell) ? 0 : 1;
    });
    CHECK(failed == 0);
    CHECK(pair.said("x") == std::vector{9, 8, 7, 6, 5, 4, 3});
    CHECK(pair.get("x") == 3);
}

TEMPLATE_LIST_TEST_CASE(
    "what is recorded without a change is stored, and so is that of a new state", "[contract][recording]",
    Pairs)
{
    TestType const pair;
    auto const service = pair.service();
    pair.put("x", 10);
    auto const look = [](Stock& s, Recorder& record) {
        record(Sold{s.sku, s.quantity});
        return s.quantity;
    };
    CHECK(call<TestType>(service, "x", look));
    CHECK(call<TestType>(service, "look", "x", look));
    CHECK(call<TestType>(service, "look", "x", look));
    CHECK(call_async<TestType>(service, "async", "x", look) == Errc::ok);
    CHECK(pair.said("x") == std::vector{10, 10, 10});
    CHECK(call<TestType>(service, "x", sell));
    CHECK(pair.said("x") == std::vector{10, 10, 10, 9});
    // An operation that could record, and does not.
    CHECK(call<TestType>(service, "x", [](Stock& s, Recorder&) { return --s.quantity; }));
    CHECK(call<TestType>(service, "x", [](Stock& s, Recorder&) { return s.quantity; }));
    CHECK(pair.said("x").size() == 4);
    CHECK(pair.get("x") == 8);
    // The first event of a state that this call makes.
    CHECK(call<TestType>(service, "new", sell));
    CHECK(call_async<TestType>(service, "newer", "newer", sell) == Errc::ok);
    CHECK(pair.said("new") == std::vector{-1});
    CHECK(pair.said("newer") == std::vector{-1});
    CHECK(pair.stream("new").at(0).number == 1);
    CHECK(pair.get("new") == -1);
}

TEMPLATE_LIST_TEST_CASE(
    "what is recorded for one of several states is in its stream", "[contract][recording]", Pairs)
{
    TestType const pair;
    auto const service = pair.service();
    pair.put("x", 10);
    pair.put("y", 10);
    auto const move = [](Stock& from, Stock& to, Recorder& record) {
        record(Sold{to.sku, ++to.quantity}, 1);
        record(Sold{from.sku, --from.quantity});
        record(Reordered{to.sku}, 1);
        return 0;
    };
    CHECK(call<TestType>(service, keys("x", "y"), move));
    CHECK(pair.said("x") == std::vector{9});
    CHECK(pair.said("y") == std::vector{11, -1});
    CHECK(call<TestType>(service, "named", keys("y", "x"), move));
    CHECK(call<TestType>(service, "named", keys("y", "x"), move));
    CHECK(call_async<TestType>(service, "async", keys(std::string("y"), std::string("x")), move) == Errc::ok);
    CHECK(pair.said("x") == std::vector{9, 10, -1, 11, -1});
    CHECK(pair.said("y") == std::vector{11, -1, 10, 9});
    // One state is read only, and it is its event.
    CHECK(call<TestType>(service, keys("x", "y"), [](Stock& from, Stock&, Recorder& record) {
        --from.quantity;
        record(Sold{"y", 0}, 1);
        return 0;
    }));
    CHECK(pair.said("y").back() == 0);
    CHECK(pair.said("x").size() == 5);
    // Not applied: neither stream has anything of it.
    CHECK(call<TestType>(service, keys("x", "y"), [](Stock& from, Stock& to, Recorder& record) {
              record(Sold{from.sku, 0});
              record(Sold{to.sku, 0}, 2);
              return 0;
          }).errc() == Errc::invalid_argument);
    CHECK(everything(pair.backend.events()).size() == 10);
}

TEMPLATE_LIST_TEST_CASE(
    "between threads, handles and blocking and asynchronous calls each effect has its event",
    "[contract][recording]", Pairs)
{
    TestType const pair;
    pair.put("x", 80);
    pair.put("y", 0);
    std::atomic<int> failed{0};
    run_threads(4, [&](std::size_t i) {
        auto const service = i % 2 == 0 ? pair.service() : pair.other_service();
        for (int n = 0; n < 20; ++n) {
            auto const name = std::to_string(i) + "-" + std::to_string(n);
            // Every third call comes to nothing at its first run.
            std::atomic<bool> fails{n % 3 == 0};
            auto const operation = [&fails](Stock& s, Recorder& record) {
                auto const answer = sell(s, record);
                if (fails.exchange(false))
                    throw std::runtime_error("mine");
                return answer;
            };
            for (bool again = true; again;) {
                again = false;
                try {
                    bool const done = i < 2 ? bool(call<TestType>(service, name, "x", operation))
                                            : call_async<TestType>(service, name, "x", operation) == Errc::ok;
                    failed += done ? 0 : 1;
                } catch (std::runtime_error const&) {
                    again = true;
                }
            }
        }
    });
    CHECK(failed == 0);
    CHECK(pair.get("x") == 0);
    auto const said = pair.said("x");
    REQUIRE(said.size() == 80);
    for (int i = 0; i < 80; ++i)
        CHECK(said[static_cast<std::size_t>(i)] == 79 - i);
    CHECK(everything(pair.backend.events()).size() == 80);
}

TEMPLATE_LIST_TEST_CASE(
    "a repository without a log refuses what records, and keeps what does not", "[contract][recording]",
    Pairs)
{
    TestType const pair;
    auto const repository = pair.backend.without_events();
    static_cast<void>(repository.insert(Key{"x"}, Stock{"x", 10}, soon).value());
    auto const service = TestType::kind::service(pair.backend, repository);
    auto const refused = call<TestType>(service, "x", sell);
    CHECK(refused.errc() == Errc::misconfigured);
    CHECK_THAT(refused.detail(), Catch::Matchers::ContainsSubstring("events"));
    CHECK(call<TestType>(service, "named", "x", sell).errc() == Errc::misconfigured);
    CHECK(call_async<TestType>(service, "async", "x", sell) == Errc::misconfigured);
    CHECK(repository.load(Key{"x"}, soon).value().value.quantity == 10);
    CHECK(call<TestType>(service, "x", [](Stock& s, Recorder&) { return --s.quantity; }));
    CHECK(repository.load(Key{"x"}, soon).value().value.quantity == 9);
}

TEMPLATE_LIST_TEST_CASE("what is recorded says why it happened", "[contract][recording]", Pairs)
{
    TestType const pair;
    auto const service = pair.service();
    pair.put("x", 10);
    Cause const cause{"conversation", "request", "trace"};
    if constexpr (wants_requests<TestType>)
        CHECK(service.try_do_in_transaction(named<TestType>("op"), "x", sell, {.cause = &cause}));
    else
        CHECK(service.try_do_in_transaction("x", sell, {.cause = &cause}));
    CHECK(pair.stream("x").at(0).because == cause);
    CHECK(call<TestType>(service, "x", sell));
    CHECK(pair.stream("x").at(1).because == Cause{});
}

// ---- one policy's own ---------------------------------------------------------------------------

using OptimisticPairs = Joined<With<Plain<OptimisticVersioning>>, With<Chosen<OptimisticVersioning>, First>>;

TEMPLATE_LIST_TEST_CASE(
    "an operation that ran again after a conflict has recorded what its last run did",
    "[contract][recording]", OptimisticPairs)
{
    TestType const pair;
    auto const service = pair.service();
    for (bool changes : {true, false}) {
        auto const sku = std::string(changes ? "changes" : "looks");
        pair.put(sku, 10);
        pair.put(sku + "2", 10);
        for (bool named : {true, false}) {
            int runs = 0;
            auto const operation = [&](Stock& s, Recorder& record) {
                if (++runs == 1) {
                    auto const other = pair.backend.other();
                    auto const stored = other.load(Key{sku}, soon).value();
                    static_cast<void>(
                        other
                            .compare_and_set(
                                Key{sku}, stored.version, Stock{sku, stored.value.quantity - 5}, soon)
                            .value());
                }
                s.quantity -= changes ? 1 : 0;
                record(Sold{s.sku, s.quantity});
                return 0;
            };
            CHECK(
                (named ? bool(call<TestType>(service, sku, sku, operation))
                       : bool(call<TestType>(service, sku, operation))));
            CHECK(runs == 2);
        }
        CHECK(pair.said(sku) == (changes ? std::vector{4, -2} : std::vector{5, 0}));
        // Of two states, the other one's event is not there either.
        int runs = 0;
        CHECK(call<TestType>(service, keys(sku, sku + "2"), [&](Stock& a, Stock& b, Recorder& record) {
            record(Sold{b.sku, ++runs}, 1);
            if (runs == 1) {
                auto const other = pair.backend.other();
                auto const stored = other.load(Key{sku}, soon).value();
                static_cast<void>(
                    other.compare_and_set(Key{sku}, stored.version, Stock{sku, 100}, soon).value());
            }
            a.quantity -= changes ? 1 : 0;
            return 0;
        }));
        CHECK(pair.said(sku + "2") == std::vector{2});
    }
}

#ifdef INTERLOCK_TESTS_CONTRACT_ROW_LOCKS  // else nothing shares a transaction with an operation

using SharingPairs = decltype(that_share(std::declval<Pairs>()));

TEMPLATE_LIST_TEST_CASE(
    "an operation that sees the store's transaction records into it", "[contract][recording]", SharingPairs)
{
    TestType const pair;
    auto const service = pair.service();
    // A store may show operations less of its transaction than policies see.
    using Transaction = typename detail::shown_transaction<
        typename decltype(pair.backend.repository())::transaction_type, false>::type;
    pair.put("x", 10);
    auto const with = [](Stock& s, Transaction&, Recorder& record) { return sell(s, record); };
    CHECK(call<TestType>(service, "x", with));
    CHECK(call<TestType>(service, "named", "x", with));
    CHECK(call<TestType>(service, "named", "x", with));
    CHECK_THROWS_AS(
        call<TestType>(
            service, "x",
            [](Stock& s, Transaction&, Recorder& record) -> int {
                sell(s, record);
                throw std::runtime_error("mine");
            }),
        std::runtime_error);
    CHECK(call<TestType>(service, "x", [](Stock& s, Transaction&, Recorder& record) {
        record(Sold{s.sku, s.quantity});
        return 0;
    }));
    CHECK(pair.said("x") == std::vector{9, 8, 8});
    CHECK(pair.get("x") == 8);
}

#endif

}  // namespace
}  // namespace contract::recording

#endif  // INTERLOCK_TESTS_CONTRACT_EVENTS
