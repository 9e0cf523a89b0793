// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_SIMULATION_IDEMPOTENCY_HPP
#define INTERLOCK_TESTS_SUPPORT_SIMULATION_IDEMPOTENCY_HPP

/// @file
/// Idempotency records behind a line that can fail: claims in a store of their own, and records that are part
/// of a row transaction of a scripted repository.

#include <interlock/backends/memory/idempotency_store.hpp>
#include <interlock/policies/idempotency_in_transaction.hpp>

#include "support/scripted_repository.hpp"
#include "support/simulation/context.hpp"

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace simulation {

using interlock::AfterLease;
using interlock::Claim;
using interlock::ClaimState;
using interlock::Deadline;
using interlock::Errc;
using interlock::Failure;
using interlock::IdempotentRequest;
using interlock::Outcome;
using interlock::OwnerToken;
using scripted::Fault;

/// What the lines to all stores of records go through, and what really happened there.
struct RecordScript {
    enum class Call : unsigned char { claim, complete, give_back, reject, find };

    /// Asked before each call.
    std::function<Fault(Call, IdempotentRequest const&)> fault;
    /// Runs at some later time what has then arrived.
    std::function<void(std::function<void()>)> later;
    /// Told what the store did, whatever the caller was told.
    std::function<void(IdempotentRequest const&, ClaimState)> on_claim;
    std::function<void(IdempotentRequest const&)> on_completed;
    /// Told of every call of a handle whose calls block.
    std::function<void()> on_blocking_call;
    /// Whether a hint that somebody asks for is lost.
    std::function<bool()> hint_is_lost;

    template <class R, class F>
    R play(Call call, IdempotentRequest const& request, F work, bool may_be_late = true)
    {
        auto const how = fault ? fault(call, request) : Fault::none;
        if (how == Fault::refused)
            return Errc::unavailable;
        if (how == Fault::late && may_be_late && later)
            later([work] { static_cast<void>(work()); });
        if (how == Fault::lost_request || how == Fault::late)
            return lost<R>(call);
        auto result = work();
        if (how == Fault::lost_reply)
            return lost<R>(call);
        return result;
    }

private:
    template <class R>
    static R lost(Call call)
    {
        if (call == Call::find)
            return Errc::unavailable;
        return Failure::unknown(Errc::unavailable, "the reply was lost");
    }
};

/// A handle to a memory store of claims behind a script. Models `IdempotencyStore`.
class ScriptedClaims : public interlock::IdempotencyMembers<ScriptedClaims> {
    using Store = interlock::memory::BasicIdempotencyStore<SimulationRuntime>;
    using Call = RecordScript::Call;

public:
    using runtime_type = SimulationRuntime;

    ScriptedClaims(Store store, std::shared_ptr<RecordScript> script, bool in_place)
        : store_(std::move(store)), script_(std::move(script)), in_place_(in_place)
    {}
    interlock::Capabilities capabilities() const noexcept { return {.answers_in_place = in_place_}; }

    Outcome<Claim> carry_out(interlock::verb::Claim const& asked, Deadline) const
    {
        blocks();
        auto const& request = asked.request;
        auto const& attempt = asked.attempt;
        interlock::Key const home =
            attempt.home != nullptr ? *attempt.home : interlock::Key{std::string_view{}};
        return script_->play<Outcome<Claim>>(
            Call::claim, request,
            [store = store_, script = script_, request, owner = asked.owner, lease = asked.lease,
             after = asked.after_lease, attempt, home] {
                auto named = attempt;
                if (named.home != nullptr)
                    named.home = &home;
                auto claimed = store.claim(request, owner, lease, after, {}, named);
                if (claimed && script->on_claim)
                    script->on_claim(request, claimed->state);
                return claimed;
            });
    }
    Outcome<void> carry_out(interlock::verb::Complete const& asked, Deadline) const
    {
        blocks();
        auto const& request = asked.request;
        return script_->play<Outcome<void>>(
            Call::complete, request,
            [store = store_, script = script_, request, owner = asked.owner, answer = std::string(asked.text),
             rejected = asked.rejected] {
                auto done = store.complete(request, owner, answer, rejected);
                if (done && script->on_completed)
                    script->on_completed(request);
                return done;
            });
    }
    Outcome<void> carry_out(interlock::verb::GiveBack const& asked, Deadline) const
    {
        blocks();
        auto const& request = asked.request;
        return script_->play<Outcome<void>>(
            Call::give_back, request,
            [store = store_, request, owner = asked.owner, settled = asked.settled] {
                return store.give_back(request, owner, {}, settled);
            });
    }
    std::chrono::nanoseconds retention() const noexcept { return store_.retention(); }
    void subscribe(IdempotentRequest const& request, interlock::Waiter& waiter) const
    {
        if (!script_->hint_is_lost || !script_->hint_is_lost())
            store_.subscribe(request, waiter);
    }
    void unsubscribe(IdempotentRequest const& request, interlock::Waiter& waiter) const noexcept
    {
        store_.unsubscribe(request, waiter);
    }

private:
    void blocks() const
    {
        if (!in_place_ && script_->on_blocking_call)
            script_->on_blocking_call();
    }

    Store store_;
    std::shared_ptr<RecordScript> script_;
    bool in_place_;
};

static_assert(interlock::IdempotencyStore<ScriptedClaims>);

/// Records that are written in a row transaction. Models `IdempotencyStoreFor` those of a scripted
/// repository.
class TransactionalRecords {
    using Call = RecordScript::Call;

public:
    TransactionalRecords(std::shared_ptr<RecordScript> script, SimulationRuntime runtime)
        : shared_(std::make_shared<Shared>()), script_(std::move(script)), runtime_(std::move(runtime))
    {}
    /// Another process's handle to the same records.
    TransactionalRecords(TransactionalRecords const& other, SimulationRuntime runtime)
        : shared_(other.shared_), script_(other.script_), runtime_(std::move(runtime))
    {}

    template <class X>
    Outcome<Claim> claim(X& transaction, IdempotentRequest const& request) const
    {
        auto claimed = script_->play<Outcome<Claim>>(
            Call::claim, request,
            [&, script = script_]() -> Outcome<Claim> {
                auto& s = *shared_;
                if (auto known = s.find(request))
                    return *std::move(known);
                if (s.open[request.name()] > 0)
                    return Claim{ClaimState::in_progress};
                transaction.enlisted() = std::make_unique<Writing>(shared_, script, request);
                return Claim{ClaimState::claimed};
            },
            false);
        // With the connection the transaction went.
        if (!claimed && claimed.errc() == Errc::outcome_unknown) {
            transaction.rollback();
            return Errc::unavailable;
        }
        return claimed;
    }

    template <class X>
    void complete(X& transaction, IdempotentRequest const&, std::string_view answer) const
    {
        static_cast<Writing&>(*transaction.enlisted()).answer.emplace(answer);
    }

    Outcome<Claim> reject(IdempotentRequest const& request, std::string_view text, Deadline deadline) const
    {
        // Like a database it waits for those who execute the request, for as long as its time-out for locks.
        auto const until = std::min(
            deadline.at(runtime_.now()),
            interlock::detail::add(runtime_.now(), std::chrono::milliseconds{20}));
        while (shared_->open[request.name()] > 0) {
            if (runtime_.now() >= until)
                return Errc::unavailable;
            runtime_.sleep_until(
                std::min(until, interlock::detail::add(runtime_.now(), std::chrono::milliseconds{2})));
        }
        return script_->play<Outcome<Claim>>(
            Call::reject, request, [shared = shared_, script = script_, request, text = std::string(text)] {
                if (auto known = shared->find(request))
                    return Outcome<Claim>{*std::move(known)};
                if (shared->open[request.name()] > 0)
                    return Outcome<Claim>{Errc::unavailable};
                shared->records.emplace(request.name(), Record{request.fingerprint(), text, true});
                return Outcome<Claim>{Claim{ClaimState::completed, text, true}};
            });
    }

    Outcome<Claim> find(IdempotentRequest const& request, Deadline = {}) const
    {
        return script_->play<Outcome<Claim>>(
            Call::find, request,
            [shared = shared_, request]() -> Outcome<Claim> {
                if (auto known = shared->find(request))
                    return *std::move(known);
                return Claim{
                    shared->open[request.name()] > 0 ? ClaimState::in_progress : ClaimState::claimed};
            },
            false);
    }

    /// Transactions that may still commit a record of this request.
    int open(IdempotentRequest const& request) const { return shared_->open[request.name()]; }

private:
    struct Record {
        interlock::Fingerprint print;
        std::string answer;
        bool rejected{false};
    };
    struct Shared {
        std::map<std::string, Record> records;
        std::map<std::string, int> open;

        std::optional<Claim> find(IdempotentRequest const& request) const
        {
            auto const it = records.find(request.name());
            if (it == records.end())
                return std::nullopt;
            if (mismatch(it->second.print, request.fingerprint()))
                return Claim{ClaimState::mismatch};
            return Claim{ClaimState::completed, it->second.answer, it->second.rejected};
        }
    };
    struct Writing final : scripted::Enlisted {
        Writing(std::shared_ptr<Shared> s, std::shared_ptr<RecordScript> r, IdempotentRequest q)
            : shared(std::move(s)), script(std::move(r)), request(std::move(q))
        {
            ++shared->open[request.name()];
        }
        ~Writing() override { --shared->open[request.name()]; }
        void committed() override
        {
            if (!answer)
                return;
            shared->records.emplace(request.name(), Record{request.fingerprint(), *answer, false});
            if (script->on_completed)
                script->on_completed(request);
        }
        std::shared_ptr<Shared> shared;
        std::shared_ptr<RecordScript> script;
        IdempotentRequest request;
        std::optional<std::string> answer;
    };

    std::shared_ptr<Shared> shared_;
    std::shared_ptr<RecordScript> script_;
    SimulationRuntime runtime_;
};

}  // namespace simulation

#endif  // INTERLOCK_TESTS_SUPPORT_SIMULATION_IDEMPOTENCY_HPP
