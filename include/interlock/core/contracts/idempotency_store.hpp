// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_CONTRACTS_IDEMPOTENCY_STORE_HPP
#define INTERLOCK_CORE_CONTRACTS_IDEMPOTENCY_STORE_HPP

/// @file
/// The plug shape of a store that remembers which requests have been answered: its verbs, as values, and its
/// laws. An author writes `carry_out` for `verb::Claim`, `verb::Complete` and `verb::GiveBack`, and derives
/// from `IdempotencyMembers`, which makes the members of them that users and policies call:
///
///     class MyRecords : public interlock::IdempotencyMembers<MyRecords> {
///     public:
///         Outcome<Claim> carry_out(verb::Claim const& claim, Deadline deadline) const;
///         Outcome<void> carry_out(verb::Complete const& complete, Deadline deadline) const;
///         Outcome<void> carry_out(verb::GiveBack const& give_back, Deadline deadline) const;
///     };
///
/// `IdempotencyKeys{policy, MyRecords{...}}` then claims a request before its operation runs, and completes
/// it with the answer, or gives it back.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/fencing_token.hpp>
#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/outcome.hpp>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {

/// What `claim` found.
enum class ClaimState : unsigned char {
    claimed,      ///< ours: run the operation, then `complete` or `give_back`
    taken_over,   ///< ours, from an owner whose lease is over; that owner's attempt may have been applied
    completed,    ///< the request has an answer
    in_progress,  ///< somebody else has the claim, and the lease still runs
    mismatch,     ///< the same key with another fingerprint, whatever the state of its record
    abandoned,    ///< somebody else's lease is over, and taking over is not allowed
};

/// The answer to a `claim`: who has the request, and what is known of it.
struct Claim {
    ClaimState state{ClaimState::in_progress};
    std::string answer{};                     ///< of a `completed` request
    bool rejected{false};                     ///< the answer is the text of a `FinalRejection`
    std::chrono::nanoseconds retry_after{0};  ///< of a request `in_progress`: the rest of the lease
    std::string named_home{};  ///< of a claim that is ours: the bytes of the home key that the record names
    std::uint32_t named_attempt{0};  ///< likewise the attempt; 0: the attempt of this claim, or none
};

/// The attempt that an owner is going to make at the request's effect. It is the only attempt that may be
/// applied under this owner's claim. Whoever takes the claim over learns which one it is, and settles it
/// (finds its answer, or forbids it) before making another.
struct NamedAttempt {
    Key const* home{nullptr};  ///< the key that the operation's record belongs to; null: no attempt is named
    /// Which attempt at the operation it is.
    std::uint32_t number{1};
    /// True: the record is to name this attempt instead of the one that it names now, because the caller
    /// knows that the former can no longer be applied. False: a claim that is the owner's already, or is
    /// taken over, goes on naming what it named.
    bool replaces{false};
};

/// What a claim does when the lease of the former owner is over.
enum class AfterLease : unsigned char {
    take_over,  ///< the operation is run again; its operation id makes sure that the effect happens once
    refuse,  ///< it is never run again by itself: `idempotency_in_progress` until the record's retention ends
};

namespace verb {

/// One atomic arbitration of a request; idempotent for its own `owner`, so that it may be sent again after a
/// lost reply. May fail with `overloaded`, `unavailable`. One trip.
struct Claim {
    using answer = interlock::Claim;
    static constexpr std::string_view name = "claim";
    static constexpr std::string_view feature = "idempotency records";
    static constexpr bool reads = false;
    IdempotentRequest const& request;
    OwnerToken owner;
    Ttl lease;
    AfterLease after_lease;
    NamedAttempt const& attempt;
};

/// Stores the answer if `owner` still has the claim. May fail with `fenced_out`: then another owner has it,
/// who settles what this one did. After a lost reply it is not sent again, since a `fenced_out` would not
/// tell whether the first one was stored; a `claim` tells.
struct Complete {
    using answer = void;
    static constexpr std::string_view name = "complete";
    static constexpr std::string_view feature = "idempotency records";
    static constexpr bool reads = false;
    IdempotentRequest const& request;
    OwnerToken owner;
    std::string_view text;  ///< the answer
    bool rejected;          ///< it is the text of a `FinalRejection`
};

/// Ends the claim if `owner` still has it: the next one has it at once. May fail with `fenced_out`. A claim
/// that nobody gives back ends with its lease.
struct GiveBack {
    using answer = void;
    static constexpr std::string_view name = "give_back";
    static constexpr std::string_view feature = "idempotency records";
    static constexpr bool reads = false;
    IdempotentRequest const& request;
    OwnerToken owner;
    bool settled;  ///< whatever the claim's attempts came to is known
};

/// All of them: a store of idempotency records that is chosen at run time carries them out.
using IdempotencyVerbs = List<Claim, Complete, GiveBack>;

}  // namespace verb

