// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_IDEMPOTENT_REQUEST_HPP
#define INTERLOCK_CORE_IDEMPOTENT_REQUEST_HPP

/// @file
/// A request that may arrive several times, the answer to it, and the store that tells the arrivals apart.
///
///     interlock::IdempotentRequest const request{
///         header["Idempotency-Key"], interlock::Scope{"tenant-7/charge"}, interlock::fingerprint(body)};
///     auto const answer = service.do_in_transaction(request, "alice", charge);  // under `IdempotencyKeys`
///     if (answer.replayed())
///         headers["Idempotent-Replayed"] = "true";
///
/// Users need `IdempotentRequest`, `Answer` and `FinalRejection`. The rest of the header is the contract of a
/// store of idempotency records, for its authors.

#include <interlock/core/contracts/store.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {

/// Whose key it is: a tenant, a principal, an operation, or several of them together. Two scopes never see
/// each other's answers.
class Scope {
public:
    explicit Scope(std::string value) : value_(std::move(value)) {}
    explicit Scope(std::string_view value) : value_(value) {}
    explicit Scope(char const* value) : value_(value) {}
    std::string const& value() const noexcept { return value_; }

private:
    std::string value_;
};

/// What a request asked for, in short. If the same key comes with another fingerprint, the call fails with
/// `idempotency_mismatch`.
///
/// A fingerprint carries the version of the algorithm that made it, and fingerprints of different versions
/// are never compared. A deploy that changes the algorithm therefore does not refuse the retries that are
/// under way. Version 0 means "no fingerprint": nothing is compared.
class Fingerprint {
public:
    constexpr Fingerprint() noexcept = default;
    constexpr Fingerprint(std::uint64_t value, std::uint8_t version) noexcept
        : value_(value), version_(version)
    {
    }
    constexpr std::uint64_t value() const noexcept { return value_; }
    constexpr std::uint8_t version() const noexcept { return version_; }

    /// True when both fingerprints are known, are of one version, and differ.
    friend constexpr bool mismatch(Fingerprint a, Fingerprint b) noexcept
    {
        return a.version_ != 0 && a.version_ == b.version_ && a.value_ != b.value_;
    }
    friend constexpr bool operator==(Fingerprint, Fingerprint) noexcept = default;

private:
    std::uint64_t value_{0};
    std::uint8_t version_{0};
};

/// The fingerprint of a request's bytes, by version 1 of the algorithm: FNV-1a of 64 bits, finished by a
/// mixer. It finds mistakes, not attacks: whoever can forge a collision can also send the first request.
constexpr Fingerprint fingerprint(std::string_view body) noexcept
{
    std::uint64_t hash = 14695981039346656037ULL;
    for (char c : body)
        hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
    hash ^= hash >> 33;
    hash *= 0xff51afd7ed558ccdULL;
    hash ^= hash >> 33;
    return {hash, 1};
}

namespace detail {

/// 256 bits that stand for a request's name, which may be too long for an operation id. They guard against
/// mistakes, not against attacks: a caller that may choose keys at will can look for two with one digest, and
/// these then count as one request.
inline std::string request_digest(std::string_view name)
{
    std::string out;
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
        std::uint64_t hash = 14695981039346656037ULL ^ (seed * 0x9e3779b97f4a7c15ULL);
        for (char c : name) {
            hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
            hash ^= hash >> 29;
        }
        for (int i = 0; i < 8; ++i)
            out += static_cast<char>(hash >> (8 * i));
    }
    return out;
}

}  // namespace detail

/// One request: its key, whose key it is, and what it asks for. All three are fixed when the object is made;
/// a handler that changes the request afterwards changes nothing here.
///
/// The key has 1 to 255 bytes and no control characters. A key in double quotes, as the IETF draft writes it,
/// is the same key as the one without. The type is a class with a constructor because g++ 12 destroys the
/// temporaries of a `co_await` expression twice when they are aggregates.
///
/// **Recovery points.** Work that takes several transactions, or has calls to other systems in between, is
/// done in phases:
///
///     auto const ride = service.do_in_transaction(request.phase("ride"), user, book);
///     // The bank has an idempotent interface of its own, which gets a key of its own.
///     auto const charge = bank.charge(request.phase("charge").derived_key(), ride->price);
///     return service.do_in_transaction(request.phase("receipt"), user, note(charge));
///
/// Each phase has a record of its own under its name. The record is stored with the phase's effect as
/// strictly as the policy promises: under `IdempotencyInTransaction` in one transaction with it. After a
/// crash, whoever comes with the request again runs the same code: the phases that are stored give their
/// answers and are not run, and the first phase that is not stored goes on. A phase that threw
/// `FinalRejection` throws it again. What stands between the phases is run each time.
class IdempotentRequest {
public:
    static constexpr std::size_t max_key_size = 255;

