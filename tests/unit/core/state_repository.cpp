// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/memory/backend.hpp>
#include <interlock/core/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/any_policy.hpp>

#include "support/blocking_repository.hpp"
#include "support/catch.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <concepts>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace state_repository_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::BlockingRepository;
using interlock_test::Stock;

/// A store that knows versions and nothing else.
class Plain {
public:
    using value_type = Stock;
    using key_type = std::string;
    using runtime_type = SystemRuntime;
    static constexpr std::string_view name = "plain";

    SystemRuntime runtime() const { return {}; }
    void const* identity() const { return inner_.identity(); }
    Outcome<Versioned<Stock>> carry_out(verb::Load<Stock> const& load, Deadline d) const
    {
        return inner_.carry_out(load, d);
    }
    Outcome<Version> carry_out(verb::Insert<Stock> const& insert, Deadline d) const
    {
        return inner_.carry_out(insert, d);
    }
    Outcome<Version> carry_out(verb::CompareAndSet<Stock> const& write, Deadline d) const
    {
        return inner_.carry_out(write, d);
    }
    Outcome<Version> carry_out(verb::Erase const& erase, Deadline d) const
    {
        return inner_.carry_out(erase, d);
    }

private:
    memory::StateRepository<Stock> inner_;
};
static_assert(VersionedRepository<Plain> && !AtomicRepository<Plain> && !LeaseRepository<Plain>);

/// Which calls of a `Parted` store are `unavailable`.
enum class Away { none, loads, all_from_the_next_load, all };

/// A store with leases that cannot take a lock and read in one trip.
class Parted : public StoreMembers<Parted, Stock, std::string> {
public:
    using value_type = Stock;
    using key_type = std::string;
    using runtime_type = SystemRuntime;
    static constexpr std::string_view name = "parted";

    Parted(memory::StateRepository<Stock> inner, std::atomic<Away>& away)
        : inner_(std::move(inner)), away_(&away)
    {}
    SystemRuntime runtime() const { return {}; }
    void const* identity() const { return inner_.identity(); }
    template <class Verb>
        requires(
            CarriesOut<memory::StateRepository<Stock>, Verb> &&
            !std::same_as<Verb, verb::CreateAndLoad<Stock>>)
    Outcome<typename Verb::answer> carry_out(Verb const& verb, Deadline d) const
    {
        bool const load = Verb::name == "load";
        if (load && *away_ == Away::all_from_the_next_load)
            *away_ = Away::all;
        if (*away_ == Away::all || (load && *away_ == Away::loads))
            return Errc::unavailable;
        return inner_.carry_out(verb, d);
    }

private:
    memory::StateRepository<Stock> inner_;
    std::atomic<Away>* away_;
};
static_assert(FencedRepository<Parted> && !FusedRepository<Parted>);

static_assert(FusedRepository<StateRepository<Stock>> && OperationRepository<StateRepository<Stock>>);
static_assert(RowLockingRepository<StateRepository<Stock>>);
static_assert(!std::is_default_constructible_v<StateRepository<Stock>>);

TEST_CASE("an erased repository is a handle to the store that it was made from", "[core][state_repository]")
{
    memory::StateRepository<Stock> const memory;
    StateRepository<Stock> const erased = memory;
    StateRepository<Stock> const copy = erased;
    CHECK(erased.identity() == memory.identity());
    CHECK(copy.identity() == memory.identity());
    CHECK(erased.store_name() == "memory");
    CHECK(runs_in_place(erased));
    CHECK_FALSE(runs_in_place(StateRepository<Stock>{BlockingRepository{memory}}));
    CHECK(erased.insert(Stock{"x", 3}));
    CHECK(memory.load("x")->value.quantity == 3);
    CHECK(erased.compare_and_set("x", 1, Stock{"x", 4}));
    CHECK(erased.erase("x", 2));
    CHECK(memory.key_count() == 0);
}

