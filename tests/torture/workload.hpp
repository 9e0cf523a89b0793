// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_TORTURE_WORKLOAD_HPP
#define INTERLOCK_TESTS_TORTURE_WORKLOAD_HPP

/// @file
/// What a client does all the time, by every policy that its store can keep, on few hot states.

#include <interlock/interlock.hpp>

#include <boost/asio/use_future.hpp>

#include "torture/calls.hpp"
#include "torture/client.hpp"
#include "torture/history.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace torture {

namespace asio = boost::asio;

/// How a kind of call is made, and how often.
struct Kind {
    unsigned weight;
    std::string name;
    std::function<void(Actor&)> make;
    /// Asks again for an operation that is to be settled; empty where nobody can.
    std::function<void(Actor&, CallPlan)> settle;
};

/// A store under torture: `repository`, `keys` (an `IdempotencyStore`); where it has them `counters` and, for
/// `IdempotencyInTransaction`, `records`.
template <class Store>
class Workload {
    using Repository = decltype(Store::repository);
    using Keys = decltype(Store::keys);
    template <class Policy>
    using Service = il::TransactionService<Account, Policy, Repository>;
    template <class Inner>
    using Once = Service<il::IdempotencyKeys<Inner, Keys>>;

    static constexpr bool has_rows = il::RowLockingRepository<Repository>;
    static constexpr bool has_counters = requires(Store s) { s.counters; };
    static constexpr bool has_records = requires(Store s) { s.records; };

public:
    /// `observer`: of all its services; null: none.
    Workload(Store store, il::Observer* observer)
        : store_(std::move(store)), watched_{.observer = observer},
          locks_(store_.repository, il::LockOptions{.ttl = lock_ttl, .observer = observer})
    {
        add_transactions();
        add_handles();
        add_requests();
        if constexpr (has_counters)
            add_counters();
        add_direct_writes();
    }

    std::vector<Kind> const& kinds() const noexcept { return kinds_; }
    Store const& store() const noexcept { return store_; }

private:
    void add(
        unsigned weight, std::string name, std::function<void(Actor&)> make,
        std::function<void(Actor&, CallPlan)> settle = {})
    {
        kinds_.push_back({weight, std::move(name), std::move(make), std::move(settle)});
    }

    // ---- transactions ---------------------------------------------------------------------------

    template <class S>
    void add_service(std::string const& policy, S const& service)
    {
        add(8, "transfer/" + policy, [service, name = "transfer/" + policy](Actor& actor) {
            once(service, actor.begin(transfer(actor, name), actor.temper(40, 20)));
        });
        add(
            6, "transfer_by_id/" + policy,
            [service, name = "transfer_by_id/" + policy](Actor& actor) {
                by_id_until_known(service, actor, transfer(actor, name));
            },
            [service](Actor& actor, CallPlan plan) { by_id(service, actor.begin(std::move(plan))); });
        add(6, "increment/" + policy, [service, name = "increment/" + policy](Actor& actor) {
            auto plan = actor.plan(name, {{actor.key('c', 4)}});
            auto temper = actor.temper(60, 30);
            if (actor.one_in(400))
                temper.takes = 4s;
            once(service, actor.begin(std::move(plan), temper));
        });
        add(
            6, "increment_by_id/" + policy,
            [service, name = "increment_by_id/" + policy](Actor& actor) {
                by_id_until_known(service, actor, actor.plan(name, {{actor.key('c', 4)}}));
            },
            [service](Actor& actor, CallPlan plan) { by_id(service, actor.begin(std::move(plan))); });
        add(4, "burst/" + policy,
            [service, name = "burst/" + policy](Actor& actor) { burst(service, actor, name); });
    }
    void add_transactions()
    {
        using il::Missing;
        add_service(
            "optimistic",
            Service<il::OptimisticVersioning>{{.missing = Missing::create}, store_.repository, watched_});
        auto const remembering = Service<il::OptimisticVersioning>{
            {.missing = Missing::create, .remember = 8}, store_.repository, watched_};
        add(6, "increment/remembering", [remembering](Actor& actor) {
            once(
                remembering,
                actor.begin(
                    actor.plan("increment/remembering", {{actor.key('c', 4)}}), actor.temper(60, 30)));
        });
        auto const leases =
            Service<il::SetNxLock>{{.lock = locks_.options(), .missing = Missing::create}, locks_, watched_};
        add_service("lease", leases);
        add(6, "fenced/lease", [leases](Actor& actor) {
            auto const call =
                actor.begin(actor.plan("fenced/lease", {{actor.key('c', 4)}}), actor.temper(40, 20));
            il::CallOptions const options{.deadline = call->deadline()};
            call->conclude([&] {
                return leases.try_do_in_transaction(
                    call->plan().changes[0].key, on_one_fenced(call), options);
            });
        });
        add(3, "section/lease", [leases](Actor& actor) { section(leases, actor); });
        if constexpr (has_rows)
            add_service(
                "rows",
                Service<il::PessimisticRowLock>{{.missing = Missing::create}, store_.repository, watched_});
    }