/// A store of idempotency records: it carries out `verb::Claim`, `verb::Complete` and `verb::GiveBack`.
///
/// | expression | result | meaning |
/// |---|---|---|
/// | `s.retention()` | `std::chrono::nanoseconds` | optional: how long records are kept; operation records are then kept at least as long |
/// | `s.place()` | `std::string` | optional: where records are kept, for texts (`kit/place.hpp`) |
/// | `s.capabilities()` | `Capabilities` | optional: of them `answers_in_place` and `wakes_waiters` count |
/// | `s.subscribe(request, waiter)` | | optional: wakes `waiter` when the claim ends, until `s.unsubscribe(request, waiter)` has returned |
///
/// Laws:
/// 1. The fingerprint is compared before the state of the record is looked at.
/// 2. `Complete`, `GiveBack` and taking over are compare-and-set on the owner.
/// 3. Answers are kept for the retention, by the store's clock, and never evicted early.
/// 4. The record of a fresh claim names `attempt`. The record of a claim that is taken over goes on naming
///    what it named, fingerprint included, until its new owner claims with `attempt.replaces`; until then
///    every claim of that owner is answered by `taken_over`. A claim with `attempt.replaces` may arrive after
///    a later one of the same owner. It therefore changes nothing if it names a lower number, at the same
///    home, than the owner has named by then: whoever takes over would otherwise settle an attempt that is no
///    longer the owner's.
/// 5. A claim that is given back is forgotten if it is `settled` or was not taken over. Otherwise its record
///    stays, without an owner, and the next claim takes it over at once.
template <class S>
concept IdempotencyStore =
    std::copyable<S> && requires(
                            S const& s, verb::Claim const& claim, verb::Complete const& complete,
                            verb::GiveBack const& give_back, Deadline deadline) {
        { s.carry_out(claim, deadline) } -> std::same_as<Outcome<Claim>>;
        { s.carry_out(complete, deadline) } -> std::same_as<Outcome<void>>;
        { s.carry_out(give_back, deadline) } -> std::same_as<Outcome<void>>;
    };

/// A store of idempotency records that wakes those who wait for a claim to end. Without it they look again
/// now and then.
template <class S>
concept SubscribableIdempotencyStore =
    requires(S const& s, IdempotentRequest const& request, Waiter& waiter) {
        s.subscribe(request, waiter);
        s.unsubscribe(request, waiter);
    };

/// A store of idempotency records that writes them inside of an open transaction `X`.
///
/// | expression | result | meaning |
/// |---|---|---|
/// | `s.claim(tx, request)` | `Outcome<Claim>` | waits for others who execute the request; `claimed`, `completed`, `mismatch` or `in_progress` |
/// | `s.complete(tx, request, answer)` | | the record, committed with `tx` |
/// | `s.reject(request, text, deadline)` | `Outcome<Claim>` | waits for others who execute the request; a record without an effect, if there is none; then `completed` by what is stored, or `mismatch` |
/// | `s.find(request, deadline)` | `Outcome<Claim>` | as `claim`, outside of a transaction and without waiting: `in_progress` while a transaction that claimed it may still commit, `claimed` when there is neither such a transaction nor a record |
template <class S, class X>
concept IdempotencyStoreFor =
    std::copyable<S> &&
    requires(S const s, X& tx, IdempotentRequest const& request, std::string_view answer, Deadline deadline) {
        { s.claim(tx, request) } -> std::same_as<Outcome<Claim>>;
        s.complete(tx, request, answer);
        { s.reject(request, answer, deadline) } -> std::same_as<Outcome<Claim>>;
        { s.find(request, deadline) } -> std::same_as<Outcome<Claim>>;
    };

/// How long `store` keeps its records; zero where it does not say. A policy keeps the operation's own record
/// at least as long, so that a request is never answered by one record and run again for want of the other.
template <class S>
constexpr std::chrono::nanoseconds retention_of(S const& store) noexcept
{
    if constexpr (requires { store.retention(); })
        return store.retention();
    else
        return std::chrono::nanoseconds{0};
}

/// The members of an idempotency store, made from the verbs that `Derived` carries out. Policies call them;
/// operators' tools may. A deadline that is left out is the default one of all calls.
template <class Derived>
class IdempotencyMembers {
public:
    Outcome<Claim> claim(
        IdempotentRequest const& request, OwnerToken owner, Ttl lease, AfterLease after_lease,
        Deadline deadline = {}, NamedAttempt const& attempt = {}) const
    {
        return self().carry_out(verb::Claim{request, owner, lease, after_lease, attempt}, deadline);
    }
    Outcome<void> complete(
        IdempotentRequest const& request, OwnerToken owner, std::string_view answer, bool rejected,
        Deadline deadline = {}) const
    {
        return self().carry_out(verb::Complete{request, owner, answer, rejected}, deadline);
    }
    Outcome<void> give_back(
        IdempotentRequest const& request, OwnerToken owner, Deadline deadline = {},
        bool settled = false) const
    {
        return self().carry_out(verb::GiveBack{request, owner, settled}, deadline);
    }

protected:
    IdempotencyMembers() = default;

private:
    Derived const& self() const noexcept { return static_cast<Derived const&>(*this); }
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_CONTRACTS_IDEMPOTENCY_STORE_HPP
