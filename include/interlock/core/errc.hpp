// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_ERRC_HPP
#define INTERLOCK_CORE_ERRC_HPP

/// @file
/// What can go wrong, and what is then known about the change that was to be made.
///
/// Every failure of the library is one `Errc`, and each `Errc` has exactly one `Effect`. So a caller need not
/// know what `fenced_out` means in order to react rightly: it asks for the effect, and only an effect that is
/// unknown needs thought. The throwing calls throw `Error`; `Failure` and `Outcome` (see `outcome.hpp`)
/// answer the same questions by the same names: `errc()`, `cause()`, `effect()`, `message()`,
/// `retry_after()`.
///
///     try {
///         stock_service.do_in_transaction("sku-1", take_one);
///     } catch (interlock::Error const& error) {
///         if (error.effect() == interlock::Effect::unknown)
///             ask_again_with_the_same_id();         // never with a new one: the change may have been made
///         else
///             log(error.errc(), error.what());      // nothing was changed
///     }

#include <interlock/fwd.hpp>
#include <interlock/separate_compilation.hpp>

#include <boost/system/error_code.hpp>
#include <boost/system/system_error.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

// Before the first use of `Errc`: some uses ask whether it is an error code.
template <>
struct boost::system::is_error_code_enum<interlock::Errc> : std::true_type {};

