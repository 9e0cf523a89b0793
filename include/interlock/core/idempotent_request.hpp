// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_IDEMPOTENT_REQUEST_HPP
#define INTERLOCK_CORE_IDEMPOTENT_REQUEST_HPP

/// @file
/// A request that may arrive several times, and the answer to it. A client that got no answer sends its
/// request again, with the same idempotency key; the policies `IdempotencyKeys` and
/// `IdempotencyInTransaction` make sure that the effect happens once, and that everybody gets the same
/// answer.
///
///     interlock::IdempotentRequest const request{
///         header["Idempotency-Key"], interlock::Scope{"tenant-7/charge"}, interlock::fingerprint(body)};
///     auto const answer = service.do_in_transaction(request, "alice", charge);  // under `IdempotencyKeys`
///     if (answer.replayed())
///         headers["Idempotent-Replayed"] = "true";

#include <interlock/core/errc.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/separate_compilation.hpp>

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
    /// Any text: two texts are two scopes.
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
    {}
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
std::string request_digest(std::string_view name);

}  // namespace detail

/// How `IdempotentRequest::derived_key` makes keys.
enum class DerivedKey : unsigned char {
    digits = 1,  ///< 64 hexadecimal digits, as version 0.1 made them
    uuid = 2,    ///< a UUID of version 5 (RFC 9562), 36 characters in small letters
};

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
    /// The most bytes of an idempotency key.
    static constexpr std::size_t max_key_size = 255;

    /// `print`: what the request asks for, in short; without one nothing is compared.
    IdempotentRequest(std::string_view key, Scope scope, Fingerprint print = {})
        : key_(unquoted(key)), scope_(std::move(scope)), fingerprint_(print)
    {}

    std::string const& key() const noexcept { return key_; }
    Scope const& scope() const noexcept { return scope_; }
    Fingerprint fingerprint() const noexcept { return fingerprint_; }

    /// The phase `name` of this request: a request of its own, with the same fingerprint. The name has 1 to
    /// 64 bytes and no control characters, else every call refuses the phase with `invalid_argument`. A phase
    /// may have phases.
    IdempotentRequest phase(std::string_view name) const;

    /// A UUID that is made from scope, key and phases and is always the same. Use it as the key for somebody
    /// else's idempotent interface, which must not meet the caller's own key again: such interfaces want a
    /// UUID, or a text that is no longer than one.
    ///
    /// The name that it is made of, in a name space of the library's own, begins with "interlock derived
    /// key 2:". The number is that of the algorithm: should another one ever be needed, it makes other keys
    /// beside these, and does not change them.
    ///
    /// **Keys of version 0.1** stay valid: `derived_key(DerivedKey::digits)` makes them as ever. A program
    /// that has sent such keys asks for them until no request from before its upgrade can come again; a
    /// retry under another key would be another order to the one who gets it.
    std::string derived_key(DerivedKey form = DerivedKey::uuid) const;

    /// Scope, key and phases as one name. Two different requests never have the same name, since the length
    /// of the scope stands in front.
    std::string name() const;

    /// Success, or `invalid_argument` with a text that says what is wrong with the key or with the name of a
    /// phase.
    Outcome<void> validate() const;

private:
    static bool has_control_character(std::string_view text) noexcept;

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

}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/detail/impl/idempotent_request.ipp>
#endif

#endif  // INTERLOCK_CORE_IDEMPOTENT_REQUEST_HPP