    // ---- lock handles ---------------------------------------------------------------------------

    /// Some locks have no other purpose; others are also taken by transactions.
    static std::string lock_key(Actor& actor)
    {
        return actor.one_in(2) ? actor.key('c', 4) : "l" + std::to_string(actor.below(3));
    }

    /// Between the last and the first moment at which the handle said that it was valid. `from` is taken
    /// before the handle is asked first, `to` before it is asked last.
    template <class L>
    static void hold(Actor& actor, std::string const& call, std::string const& key, L const& lock)
    {
        auto const from = now();
        if (lock.status() == il::LockStatus::lost)
            return;
        auto to = from;
        auto const until = from + static_cast<double>(actor.below(40)) / 1000;
        do {
            auto const at = now();
            if (lock.status() == il::LockStatus::lost)
                break;
            to = at;
            std::this_thread::sleep_for(std::chrono::microseconds{actor.below(3000)});
        } while (to < until);
        actor.journal().line(
            fmt::format("L {} {} {} {:.9f} {:.9f}", call, key, lock.fencing_token().value(), from, to));
    }

    template <class S>
    static void section(S const& service, Actor& actor)
    {
        auto const key = lock_key(actor);
        auto const call = actor.begin(actor.plan("section/lease", {}));
        il::CallOptions const options{.deadline = call->deadline()};
        UnderLock const held = [&](il::Lock<Account>& lock) {
            auto const began = now();
            hold(actor, call->plan().call, key, lock);
            call->slept(now() - began);
            return std::string{};
        };
        call->conclude([&] { return service.try_do_in_transaction(key, held, options); });
    }

    void add_handles()
    {
        add(6, "handle", [this](Actor& actor) {
            auto const key = lock_key(actor);
            auto const wait = actor.one_in(4) ? il::Wait::no : il::Wait::until_deadline;
            std::optional<il::Lock<Account>> lock;
            take(
                actor, "handle",
                [&](il::Deadline deadline) {
                    return locks_.acquire_outcome(key, wait, {.deadline = deadline});
                },
                lock);
            if (!lock)
                return;
            hold(actor, actor.next_name(), key, *lock);
            if (actor.one_in(2))
                release(actor, *lock);
        });
        add(2, "handle_async", [this](Actor& actor) {
            auto const key = lock_key(actor);
            std::optional<il::Lock<Account>> lock;
            take(
                actor, "handle_async",
                [&](il::Deadline deadline) -> il::Outcome<il::Lock<Account>> {
                    try {
                        return locks_
                            .async_acquire(key, il::AcquireOptions{.deadline = deadline}, asio::use_future)
                            .get();
                    } catch (boost::system::system_error const& e) {
                        return static_cast<il::Errc>(e.code().value());
                    }
                },
                lock);
            if (!lock)
                return;
            hold(actor, actor.next_name(), key, *lock);
            if (actor.one_in(2))
                release(actor, *lock);
        });
        add(4, "write/handle", [this](Actor& actor) { write_by_handle(actor); });
    }
    /// An acquire changes nothing that is checked later, but it has a deadline, and nothing of it may be
    /// unknown.
    template <class Get>
    static void take(Actor& actor, std::string_view kind, Get get, std::optional<il::Lock<Account>>& lock)
    {
        auto const call = actor.begin(actor.plan(kind, {}));
        call->conclude([&]() -> il::Outcome<std::string> {
            auto outcome = get(call->deadline());
            if (!outcome)
                return std::move(outcome).failure();
            lock = *std::move(outcome);
            return std::string{};
        });
    }
    void release(Actor& actor, il::Lock<Account>& lock) const
    {
        auto plan = actor.plan("release", {});
        plan.deadline = 5;  // the default of all calls
        actor.begin(std::move(plan))->conclude([&]() -> il::Outcome<std::string> {
            if (auto done = locks_.release(lock); !done)
                return std::move(done).failure();
            return std::string{};
        });
    }

    void write_by_handle(Actor& actor)
    {
        auto const key = actor.key('c', 4);
        il::Deadline const deadline = std::chrono::duration<double>{actor.deadline()};
        auto lock = locks_.acquire_outcome(key, il::Wait::until_deadline, {.deadline = deadline});
        if (!lock)
            return;
        auto const id = actor.next_name();
        hold(actor, id, key, *lock);
        auto loaded = store_.repository.load(il::Key{key}, deadline);
        if (!loaded)
            return;
        auto plan = actor.plan("write/handle", {{key}});
        plan.deadline = 5;  // the default of all calls
        auto const call = actor.begin(std::move(plan));
        call->conclude([&]() -> il::Outcome<std::string> {
            auto answer = call->change(0, loaded->value, lock->fencing_token().value());
            auto written = locks_.write(*lock, loaded->version, loaded->value);
            if (!written)
                return std::move(written).failure();
            actor.journal().line(
                fmt::format("V {} {} {} {}", call->plan().call, key, loaded->version, *written));
            return answer;
        });
    }

    // ---- requests -------------------------------------------------------------------------------