TEST_CASE(
    "a member that the store lacks is misconfigured, with a text that names it", "[core][state_repository]")
{
    StateRepository<Stock> const erased = Plain{};
    Key const x{std::string("x")};
    OwnerToken const owner{{1, 1}};
    auto const words = [](auto const& outcome, char const* what) {
        CHECK(outcome.errc() == Errc::misconfigured);
        CHECK_THAT(outcome.detail(), Catch::Matchers::ContainsSubstring("plain"));
        CHECK_THAT(outcome.detail(), Catch::Matchers::ContainsSubstring(what));
    };
    CHECK(erased.insert(Stock{"x", 1}));
    words(erased.create(x, owner, 1s), "lock");
    words(erased.create_and_load(x, owner, 1s), "lock");
    words(erased.renew(x, owner, 1s), "lock");
    words(erased.remove(x, owner), "lock");
    words(erased.verify_fencing(), "fence");
    words(erased.commit({}, nullptr), "atomic");
    words(erased.find_operation(x, OperationId{"op"}), "operation");
    words(erased.forbid_operation(x, OperationId{"op"}, 1), "operation");
    words(erased.for_each_operation([](auto const&...) {}), "operation");
    std::array const keys{&x};
    words(erased.load_for_update(keys, Wait::no), "row locks");

    auto const take = [](Stock& s) { return --s.quantity; };
    CHECK(TransactionService<Stock>(OptimisticVersioning{}, erased).do_in_transaction("x", take) == 0);
    words(
        TransactionService<Stock>(PessimisticRowLock{}, erased).try_do_in_transaction("x", take),
        "row locks");
    words(TransactionService<Stock>(SetNxLock{}, erased).try_do_in_transaction("x", take), "fence");
    words(
        TransactionService<Stock>(OptimisticVersioning{}, erased)
            .try_do_in_transaction(OperationId{"op"}, "x", take),
        "operation");
    CHECK(erased.load("x")->value.quantity == 0);
}

TEST_CASE("a lock whose state cannot be read is given back", "[core][state_repository]")
{
    memory::StateRepository<Stock> const memory;
    std::atomic<Away> away{Away::loads};
    StateRepository<Stock> const erased = Parted{memory, away};
    OwnerToken const owner{{1, 1}};
    Key const x{std::string("x")};

    CHECK(erased.create_and_load(x, owner, 30s).errc() == Errc::unavailable);
    CHECK_FALSE(memory.inspect(x).value());

    away = Away::all_from_the_next_load;
    auto const kept = erased.create_and_load(x, owner, 30s);
    CHECK(kept.errc() == Errc::outcome_unknown);
    CHECK(kept.cause() == Errc::unavailable);
    CHECK(memory.inspect(x).value());

    away = Away::none;
    CHECK(erased.create_and_load(x, owner, 30s));  // asked again, it knows its owner
}

TEST_CASE(
    "a lock whose state cannot be read is given back as soon as the store is there again",
    "[core][state_repository]")
{
    memory::StateRepository<Stock> const memory;
    memory.insert(Stock{"x", 1}).value();
    std::atomic<Away> away{Away::all_from_the_next_load};
    TransactionService<Stock> const service{
        SetNxLock{.lock = {.ttl = 60s}}, StateRepository<Stock>{Parted{memory, away}}};
    auto const outcome = service.try_do_in_transaction("x", [](Stock&) {}, {.deadline = 200ms});
    CHECK(outcome.errc() == Errc::deadline_exceeded);
    CHECK(memory.inspect("x").value());
    away = Away::none;
    CHECK(interlock_test::eventually([&] { return !memory.inspect("x").value(); }));
}

TEST_CASE("open finds the backend by its scheme", "[core][state_repository]")
{
    auto const first = open<Stock>("memory:", memory::backend);
    auto const second = open<Stock>("memory:", memory::backend);
    CHECK(first.store_name() == "memory");
    CHECK(first.identity() != second.identity());
    CHECK(
        open_idempotency_store("memory:", memory::backend)
            .claim({"k", Scope("s")}, OwnerToken{{1, 1}}, 1s, AfterLease::refuse)
            ->state == ClaimState::claimed);
}

TEST_CASE("an error of open names the schemes and never the rest of the url", "[core][state_repository]")
{
    for (std::string const url :
         {"redis://user:secret@host/0", "memory:?password=secret", "memory://user:secret@host", "secret",
          ""}) {
        for (bool const repository : {true, false}) {
            try {
                if (repository)
                    static_cast<void>(open<Stock>(url, memory::backend));
                else
                    static_cast<void>(open_idempotency_store(url, memory::backend));
                FAIL("no error for " << url);
            } catch (Error const& error) {
                CHECK(error.errc() == Errc::invalid_argument);
                std::string const text = error.what();
                if (url != "secret")  // the scheme itself is named
                    CHECK_THAT(text, !Catch::Matchers::ContainsSubstring("secret"));
                CHECK_THAT(text, Catch::Matchers::ContainsSubstring("memory"));
            }
        }
    }
}

TEST_CASE(
    "a URL without a scheme is not shown either, since it may be a password", "[core][state_repository]")
{
    try {
        static_cast<void>(open<Stock>("user-secret@host/0", memory::backend));
        FAIL("no error");
    } catch (Error const& error) {
        CHECK_THAT(error.what(), !Catch::Matchers::ContainsSubstring("secret"));
    }
}

}  // namespace state_repository_test
