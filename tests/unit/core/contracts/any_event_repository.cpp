// SPDX-License-Identifier: BSL-1.0

// A log that is chosen at run time, and states that are opened with it. What a log promises, erased or not,
// is in tests/contract/event_repository.cpp.

#include <interlock/backends/memory/backend.hpp>
#include <interlock/backends/memory/event_repository.hpp>
#include <interlock/core/contracts/any_event_repository.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/any_policy.hpp>

#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/states.hpp"

#include <array>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace any_event_repository_test {

using namespace interlock;
using interlock_test::Stock;

struct Sold {
    std::string sku;
    int quantity{0};
    static constexpr EventType event{"stock.sold", 1};
};
BOOST_DESCRIBE_STRUCT(Sold, (), (sku, quantity))

/// A backend without events, whose states are in memory.
struct Plain {
    static constexpr std::string_view scheme = "plain";
    template <class T>
    StateRepository<T> open(std::string_view) const
    {
        return memory::StateRepository<T>{};
    }
    AnyIdempotencyStore open_idempotency_store(std::string_view) const { return memory::IdempotencyStore{}; }
};

/// A log that is none of a backend's, and hands everything on to one in memory.
class Foreign : public EventMembers<Foreign> {
public:
    using runtime_type = SystemRuntime;
    static constexpr std::string_view name = "foreign";
    SystemRuntime runtime() const noexcept { return {}; }
    void const* identity() const noexcept { return log_.identity(); }
    unsigned partitions() const noexcept { return log_.partitions(); }
    template <class Verb>
        requires CarriesOut<memory::EventRepository, Verb>
    Outcome<typename Verb::answer> carry_out(Verb const& verb, Deadline deadline) const
    {
        return log_.carry_out(verb, deadline);
    }

private:
    memory::EventRepository log_;
};

constexpr auto sell = [](Stock& s, Recorder& record) {
    --s.quantity;
    record(Sold{s.sku, s.quantity});
};

TEST_CASE("states that are opened with a log record into it", "[core][any_event_repository]")
{
    auto const events = open_events("memory:", Plain{}, memory::backend);
    auto const stock = open<Stock>("memory:", events, Plain{}, memory::backend);
    auto const others = open<Stock>("memory:", events, memory::backend);
    CHECK(events.store_name() == "memory");
    static_cast<void>(stock.insert(Stock{"x", 10}).value());
    static_cast<void>(others.insert(Stock{"x", 20}).value());
    for (auto const& repository : {stock, others})
        TransactionService<Stock>{OptimisticVersioning{}, repository}.do_in_transaction("x", sell);
    auto const page = events.read(0, 0).value();
    REQUIRE(page.events.size() == 2);
    CHECK(page.events[0].as<Sold>()->quantity == 9);
    CHECK(page.events[1].as<Sold>()->quantity == 19);
    CHECK(open_events("memory:", memory::backend).identity() != events.identity());
}

TEST_CASE("states may be opened with a log whose type is known", "[core][any_event_repository]")
{
    memory::EventRepository const events{{.writer = "shop"}};
    auto const stock = open<Stock>("memory:", events, memory::backend);
    CHECK(AnyEventRepository{events}.identity() == events.identity());
    static_cast<void>(stock.insert(Stock{"x", 10}).value());
    TransactionService<Stock>{OptimisticVersioning{}, stock}.do_in_transaction("x", sell);
    CHECK(events.read_stream(Key{"x"}).value().at(0).writer == "shop");
}

TEST_CASE(
    "states that are opened without a log keep no events, and say what to write",
    "[core][any_event_repository]")
{
    auto const stock = open<Stock>("memory:", memory::backend);
    static_cast<void>(stock.insert(Stock{"x", 10}).value());
    auto const refused =
        TransactionService<Stock>{OptimisticVersioning{}, stock}.try_do_in_transaction("x", sell);
    CHECK(refused.errc() == Errc::misconfigured);
    CHECK_THAT(refused.detail(), Catch::Matchers::ContainsSubstring("open<T>(url, events"));
    CHECK(stock.load("x").value().value.quantity == 10);
}

TEST_CASE("a log of another store is refused when the states are opened", "[core][any_event_repository]")
{
    auto const error = [](auto call) -> std::optional<Error> {
        try {
            call();
            return std::nullopt;
        } catch (Error const& e) {
            return e;
        }
    };
    auto const of_foreign = error([] { return open<Stock>("memory:", Foreign{}, memory::backend); });
    REQUIRE(of_foreign);
    CHECK(of_foreign->code() == Errc::misconfigured);
    CHECK_THAT(of_foreign->what(), Catch::Matchers::ContainsSubstring("foreign"));
    memory::EventRepository const log;
    auto const of_plain = error([&] { return open<Stock>("plain:", log, memory::backend, Plain{}); });
    REQUIRE(of_plain);
    CHECK(of_plain->code() == Errc::misconfigured);
    CHECK_THAT(of_plain->what(), Catch::Matchers::ContainsSubstring("'plain:' keeps no events"));
    CHECK(error([] { return open_events("plain:", Plain{}); })->code() == Errc::misconfigured);
    CHECK(error([] { return open_events("other:", Plain{}); })->code() == Errc::invalid_argument);
    CHECK(error([] { return open_events("memory:x", memory::backend); })->code() == Errc::invalid_argument);
    CHECK(error([&] {
              return open<Stock>("memory:x", log, memory::backend);
          })->code() == Errc::invalid_argument);
}

TEST_CASE("what a log holds is found again behind its erased form", "[core][any_event_repository]")
{
    memory::EventRepository const log;
    AnyEventRepository const any{log};
    REQUIRE(any.held<memory::EventRepository>() != nullptr);
    CHECK(any.held<memory::EventRepository>()->identity() == log.identity());
    CHECK(any.held<Foreign>() == nullptr);
    // A log without wake-ups says so, and is asked to wake nobody.
    CHECK(any.capabilities().wakes_waiters);
    CHECK_FALSE(AnyEventRepository{Foreign{}}.capabilities().wakes_waiters);
}

}  // namespace any_event_repository_test