    void add_requests()
    {
        using il::Missing;
        add_request(
            "request/optimistic",
            Once<il::OptimisticVersioning>{
                {il::OptimisticVersioning{.missing = Missing::create}, store_.keys,
                 il::IdempotencyOptions{.lease = claim_lease, .duplicates = il::Duplicates::wait}},
                store_.repository,
                watched_});
        add_request(
            "request/lease", Once<il::SetNxLock>{
                                 {il::SetNxLock{.lock = locks_.options(), .missing = Missing::create},
                                  store_.keys, il::IdempotencyOptions{.lease = claim_lease}},
                                 store_.repository,
                                 watched_});
        if constexpr (has_records) {
            using Policy = il::IdempotencyInTransaction<il::PessimisticRowLock, decltype(Store::records)>;
            add_request(
                "request/transaction",
                Service<Policy>{
                    {il::PessimisticRowLock{.missing = Missing::create}, store_.records},
                    store_.repository,
                    watched_});
        }
    }
    template <class S>
    void add_request(std::string const& name, S const& service)
    {
        add(
            6, name,
            [service, name](Actor& actor) {
                auto const call = actor.begin(request_plan(actor, name), request_temper(actor));
                if (actor.one_in(3)) {
                    il::CallOptions const options{.deadline = call->deadline()};
                    auto const operation = on_one(call);
                    auto future = service.async_try_do_in_transaction(
                        request_of(call->plan()), call->plan().changes[0].key, operation, options,
                        asio::use_future);
                    call->conclude([&] { return future.get(); });
                } else {
                    ask(service, call);
                }
            },
            [service](Actor& actor, CallPlan plan) { ask(service, actor.begin(std::move(plan))); });
    }
    template <class S>
    static void ask(S const& service, Shared const& call)
    {
        call->conclude([&] {
            return service.try_do_in_transaction(
                request_of(call->plan()), call->plan().changes[0].key, on_one(call),
                {.deadline = call->deadline()});
        });
    }
    static il::IdempotentRequest request_of(CallPlan const& plan)
    {
        return il::IdempotentRequest{plan.operation, il::Scope{plan.kind}, il::fingerprint(plan.variant)};
    }
    /// Made by several processes at about the same time, by some of them later again, sometimes with another
    /// state, and sometimes, by mistake, for something else.
    static CallPlan request_plan(Actor& actor, std::string_view name)
    {
        auto const slot =
            static_cast<std::uint64_t>(now() * 4) - (actor.one_in(8) ? actor.below(60) : actor.below(3));
        auto plan = actor.plan(name, {{actor.key('c', actor.one_in(3) ? 4 : 1)}});
        plan.operation = fmt::format("{}#{}", name, slot);
        plan.variant = actor.one_in(12) ? "other" : "same";
        return plan;
    }
    static Temper request_temper(Actor& actor)
    {
        auto temper = actor.temper(5, 12);
        temper.rejects = !temper.throws && actor.one_in(8);
        return temper;
    }

    // ---- counters -------------------------------------------------------------------------------

    void add_counters()
        requires has_counters
    {
        auto const ask = [counters = store_.counters](Shared const& call) {
            auto const& plan = call->plan();
            return call->conclude([&] {
                return counters.atomic_once(
                    il::OperationId{plan.operation}, il::Key{plan.changes[0].key}, il::increment(1),
                    call->deadline());
            });
        };
        add(
            8, "counter",
            [ask](Actor& actor) {
                ask(actor.begin(actor.plan("counter", {{"n" + std::to_string(actor.below(2))}})));
            },
            [ask](Actor& actor, CallPlan plan) { ask(actor.begin(std::move(plan))); });
    }

    // ---- the repository itself ------------------------------------------------------------------

    /// States that come and go: what they are at does not matter, their versions do.
    void add_direct_writes()
    {
        add(4, "direct_write", [this](Actor& actor) {
            il::Key const key{actor.key('e', 2)};
            auto const name = std::string(key.bytes());
            auto const call = actor.begin(actor.plan("direct_write", {}));
            call->conclude([&]() -> il::Outcome<std::string> {
                auto const deadline = call->deadline();
                auto const& repository = store_.repository;
                auto found = repository.load(key, deadline);
                if (!found && found.errc() != il::Errc::not_found)
                    return il::Errc::unavailable;  // nothing was changed, whatever became of the question
                auto const before = found ? found->version : il::no_version;
                bool const erases = found && actor.one_in(4);
                auto const written =
                    !found   ? repository.insert(key, Account{name, 1, ""}, deadline)
                    : erases ? repository.erase(key, before, deadline)
                             : repository.compare_and_set(key, before, Account{name, 2, ""}, deadline);
                if (!written)
                    return written.failure();
                actor.journal().line(fmt::format(
                    "V {} {} {} {}", call->plan().call, name, before, erases ? il::no_version : *written));
                return std::string{};
            });
        });
    }

    Store store_;
    il::ServiceOptions watched_;
    il::LockStateService<Account, Repository, il::Assurance::fenced> locks_;
    std::vector<Kind> kinds_;
};

}  // namespace torture

#endif  // INTERLOCK_TESTS_TORTURE_WORKLOAD_HPP