    IdempotentRequest(std::string_view key, Scope scope, Fingerprint print = {})
        : key_(unquoted(key)), scope_(std::move(scope)), fingerprint_(print)
    {}

    std::string const& key() const noexcept { return key_; }
    Scope const& scope() const noexcept { return scope_; }
    Fingerprint fingerprint() const noexcept { return fingerprint_; }

    /// The phase `name` of this request: a request of its own, with the same fingerprint. The name has 1 to
    /// 64 bytes and no control characters, else every call refuses the phase with `invalid_argument`. A phase
    /// may have phases.
    IdempotentRequest phase(std::string_view name) const
    {
        auto part = *this;
        // A name that contains a NUL would count as two names. It becomes an empty name, which every call
        // refuses.
        (part.phases_ += '\0') += name.find('\0') == std::string_view::npos ? name : std::string_view{};
        return part;
    }

    /// 64 hexadecimal digits that are made from scope, key and phases and are always the same. Use them as
    /// the key for somebody else's idempotent interface, which must not meet the caller's own key again.
    std::string derived_key() const
    {
        std::string out;
        for (char c : detail::request_digest(name())) {
            out += "0123456789abcdef"[static_cast<unsigned char>(c) >> 4];
            out += "0123456789abcdef"[static_cast<unsigned char>(c) & 15U];
        }
        return out;
    }

    /// Scope, key and phases as one name. Two different requests never have the same name, since the length
    /// of the scope stands in front.
    std::string name() const
    {
        auto const n = scope_.value().size();
        std::string out;
        for (int i = 3; i >= 0; --i)
            out += static_cast<char>(n >> (8 * i));
        return out + scope_.value() + key_ + phases_;
    }

    /// Success, or `invalid_argument` with a text that says what is wrong with the key or with the name of a
    /// phase.
    Outcome<void> validate() const
    {
        if (key_.empty())
            return Failure{Errc::invalid_argument, "idempotency key is missing"};
        if (key_.size() > max_key_size)
            return Failure{
                Errc::invalid_argument, "idempotency key has " + std::to_string(key_.size()) +
                                            " bytes, the limit is " + std::to_string(max_key_size)};
        if (has_control_character(key_))
            return Failure{Errc::invalid_argument, "idempotency key has a control character"};
        for (std::string_view rest = phases_; !rest.empty();) {
            rest.remove_prefix(1);
            auto const name = rest.substr(0, rest.find('\0'));
            if (name.empty() || name.size() > 64 || has_control_character(name))
                return Failure{
                    Errc::invalid_argument,
                    "the name of a phase must have 1 to 64 bytes and no control characters"};
            rest.remove_prefix(name.size());
        }
        return success();
    }

private:
    static bool has_control_character(std::string_view text) noexcept
    {
        for (char c : text)
            if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
                return true;
        return false;
    }

    static std::string unquoted(std::string_view key)
    {
        if (key.size() >= 2 && key.front() == '"' && key.back() == '"')
            key = key.substr(1, key.size() - 2);
        return std::string(key);
    }

    std::string key_;
    std::string phases_;  // each phase with a NUL in front, which no key contains
    Scope scope_;
    Fingerprint fingerprint_;
};

/// The result of an idempotent request, and whether it is the result of an earlier execution. It converts to
/// the result, so that code which does not care about replays stays as it is.
template <class R>
class Answer {
public:
    using value_type = R;
    Answer() = default;
    Answer(R value, bool replayed) : value_(std::move(value)), replayed_(replayed) {}

    R const& value() const& noexcept { return value_; }
    /// The value is moved out, so that nothing refers to an answer that is gone.
    R value() && noexcept(std::is_nothrow_move_constructible_v<R>) { return std::move(value_); }
    operator R const&() const noexcept { return value_; }  // NOLINT
    R const& operator*() const& noexcept { return value_; }
    R operator*() && { return std::move(value_); }
    R const* operator->() const noexcept { return &value_; }
    /// True when this is the stored answer of an earlier execution.
    bool replayed() const noexcept { return replayed_; }

private:
    R value_{};
    bool replayed_{false};
};

