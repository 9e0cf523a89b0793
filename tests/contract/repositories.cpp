// SPDX-License-Identifier: BSL-1.0

// The laws of the concepts in core/contracts/store.hpp, run on every backend.
//
// How it works: each case is a template that is compiled for every fixture of `contract/backends.hpp`. A
// fixture has a store of its own and two handles to it that were made separately, so that a law which holds
// only within one client fails. The cases use nothing but the members that the concept states, and no case
// knows which store it runs on.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/idempotent_request.hpp>
#include <interlock/policies/optimistic_versioning.hpp>

#include <boost/asio/use_future.hpp>

#include "contract/backends.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace contract {
namespace {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::run_threads;

// ---- AtomicRepository ---------------------------------------------------------------------------

TEMPLATE_LIST_TEST_CASE(
    "a commit is all or nothing and its failure names every key that failed", "[contract][atomic]", Backends)
{
    TestType const backend;
    auto const repository = backend.repository();
    static_assert(AtomicRepository<std::remove_cvref_t<decltype(repository)>>);
    auto const a = key("a");
    auto const b = key("b");
    auto const c = key("c");
    auto const version = repository.insert(a, Stock{"a", 1}, soon).value();
    Stock const value{"v", 9};
    std::array changes{
        Change<Stock>{.key = &a, .version = version, .value = &value},
        Change<Stock>{.key = &b, .version = version, .value = &value},
        Change<Stock>{.key = &c, .version = version, .value = &value}};
    auto const refused = repository.commit(changes, nullptr, soon);
    CHECK(refused.errc() == Errc::not_found);
    CHECK_THAT(
        refused.detail(),
        Catch::Matchers::ContainsSubstring("b: ") && Catch::Matchers::ContainsSubstring("c: "));
    CHECK(repository.load(a, soon).value().value.quantity == 1);
    changes[1].version = changes[2].version = no_version;
    CHECK(repository.commit(changes, nullptr, soon));
    for (auto const& change : changes)
        CHECK(repository.load(*change.key, soon).value().version == change.version);
    std::array verify{Change<Stock>{.key = &a, .kind = ChangeKind::verify, .version = version}};
    CHECK(repository.commit(verify, nullptr, soon).errc() == Errc::version_conflict);
    std::array erase{Change<Stock>{.key = &b, .kind = ChangeKind::erase, .version = changes[1].version}};
    CHECK(repository.commit(erase, nullptr, soon));
    CHECK(repository.load(b, soon).errc() == Errc::not_found);
}

// ---- OperationRepository ------------------------------------------------------------------------

TEMPLATE_LIST_TEST_CASE(
    "an operation's answer is written once, together with its effect, and a tombstone forbids the effect",
    "[contract][operation]", Backends)
{
    TestType const backend;
    auto const repository = backend.repository();
    static_assert(OperationRepository<std::remove_cvref_t<decltype(repository)>>);
    auto const x = key("x");
    OperationId const id{std::string("op\0x", 4)};
    CHECK_FALSE(repository.find_operation(x, id, soon).value());
    CHECK(repository.forbid_operation(x, id, 1, soon).value().attempt == 1);
    Stock const value{"x", 1};
    std::array changes{Change<Stock>{.key = &x, .value = &value}};
    OperationCommit operation{&x, &id, 1, "answer"};
    CHECK(repository.commit(changes, &operation, soon).errc() == Errc::superseded);
    CHECK(repository.load(x, soon).errc() == Errc::not_found);
    operation.attempt = 2;
    CHECK_FALSE(repository.commit(changes, &operation, soon).value().duplicate);
    auto const again = repository.commit(changes, &operation, soon).value();
    CHECK(again.duplicate);
    CHECK(again.answer == "answer");
    CHECK(repository.load(x, soon).value().value == value);
    CHECK(repository.forbid_operation(x, id, 5, soon).value().answered);
    auto const record = repository.find_operation(x, id, soon).value();
    REQUIRE(record);
    CHECK(record->answer == "answer");
    CHECK_FALSE(repository.find_operation(key("y"), id, soon).value());
    // A tombstone that arrives after a later one does not permit again what that one forbids.
    OperationId const late{"late"};
    CHECK(repository.forbid_operation(x, late, 3, soon).value().attempt == 3);
    CHECK(repository.forbid_operation(x, late, 2, soon).value().attempt == 3);
    CHECK(repository.find_operation(x, late, soon).value()->attempt == 3);
}

TEMPLATE_LIST_TEST_CASE(
    "concurrent commits of one operation have one effect", "[contract][operation]", Backends)
{
    TestType const backend;
    auto const repository = backend.repository();
    auto const x = key("x");
    auto const version = repository.insert(x, Stock{"x", 0}, soon).value();
    OperationId const id{"op"};
    std::atomic<int> first{0};
    std::atomic<int> duplicate{0};
    run_threads(8, [&](std::size_t i) {
        Stock const value{"x", static_cast<int>(i)};
        std::array changes{Change<Stock>{.key = &x, .version = version, .value = &value}};
        OperationCommit const operation{&x, &id, 1, "a"};
        auto const result = repository.commit(changes, &operation, soon);
        first += result && !result->duplicate ? 1 : 0;
        duplicate += result && result->duplicate ? 1 : 0;
    });
    CHECK(first == 1);
    CHECK(duplicate == 7);
    CHECK(repository.load(x, soon).value().version > version);
}

// ---- RowLockingRepository -----------------------------------------------------------------------
#ifdef INTERLOCK_TESTS_CONTRACT_ROW_LOCKS

TEMPLATE_LIST_TEST_CASE(
    "a locked row is changed and locked by nobody else", "[contract][row_locking]", RowLockingBackends)
{
    TestType const backend;
    auto const repository = backend.repository();
    static_assert(RowLockingRepository<std::remove_cvref_t<decltype(repository)>>);
    auto const x = key("x");
    auto const y = key("y");
    auto const version = repository.insert(x, Stock{"x", 1}, soon).value();
    std::array const rows{&x, &y};
    std::array const one{&x};
    std::array const missing{&y};
    auto tx = repository.load_for_update(rows, Wait::until_deadline, soon);
    REQUIRE(tx);
    CHECK(tx->state(0)->value.quantity == 1);
    CHECK_FALSE(tx->state(1));
    auto const busy = [](auto const& outcome) {
        return outcome.errc() == Errc::lock_busy || outcome.errc() == Errc::deadline_exceeded;
    };
    CHECK(busy(repository.compare_and_set(x, version, Stock{"x", 9}, Deadline{50ms})));
    CHECK(busy(repository.erase(x, version, Deadline{50ms})));
    for (auto const& none : {Key{}, Key{std::string(5000, 'k')}}) {
        std::array const of_none{&none};
        CHECK(repository.load_for_update(of_none, Wait::no, soon).errc() == Errc::invalid_argument);
    }
    // A key without a value is locked as well.
    CHECK(busy(repository.insert(y, Stock{"y", 9}, Deadline{50ms})));
    CHECK(repository.load_for_update(one, Wait::no, soon).errc() == Errc::lock_busy);
    CHECK(repository.load_for_update(missing, Wait::no, soon).errc() == Errc::lock_busy);
    CHECK(
        repository.load_for_update(one, Wait::until_deadline, Deadline{50ms}).errc() ==
        Errc::deadline_exceeded);
    Stock const value{"x", 2};
    std::array changes{Change<Stock>{.key = &x, .version = version, .value = &value}};
    CHECK(tx->commit(changes, nullptr, soon));
    auto again = repository.load_for_update(rows, Wait::no, soon);
    REQUIRE(again);
    CHECK(again->state(0)->value.quantity == 2);
    again->rollback();
    {
        CHECK(repository.load_for_update(one, Wait::no, soon));
    }  // and its destructor rolls back
    CHECK(repository.compare_and_set(x, changes[0].version, Stock{"x", 3}, soon));
}

TEMPLATE_LIST_TEST_CASE(
    "a transaction that waited for a row sees it as the one before has left it", "[contract][row_locking]",
    RowLockingBackends)
{
    TestType const backend;
    auto const x = key("x");
    static_cast<void>(backend.repository().insert(x, Stock{"x", 0}, soon).value());
    std::atomic<int> failed{0};
    run_threads(4, [&](std::size_t) {
        auto const repository = backend.repository();
        std::array const rows{&x};
        for (int i = 0; i < 25; ++i) {
            auto tx = repository.load_for_update(rows, Wait::until_deadline, Deadline{60s});
            if (!tx) {
                ++failed;
                continue;
            }
            auto const row = *tx->state(0);
            Stock const value{"x", row.value.quantity + 1};
            std::array changes{Change<Stock>{.key = &x, .version = row.version, .value = &value}};
            failed += tx->commit(changes, nullptr, soon) ? 0 : 1;
        }
    });
    CHECK(failed == 0);
    CHECK(backend.repository().load(x, soon).value().value.quantity == 100);
}

#endif

// ---- LeaseRepository, FencedRepository, FusedRepository -----------------------------------------

TEMPLATE_LIST_TEST_CASE(
    "a lock record names one owner, and only that owner can change it", "[contract][lease]", Backends)
{
    TestType const backend;
    auto const repository = backend.repository();
    static_assert(LeaseRepository<std::remove_cvref_t<decltype(repository)>>);
    auto const x = key("x");
    auto const grant = repository.create(x, owner(1), 10s, soon).value();
    CHECK(grant.ttl == 10s);
    CHECK(repository.create(x, owner(1), 10s, soon).value().first == grant.first);
    auto const busy = repository.create(x, owner(2), 10s, soon);
    CHECK(busy.errc() == Errc::lock_busy);
    CHECK(busy.failure().retry_after() > 0s);
    CHECK(repository.renew(x, owner(2), 10s, soon).errc() == Errc::lock_lost);
    CHECK(repository.remove(x, owner(2), soon).value() == Removal::taken);
    CHECK(repository.renew(x, owner(1), 10s, soon));
    CHECK(repository.remove(x, owner(1), soon).value() == Removal::removed);
    CHECK(repository.remove(x, owner(1), soon).value() == Removal::gone);
    CHECK(repository.create(x, owner(2), 10s, soon).value().first > grant.first);
    CHECK(repository.load(x, soon).errc() == Errc::not_found);  // lock records are no values
    std::atomic<int> granted{0};
    run_threads(8, [&](std::size_t i) {
        granted += backend.other().create(key("y"), owner(i + 1), 10s, soon) ? 1 : 0;
    });
    CHECK(granted == 1);
    for (Ttl bad : {Ttl{0s}, Ttl{-1s}, Ttl{1ms}, Ttl{25h}})
        CHECK(repository.create(key("z"), owner(1), bad, soon).errc() == Errc::invalid_argument);
}

TEMPLATE_LIST_TEST_CASE(
    "a lease ends no earlier than its time, and after that others can take the lock", "[contract][lease]",
    Backends)
{
    TestType const backend;
    auto const repository = backend.repository();
    auto const x = key("x");
    auto const began = std::chrono::steady_clock::now();
    auto const first = repository.create(x, owner(1), 200ms, soon).value();
    std::optional<Grant> second;
    CHECK(interlock_test::eventually([&] {
        if (auto grant = repository.create(x, owner(2), 10s, soon))
            second = *grant;
        return second.has_value();
    }));
    CHECK(std::chrono::steady_clock::now() - began >= 200ms);
    CHECK(second->first > first.first);
    CHECK(repository.renew(x, owner(1), 10s, soon).errc() == Errc::lock_lost);
}

TEMPLATE_LIST_TEST_CASE(
    "a guarded write is applied under its own record only, whatever the clock says", "[contract][fenced]",
    Backends)
{
    TestType const backend;
    auto const repository = backend.repository();
    static_assert(FencedRepository<std::remove_cvref_t<decltype(repository)>>);
    CHECK(repository.verify_fencing(soon));
    auto const x = key("x");
    Version version = repository.insert(x, Stock{"x", 0}, soon).value();
    Stock const value{"x", 1};
    auto const write = [&](Fence fence, bool release = false) {
        std::array changes{Change<Stock>{
            .key = &x, .version = version, .value = &value, .fence = &fence, .release = release}};
        auto const result = repository.commit(changes, nullptr, soon);
        if (result)
            version = changes[0].version;
        return result.errc();
    };
    CHECK(write({owner(1), FencingToken{1}}) == Errc::fenced_out);
    auto const first = repository.create(x, owner(1), 10s, soon).value();
    CHECK(write({owner(1), first.first}) == Errc::ok);
    CHECK(write({owner(2), first.first}) == Errc::fenced_out);
    CHECK(repository.remove(x, owner(1), soon));
    CHECK(write({owner(1), first.first}) == Errc::fenced_out);
    auto const second = repository.create(x, owner(2), 10s, soon).value();
    CHECK(write({owner(1), first.first}) == Errc::fenced_out);
    CHECK(write({owner(2), first.first}) == Errc::fenced_out);  // below the mark, which rose at grant
    CHECK(write({owner(2), second.first}, true) == Errc::ok);
    CHECK(repository.remove(x, owner(2), soon).value() == Removal::gone);
}

TEMPLATE_LIST_TEST_CASE("a grant and the state come in one step", "[contract][fused]", Backends)
{
    TestType const backend;
    auto const repository = backend.repository();
    static_assert(FusedRepository<std::remove_cvref_t<decltype(repository)>>);
    auto const x = key("x");
    auto const empty = repository.create_and_load(x, owner(1), 10s, soon).value();
    CHECK_FALSE(empty.state);
    CHECK(repository.create_and_load(x, owner(2), 10s, soon).errc() == Errc::lock_busy);
    CHECK(repository.remove(x, owner(1), soon));
    auto const version = repository.insert(x, Stock{"x", 4}, soon).value();
    auto const full = repository.create_and_load(x, owner(2), 10s, soon).value();
    CHECK(full.grant.first > empty.grant.first);
    REQUIRE(full.state);
    CHECK(*full.state == Versioned<Stock>{Stock{"x", 4}, version});
}

// ---- IdempotencyStore ---------------------------------------------------------------------------

TEMPLATE_LIST_TEST_CASE(
    "a claim is granted to one owner at a time, and only that owner can end it",
    "[contract][idempotency_store]", Backends)
{
    TestType const backend;
    auto const store = backend.idempotency_store();
    static_assert(IdempotencyStore<std::remove_cvref_t<decltype(store)>>);
    IdempotentRequest const request("k", Scope("s"), fingerprint("body"));
    IdempotentRequest const other("k", Scope("s"), fingerprint("another body"));
    std::atomic<int> claimed{0};
    run_threads(8, [&](std::size_t i) {
        auto const claim = store.claim(request, owner(i + 1), 10s, AfterLease::take_over, soon);
        claimed += claim && claim->state == ClaimState::claimed ? 1 : 0;
    });
    CHECK(claimed == 1);
    CHECK(
        store.claim(other, owner(99), 10s, AfterLease::take_over, soon).value().state ==
        ClaimState::mismatch);
    CHECK(store.complete(request, owner(99), "x", false, soon).errc() == Errc::fenced_out);
    CHECK(store.give_back(request, owner(99), soon).errc() == Errc::fenced_out);

    IdempotentRequest const second("k2", Scope("s"));
    CHECK(store.claim(second, owner(1), 10s, AfterLease::refuse, soon).value().state == ClaimState::claimed);
    CHECK(store.claim(second, owner(1), 10s, AfterLease::refuse, soon).value().state == ClaimState::claimed);
    CHECK(store.give_back(second, owner(1), soon));
    CHECK(
        store.claim(second, owner(2), 100ms, AfterLease::refuse, soon).value().state == ClaimState::claimed);
    std::this_thread::sleep_for(150ms);
    CHECK(
        store.claim(second, owner(3), 10s, AfterLease::refuse, soon).value().state == ClaimState::abandoned);
    CHECK(
        store.claim(second, owner(3), 10s, AfterLease::take_over, soon).value().state ==
        ClaimState::taken_over);
    CHECK(store.complete(second, owner(2), "late", false, soon).errc() == Errc::fenced_out);
    std::string const answer("a\0b", 3);
    CHECK(store.complete(second, owner(3), answer, true, soon));
    auto const replay = store.claim(second, owner(4), 10s, AfterLease::take_over, soon).value();
    CHECK(replay.state == ClaimState::completed);
    CHECK(replay.answer == answer);
    CHECK(replay.rejected);
}

TEMPLATE_LIST_TEST_CASE(
    "a claim goes on naming what a former owner named until that is settled", "[contract][idempotency_store]",
    Backends)
{
    TestType const backend;
    auto const store = backend.idempotency_store();
    IdempotentRequest const request("k", Scope("s"), fingerprint("body"));
    IdempotentRequest const other("k", Scope("s"), fingerprint("another body"));
    auto const take = AfterLease::take_over;
    Key const first{std::string_view{"first\0home", 10}};
    Key const second{std::string_view{"second"}};
    auto const names = [](Claim const& claim, ClaimState state, Key const& home, std::uint32_t attempt) {
        CHECK(claim.state == state);
        CHECK(claim.named_home == home.bytes());
        CHECK(claim.named_attempt == attempt);
    };
    CHECK(
        store.claim(request, owner(1), 50ms, take, soon, NamedAttempt{&first, 3}).value().state ==
        ClaimState::claimed);
    names(
        store.claim(request, owner(1), 50ms, take, soon, NamedAttempt{&second, 9}).value(),
        ClaimState::claimed, first, 3);
    std::this_thread::sleep_for(100ms);
    for (int i = 0; i < 2; ++i)  // asked again after a lost reply, too
        names(
            store.claim(request, owner(2), 10s, take, soon, NamedAttempt{&second, 1}).value(),
            ClaimState::taken_over, first, 3);
    // Given back without having been settled: the next one takes it over, at once, but no other request.
    CHECK(store.give_back(request, owner(2), soon));
    CHECK(store.complete(request, owner(2), "late", false, soon).errc() == Errc::fenced_out);
    CHECK(store.give_back(request, owner(2), soon).errc() == Errc::fenced_out);
    CHECK(
        store.claim(other, owner(3), 10s, take, soon, NamedAttempt{&second, 1}).value().state ==
        ClaimState::mismatch);
    names(
        store.claim(request, owner(3), 10s, AfterLease::refuse, soon, NamedAttempt{&second, 1}).value(),
        ClaimState::taken_over, first, 3);
    CHECK(store.claim(request, owner(4), 10s, take, soon).value().state == ClaimState::in_progress);
    CHECK(
        store.claim(request, owner(3), 10s, take, soon, NamedAttempt{&second, 2, true}).value().state ==
        ClaimState::claimed);
    names(store.claim(request, owner(3), 10s, take, soon).value(), ClaimState::claimed, second, 2);
    // What is settled is forgotten, the fingerprint included.
    CHECK(store.give_back(request, owner(3), soon, true));
    CHECK(store.claim(other, owner(4), 50ms, take, soon).value().state == ClaimState::claimed);
    std::this_thread::sleep_for(100ms);
    CHECK(store.claim(other, owner(5), 10s, take, soon).value().state == ClaimState::taken_over);
    CHECK(store.give_back(other, owner(5), soon, true));
    CHECK(store.claim(request, owner(6), 10s, take, soon).value().state == ClaimState::claimed);
    CHECK(retention_of(store) > 0s);
}

TEMPLATE_LIST_TEST_CASE(
    "a claim that arrives late does not bring back an attempt that its owner has left behind",
    "[contract][idempotency_store]", Backends)
{
    TestType const backend;
    auto const store = backend.idempotency_store();
    IdempotentRequest const request("late", Scope("s"), fingerprint("body"));
    Key const home{"home"};
    auto const claim = [&](std::uint32_t attempt, bool replaces) {
        return store
            .claim(
                request, owner(1), 10s, AfterLease::take_over, soon, NamedAttempt{&home, attempt, replaces})
            .value();
    };
    CHECK(claim(1, false).state == ClaimState::claimed);
    CHECK(claim(3, true).state == ClaimState::claimed);
    CHECK(claim(2, true).state == ClaimState::claimed);  // was sent before
    CHECK(claim(1, false).named_attempt == 3);
    CHECK(claim(12, true).state == ClaimState::claimed);  // by number, not as text
    CHECK(claim(4, true).state == ClaimState::claimed);
    CHECK(claim(1, false).named_attempt == 12);
}

}  // namespace
}  // namespace contract