namespace interlock {
inline namespace v0 {

/// What Asio's handlers are given.
using error_code = boost::system::error_code;

/// What is known about the change that an operation was to make (law P5).
enum class Effect : unsigned char {
    not_applied,  ///< surely nothing was changed; safe to try again, under any id
    applied,      ///< surely changed, once
    /// May have been changed: ask again with the *same* operation id or key, never with a new one.
    unknown,
};

/// Every failure the library reports. Each has exactly one effect, see `effect_of`; the only one whose
/// effect is unknown is `outcome_unknown`, and it carries the `Errc` that caused it.
///
/// What helps the caller:
///
/// | code | what helps |
/// |---|---|
/// | `invalid_argument`, `would_deadlock`, `idempotency_mismatch` | mend the program: the same call fails again |
/// | `not_found`, `already_exists`, `constraint_violated` | an answer about the data: tell the user |
/// | `corrupt_state`, `version_exhausted`, `misconfigured` | an operator: the text says what is wrong where |
/// | `version_conflict`, `serialization_failure`, `deadlock` | call again; policies do so up to `max_attempts` |
/// | `lock_busy`, `idempotency_in_progress` | call again after `retry_after()` |
/// | `superseded` | ask again with the same id: its record tells what became of the operation |
/// | `lock_lost`, `fenced_out` | take the lock anew, load, and decide anew |
/// | `deadline_exceeded`, `cancelled` | as the caller likes: nothing was changed |
/// | `overloaded`, `unavailable` | call again later, with a `Backoff` |
/// | `outcome_unknown` | ask again with the *same* operation id or idempotency key; without one, read |
///
/// The numbers are what `error_code::value()` gives. Logs and metrics say more with the name (`name_of`).
enum class Errc : int {
    ok = 0,

    // The caller's request cannot be served as it is.
    invalid_argument = 1,   ///< an argument is out of its documented range; refused before any I/O
    not_found = 2,          ///< no value under this key, and the policy was not asked to create one
    already_exists = 3,     ///< `insert` found a value
    corrupt_state = 4,      ///< stored bytes are not a `T`, a record is damaged, a version is negative
    version_exhausted = 5,  ///< the 64-bit version is at its maximum; it never wraps
    would_deadlock = 6,     ///< the operation asked for a key that its own caller already holds
    /// The store refused the change by a rule of its own; the detail names the rule.
    constraint_violated = 7,

    // Somebody else was there.
    version_conflict = 10,         ///< another writer moved the version; nothing was written
    lock_busy = 11,                ///< somebody else holds the lock and no waiting was asked for
    serialization_failure = 12,    ///< the store refused the transaction's snapshot; run it again
    deadlock = 13,                 ///< the store broke a cycle of waiters by refusing this transaction
    idempotency_in_progress = 14,  ///< the same request is being executed elsewhere; ask again later
    idempotency_mismatch = 15,     ///< the same key came with a different request; never executed
    superseded = 16,               ///< a later attempt of the same operation id forbade this one

    // The lock is gone.
    /// The lease ended, or could no longer be proved; the guarded write was refused.
    lock_lost = 20,
    fenced_out = 21,  ///< the store refused a guarded write: its record names another acquisition

    // It could not be done now.
    deadline_exceeded = 30,  ///< the deadline came before the effect was sent to the store
    cancelled = 31,          ///< the caller cancelled before the effect was sent to the store
    overloaded = 32,         ///< a configured bound (queue, waiters, records, memory) is reached (law P10)
    unavailable = 33,        ///< the store cannot be reached or refuses service; nothing was applied
    /// Store or program is set up so that a promise cannot be kept; retrying is pointless.
    misconfigured = 34,

    // It is not known.
    outcome_unknown = 40,  ///< may have been applied; see the cause
};

/// The effect that an `Errc` stands for: `applied` for `ok`, `unknown` for `outcome_unknown`, and
/// `not_applied` for every other. A number that is no enumerator is `unknown`: a later version may have sent
/// it, and a wrong "not applied" would make somebody do a thing twice.
constexpr Effect effect_of(Errc code) noexcept
{
    switch (code) {
    case Errc::ok: return Effect::applied;
    case Errc::invalid_argument:
    case Errc::not_found:
    case Errc::already_exists:
    case Errc::corrupt_state:
    case Errc::version_exhausted:
    case Errc::would_deadlock:
    case Errc::constraint_violated:
    case Errc::version_conflict:
    case Errc::lock_busy:
    case Errc::serialization_failure:
    case Errc::deadlock:
    case Errc::idempotency_in_progress:
    case Errc::idempotency_mismatch:
    case Errc::superseded:
    case Errc::lock_lost:
    case Errc::fenced_out:
    case Errc::deadline_exceeded:
    case Errc::cancelled:
    case Errc::overloaded:
    case Errc::unavailable:
    case Errc::misconfigured: return Effect::not_applied;
    case Errc::outcome_unknown: break;
    }
    return Effect::unknown;  // also for values that are no enumerator: never claim what is not known
}

/// A stable lower-case name, for logs, metrics and tests. `"?"` for a value that is no enumerator.
constexpr char const* name_of(Errc code) noexcept
{
    switch (code) {
    case Errc::ok: return "ok";
    case Errc::invalid_argument: return "invalid_argument";
    case Errc::not_found: return "not_found";
    case Errc::already_exists: return "already_exists";
    case Errc::corrupt_state: return "corrupt_state";
    case Errc::version_exhausted: return "version_exhausted";
    case Errc::would_deadlock: return "would_deadlock";
    case Errc::constraint_violated: return "constraint_violated";
    case Errc::version_conflict: return "version_conflict";
    case Errc::lock_busy: return "lock_busy";
    case Errc::serialization_failure: return "serialization_failure";
    case Errc::deadlock: return "deadlock";
    case Errc::idempotency_in_progress: return "idempotency_in_progress";
    case Errc::idempotency_mismatch: return "idempotency_mismatch";
    case Errc::superseded: return "superseded";
    case Errc::lock_lost: return "lock_lost";
    case Errc::fenced_out: return "fenced_out";
    case Errc::deadline_exceeded: return "deadline_exceeded";
    case Errc::cancelled: return "cancelled";
    case Errc::overloaded: return "overloaded";
    case Errc::unavailable: return "unavailable";
    case Errc::misconfigured: return "misconfigured";
    case Errc::outcome_unknown: return "outcome_unknown";
    }
    return "?";
}

/// What the code means, in a few words, for the text of a message. Empty for a value that is no enumerator.
constexpr char const* explanation_of(Errc code) noexcept
{
    switch (code) {
    case Errc::ok: return "";
    case Errc::invalid_argument: return "an argument is out of its range";
    case Errc::not_found: return "there is no value under this key";
    case Errc::already_exists: return "there is a value under this key already";
    case Errc::corrupt_state: return "the stored bytes are not a state of this type";
    case Errc::version_exhausted: return "the version cannot be raised any more";
    case Errc::would_deadlock: return "the caller already works on this key";
    case Errc::constraint_violated: return "the store refused the change by a rule of its own";
    case Errc::version_conflict: return "somebody else changed the value";
    case Errc::lock_busy: return "somebody else holds the lock";
    case Errc::serialization_failure: return "the store asks to run the transaction again";
    case Errc::deadlock: return "the store broke a cycle of transactions that waited for each other";
    case Errc::idempotency_in_progress: return "the same request is being executed";
    case Errc::idempotency_mismatch: return "the key was used for a different request before";
    case Errc::superseded: return "a later attempt of the same operation took the place of this one";
    case Errc::lock_lost: return "the lease ended, or could not be renewed in time";
    case Errc::fenced_out:
        return "the lock record names another acquisition, or there is none; nothing was written";
    case Errc::deadline_exceeded: return "the deadline came before anything was changed";
    case Errc::cancelled: return "the call was cancelled before anything was changed";
    case Errc::overloaded: return "a configured limit is reached";
    case Errc::unavailable: return "the store cannot be reached, or refuses service";
    case Errc::misconfigured: return "the store or the program is set up so that a promise cannot be kept";
    case Errc::outcome_unknown: return "the change may have been made";
    }
    return "";
}

namespace detail {
class ErrorCategory final : public boost::system::error_category {
public:
    // The id makes the category equal to itself across shared libraries that each instantiate it.
    constexpr ErrorCategory() noexcept : boost::system::error_category(0x696e7465726c6f63ULL) {}
    char const* name() const noexcept override { return "interlock"; }
    std::string message(int value) const override { return name_of(static_cast<Errc>(value)); }
};
}  // namespace detail

/// The category of every `error_code` that is made from an `Errc`.
inline boost::system::error_category const& error_category() noexcept
{
    static constexpr detail::ErrorCategory instance;
    return instance;
}

/// `code` as an `error_code`, for Asio.
inline error_code make_error_code(Errc code) noexcept
{
    return {static_cast<int>(code), error_category()};
}

/// The effect that an `error_code` stands for. A code of a foreign category is `unknown`: the library
/// cannot know what its author meant. No error is `applied`.
inline Effect effect_of(error_code const& code) noexcept
{
    if (code.category() == error_category())
        return effect_of(static_cast<Errc>(code.value()));
    return code.failed() ? Effect::unknown : Effect::applied;
}

namespace detail {
/// `outcome_unknown because of unavailable: redis: the connection was closed`
std::string message_of(Errc code, Errc cause, std::string const& detail);
}  // namespace detail

/// What the throwing calls throw. The same questions with the same names as on `Failure` and `Outcome`.
///
/// `code()` comes from `boost::system::system_error` and is what Asio's handlers take: an `error_code` of the
/// category `error_category()`. To tell cases apart, `switch (error.errc())`. **Thread safety.** Distinct
/// objects: safe, copies too. Shared objects: safe, since nothing can be changed.
class Error : public boost::system::system_error {
public:
    /// `cause`: why it is unknown, where `code` is `outcome_unknown`. `detail`: a sentence for the log, which
    /// names the store and must not hold a secret. `retry_after`: when it makes sense to ask again.
    explicit Error(
        Errc code, std::string detail = {}, Errc cause = Errc::ok, std::chrono::nanoseconds retry_after = {});
    /// What `failure` says, to be thrown.
    explicit Error(Failure const& failure);

    /// What went wrong.
    Errc errc() const noexcept { return static_cast<Errc>(code().value()); }
    /// Why the outcome is unknown, or the nearer reason of another code; `Errc::ok` when there is none.
    Errc cause() const noexcept { return cause_; }
    /// What is known of the change that the call was to make.
    Effect effect() const noexcept { return effect_of(errc()); }
    /// When it makes sense to ask again; zero when nobody knows.
    std::chrono::nanoseconds retry_after() const noexcept { return retry_after_; }
    /// The whole sentence, for a log: the code, what caused it, and the detail.
    std::string message() const { return text_->message; }
    /// As `message()`. The text lives as long as this error or any copy of it.
    char const* what() const noexcept override { return text_->message.c_str(); }
    /// Which store it was and what was wrong, without the code; may be empty.
    std::string detail() const { return text_->detail; }

private:
    // Shared, because copying an exception must not throw.
    struct Text {
        Text(std::string m, std::string d) : message(std::move(m)), detail(std::move(d)) {}
        std::string message;
        std::string detail;
    };

    Errc cause_;
    std::chrono::nanoseconds retry_after_;
    std::shared_ptr<Text const> text_;
};

}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/detail/impl/errc.ipp>
#endif

#endif  // INTERLOCK_CORE_ERRC_HPP