/// A refusal that is the answer. An operation under `IdempotencyKeys` throws it for what would fail in the
/// same way again, such as "insufficient funds". It is then stored like a result, and everybody who comes
/// with the same key gets it again.
///
/// Any other exception gives the claim back, and the next one with the key runs the operation.
class FinalRejection : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// What `claim` found.
enum class ClaimState : unsigned char {
    claimed,      ///< ours: run the operation, then `complete` or `give_back`
    taken_over,   ///< ours, from an owner whose lease is over; that owner's attempt may have been applied
    completed,    ///< the request has an answer
    in_progress,  ///< somebody else has the claim, and the lease still runs
    mismatch,     ///< the same key with another fingerprint, whatever the state of its record
    abandoned,    ///< somebody else's lease is over, and taking over is not allowed
};

/// The answer to a `claim`.
struct Claim {
    ClaimState state{ClaimState::in_progress};
    std::string answer{};  ///< of a `completed` request
    bool rejected{false};  ///< the answer is the text of a `FinalRejection`
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

/// A store of idempotency records. Its members are:
///
/// - `s.claim(request, owner, lease, after_lease, deadline, attempt)` gives an `Outcome<Claim>`. It is one
///   atomic arbitration, and idempotent for its own `owner`. May fail with `overloaded` or `unavailable`.
/// - `s.complete(request, owner, answer, rejected, deadline)` gives an `Outcome<void>`. It stores the answer
///   if `owner` still has the claim, and fails with `fenced_out` otherwise.
/// - `s.give_back(request, owner, deadline, settled)` gives an `Outcome<void>`. It ends the claim if `owner`
///   still has it, so that the next one gets it at once, and fails with `fenced_out` otherwise.
/// - `s.retention()`, optional, gives `std::chrono::nanoseconds`: how long records are kept. Operation
///   records of requests are then kept at least as long.
/// - `s.subscribe(request, waiter)` and `s.unsubscribe`, optional: see law 4.
/// - `static constexpr bool immediate = true` says of a store that its members never wait for I/O.
///
/// Laws:
/// 1. The fingerprint is compared before the state of the record is looked at.
/// 2. `complete`, `give_back` and taking over are compare-and-set on the owner.
/// 3. Answers are kept for the retention, by the store's clock, and never evicted early.
/// 4. A store that can wake its waiters does so for `s.subscribe(request, waiter)` when the claim ends, until
///    `s.unsubscribe`.
/// 5. The record of a fresh claim names `attempt`. The record of a claim that is taken over goes on naming
///    what it named, fingerprint included, until its new owner claims with `attempt.replaces`; until then
///    every claim of that owner is answered by `taken_over`. A claim with `attempt.replaces` may arrive after
///    a later one of the same owner. It therefore changes nothing if it names a lower number, at the same
///    home, than the owner has named by then: whoever takes over would otherwise settle an attempt that is no
///    longer the owner's.
/// 6. A claim that is given back is forgotten if it is `settled` or was not taken over. Otherwise its record
///    stays, without an owner, and the next claim takes it over at once.
// clang-format off
template <class S>
concept IdempotencyStore = std::copyable<S> &&
    requires(S s, IdempotentRequest const& request, OwnerToken owner, Ttl lease, AfterLease after,
             std::string_view answer, bool rejected, bool settled, NamedAttempt const& attempt,
             Deadline deadline) {
    { s.claim(request, owner, lease, after, deadline, attempt) } -> std::same_as<Outcome<Claim>>;
    { s.complete(request, owner, answer, rejected, deadline) } -> std::same_as<Outcome<void>>;
    { s.give_back(request, owner, deadline, settled) } -> std::same_as<Outcome<void>>;
};
// clang-format on

/// How long `store` keeps its records; zero when the store does not say so.
template <class S>
constexpr std::chrono::nanoseconds retention_of(S const& store) noexcept
{
    if constexpr (requires { store.retention(); })
        return store.retention();
    else
        return std::chrono::nanoseconds{0};
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_IDEMPOTENT_REQUEST_HPP
