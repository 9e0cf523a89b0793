// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_OUTCOME_HPP
#define INTERLOCK_CORE_OUTCOME_HPP

/// @file
/// The honest answer of a call that does not throw: a value, or a `Failure` that says whether anything was
/// changed.
///
/// Every `try_` form, and every member of a store, returns an `Outcome<R>`. It is one of three: *applied* (it
/// holds the value), *not applied* (nothing was changed; try again or give up), *unknown* (the change may
/// have been made, for instance since the reply to a commit was lost). The third must never be taken for the
/// second.
///
///     interlock::Outcome<int> left = service.try_do_in_transaction(id, "sku-1", take_one);
///     if (left)
///         return Reply{200, *left};
///     if (left.effect() == interlock::Effect::unknown)
///         return Reply{504, "ask again with the same id"};
///     return Reply{503, left.message(), left.retry_after()};

#include <interlock/core/errc.hpp>
#include <interlock/separate_compilation.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

namespace interlock {
inline namespace v0 {

namespace detail {
template <class R>
inline constexpr bool is_answer = false;
template <class R>
inline constexpr bool is_answer<Answer<R>> = true;

/// What `Outcome::failure` throws where there is a value.
[[noreturn]] void throw_no_failure();

/// The beginning of `text`, at most `most` bytes of it, which cuts no character of UTF-8 in two: half a
/// character would make the whole no text any more for a log, a database or JSON. What is no UTF-8 is cut
/// where it is.
constexpr std::string_view beginning_of(std::string_view text, std::size_t most) noexcept
{
    if (text.size() <= most)
        return text;
    auto const byte = [text](std::size_t at) { return static_cast<unsigned char>(text[at]); };
    std::size_t first = most;  // of the character that the cut is in
    while (first > 0 && most - first < 3 && (byte(first) & 0xc0U) == 0x80)
        --first;
    auto const head = byte(first);
    std::size_t const length = head >= 0xf0 ? 4 : head >= 0xe0 ? 3 : head >= 0xc0 ? 2 : 1;
    return text.substr(0, first + length > most ? first : most);
}
}  // namespace detail

/// Why a call has no value: a code, perhaps the cause behind it, a time after which asking again makes sense,
/// and a text.
///
/// Stores and policies make failures, by the static members below; users read them, by the same names as on
/// `Error` and `Outcome`. **Thread safety.** Distinct objects: safe. Shared objects: reading is safe.
/// **Cost.** Three words; the text is allocated only where there is something to say, so that a conflict
/// costs nothing.
class [[nodiscard]] Failure {
public:
    Failure(Errc code) noexcept : code_(code) {}  // NOLINT: a bare code is a complete failure
    Failure(Errc code, std::string detail)
        : code_(code), words_(std::make_unique<Words>(Words{std::move(detail), {}}))
    {}

    /// `outcome_unknown` because of `cause`.
    static Failure unknown(Errc cause, std::string detail = {});

    /// `code` with a nearer reason. Stores answer a renewal with `lock_lost` because of `not_found` (no
    /// record) or `lock_busy` (another acquisition's record).
    static Failure because(Errc code, Errc cause) noexcept
    {
        Failure f{code};
        f.cause_ = cause;
        return f;
    }

    /// `code` because of `reason`: its code is the cause, or, where it is unknown, its own cause is; its text
    /// and its time stay. A call that ends by its deadline says so what the store said last.
    static Failure because(Errc code, Failure reason) noexcept
    {
        if (reason.code_ != Errc::outcome_unknown || reason.cause_ == Errc::ok)
            reason.cause_ = reason.code_;
        reason.code_ = code;
        if (reason.cause_ == code)
            reason.cause_ = Errc::ok;
        return reason;
    }

    /// `lock_busy` or `idempotency_in_progress`, with the time after which asking again makes sense.
    static Failure busy(Errc code, std::chrono::nanoseconds retry_after) noexcept
    {
        Failure f{code};
        f.retry_after_ = retry_after;
        return f;
    }

    /// This failure as that of one attempt of several, of which another may have been applied:
    /// `outcome_unknown` because of it, with its text. One that is unknown stays as it is.
    Failure in_doubt() && noexcept
    {
        if (code_ != Errc::outcome_unknown)
            cause_ = std::exchange(code_, Errc::outcome_unknown);
        return std::move(*this);
    }

    /// This failure as that of a request by which nothing of the operation is applied, whatever became of it:
    /// where the outcome is unknown the store was out of reach, `unavailable`, with the text.
    Failure without_doubt() && noexcept
    {
        if (code_ == Errc::outcome_unknown) {
            code_ = Errc::unavailable;
            cause_ = Errc::ok;
        }
        return std::move(*this);
    }

    /// This failure with a text made of `place`, which may be empty, and what the code means
    /// (`explanation_of`), or, of a deadline that came while something else was in the way, what that means.
    /// A text that was there is replaced.
    Failure explained(std::string place) &&;

    /// This failure with `place` in front of its text, where the text is about a store that could not serve
    /// (deadline, reach, limits, set-up, a lost reply) or has kept another request under the same key, and
    /// does not say which: it has not the first word of `place`, which is the kind of the store. So does a
    /// text that names which of several keys failed, unless it begins with that word. A
    /// `corrupt_state` whose text begins with that word gets the whole place instead of it.
    Failure placed(std::string const& place) &&;

    /// This failure with another text.
    Failure with_detail(std::string detail) &&;

    /// This failure with what the store itself calls it: see `store_code()`.
    Failure with_store_code(std::string_view code) &&;

    Failure(Failure&&) noexcept = default;
    Failure& operator=(Failure&&) noexcept = default;
    Failure(Failure const& other);
    Failure& operator=(Failure const& other);
    ~Failure() = default;

    /// What went wrong. Never `ok` in a failure that an `Outcome` holds.
    Errc errc() const noexcept { return code_; }
    /// The former name of `errc()`, from version 0.1.
    [[deprecated("write errc()")]] Errc code() const noexcept { return code_; }
    /// What made the outcome unknown, or the nearer reason of another code; `ok` when there is none.
    Errc cause() const noexcept { return cause_; }
    /// What is known of the change that the call was to make. Never `applied`.
    Effect effect() const noexcept { return effect_of(code_); }
    /// When it makes sense to ask again; zero when nobody knows.
    std::chrono::nanoseconds retry_after() const noexcept { return retry_after_; }
    /// The whole sentence, for a log: the code, what caused it, and the detail.
    std::string message() const;
    /// Which store it was and what was wrong, without the code; may be empty.
    std::string detail() const { return words_ ? words_->detail : std::string{}; }
    /// Whether `detail()` would say anything. Allocates nothing.
    bool has_detail() const noexcept { return words_ != nullptr && !words_->detail.empty(); }
    /// What the store itself calls the error, for a trace or a log: the SQLSTATE of PostgreSQL, the first
    /// word of an error reply of Redis. Empty when the store has answered without an error, or not at all,
    /// and of a failure that a call makes of several. Valid as long as the failure.
    std::string_view store_code() const noexcept
    {
        return words_ ? std::string_view{words_->store_code} : std::string_view{};
    }
    /// The exception that the throwing form of the call throws.
    Error exception() const;
    /// Throws that exception.
    [[noreturn]] void raise() const;

private:
    struct Words {
        std::string detail;
        std::string store_code;
    };
    Words& words();

    Errc code_;
    Errc cause_{Errc::ok};
    std::chrono::nanoseconds retry_after_{0};
    std::unique_ptr<Words> words_;
};

/// Either the result of an applied operation or a `Failure`.
///
/// **Guarantee.** Exactly one of: *applied* (there is a value), *not applied*, *unknown* (law P5). An
/// outcome that was never assigned is no success. **Failures.** None of its own: `value()` throws the one
/// that is held, `failure()` throws where there is a value, and else only a copy or a move of `R` throws, or
/// a want of memory for a text. **Thread safety.** Distinct objects: safe. Shared objects: reading is safe,
/// everything else is not. **Cost.** One `R` or one `Failure`, whichever is larger, in place; no allocation.
///
/// `R` is the result of the operation: a value, or `void`. A reference would outlive the state that it refers
/// to, and does not compile.
template <class R>
class [[nodiscard]] Outcome {
    static_assert(!std::is_reference_v<R>, "an outcome holds a value, never a reference");

public:
    using value_type = R;
    /// What is really held: `std::monostate` for `void`.
    using stored_type = std::conditional_t<std::is_void_v<R>, std::monostate, R>;

    /// Unknown, until something is assigned: nobody takes a forgotten outcome for a success.
    Outcome() noexcept : failure_(Errc::outcome_unknown) {}
    /// A failure with the code `ok` is none, and says nothing of an effect: `outcome_unknown`.
    Outcome(Failure failure) noexcept  // NOLINT
        : failure_(failure.errc() == Errc::ok ? Failure{Errc::outcome_unknown} : std::move(failure))
    {}
    Outcome(Errc code) noexcept : failure_(code == Errc::ok ? Errc::outcome_unknown : code) {}  // NOLINT
    template <class U = stored_type>
        requires(!std::is_same_v<std::remove_cvref_t<U>, Outcome> &&
                 !std::is_same_v<std::remove_cvref_t<U>, Errc> &&
                 !std::is_same_v<std::remove_cvref_t<U>, Failure> && std::is_convertible_v<U, stored_type>)
    Outcome(U&& value)  // NOLINT
        : value_(std::forward<U>(value)), has_value_(true)
    {}

    /// A value made in place.
    template <class... A>
        requires std::is_constructible_v<stored_type, A...>
    explicit Outcome(std::in_place_t, A&&... arguments)
        : value_(std::forward<A>(arguments)...), has_value_(true)
    {}

    /// A copy, where `R` can be copied. The source of a move still holds a value if it held one.
    Outcome(Outcome const& other)
        requires std::is_copy_constructible_v<stored_type>
        : has_value_(other.has_value_), replayed_(other.replayed_)
    {
        if (has_value_)
            std::construct_at(&value_, other.value_);
        else
            std::construct_at(&failure_, other.failure_);
    }
    Outcome(Outcome&& other) noexcept(std::is_nothrow_move_constructible_v<stored_type>)
        requires std::is_move_constructible_v<stored_type>
        : has_value_(other.has_value_), replayed_(other.replayed_)
    {
        if (has_value_)
            std::construct_at(&value_, std::move(other.value_));
        else
            std::construct_at(&failure_, std::move(other.failure_));
    }
    /// When a copy or a move of `R` throws, the outcome keeps its old value or is unknown.
    Outcome& operator=(Outcome const& other)
        requires(std::is_copy_constructible_v<stored_type> && std::is_copy_assignable_v<stored_type>)
    {
        if (this != &other)
            *this = Outcome(other);
        return *this;
    }
    Outcome& operator=(Outcome&& other) noexcept(
        std::is_nothrow_move_constructible_v<stored_type> && std::is_nothrow_move_assignable_v<stored_type>)
        requires(std::is_move_constructible_v<stored_type> && std::is_move_assignable_v<stored_type>)
    {
        if (has_value_ && other.has_value_)
            value_ = std::move(other.value_);
        else if (!has_value_ && !other.has_value_)
            failure_ = std::move(other.failure_);
        else if (has_value_)
            become_failure(std::move(other.failure_));
        else
            become_value(std::move(other.value_));
        replayed_ = other.replayed_;
        return *this;
    }
    ~Outcome()
    {
        if (has_value_)
            std::destroy_at(&value_);
        else
            std::destroy_at(&failure_);
    }

    /// Whether there is a value: the change was applied.
    explicit operator bool() const noexcept { return has_value_; }
    bool has_value() const noexcept { return has_value_; }

    /// `ok` when there is a value.
    Errc errc() const noexcept { return has_value_ ? Errc::ok : failure_.errc(); }
    /// The former name of `errc()`, from version 0.1.
    [[deprecated("write errc()")]] Errc error() const noexcept { return errc(); }
    /// What made the outcome unknown, or the nearer reason of another code; `ok` when there is none.
    Errc cause() const noexcept { return has_value_ ? Errc::ok : failure_.cause(); }
    /// What is known of the change that the call was to make: `applied` when there is a value.
    Effect effect() const noexcept { return effect_of(errc()); }
    /// When it makes sense to ask again; zero when nobody knows, or there is a value.
    std::chrono::nanoseconds retry_after() const noexcept
    {
        return has_value_ ? std::chrono::nanoseconds{0} : failure_.retry_after();
    }
    /// The whole sentence, for a log: the code, what caused it, and the detail. `ok` when there is a value.
    std::string message() const { return has_value_ ? name_of(Errc::ok) : failure_.message(); }
    /// Which store it was and what was wrong, without the code; may be empty.
    std::string detail() const { return has_value_ ? std::string{} : failure_.detail(); }
    /// The failure, for example to return it from a function of the caller's. Throws
    /// `std::bad_variant_access` where there is a value.
    Failure const& failure() const&
    {
        if (has_value_)
            detail::throw_no_failure();
        return failure_;
    }
    Failure&& failure() &&
    {
        if (has_value_)
            detail::throw_no_failure();
        return std::move(failure_);
    }

    /// True when the value is the stored answer of an earlier execution of the same operation id, or of the
    /// same idempotent request.
    bool replayed() const noexcept
    {
        if constexpr (detail::is_answer<R>)
            return has_value_ && value_.replayed();
        else
            return replayed_;
    }
    /// For policies: says that the value is such an answer.
    void mark_replayed() noexcept { replayed_ = true; }

    /// The value without a check, as of a `std::optional`. Precondition: a value.
    stored_type& operator*() & { return value_; }
    stored_type const& operator*() const& { return value_; }
    stored_type&& operator*() && { return std::move(value_); }
    stored_type* operator->() { return std::addressof(value_); }
    stored_type const* operator->() const { return std::addressof(value_); }

    /// The value, or throws `Error` with the failure's code, cause, time and text. On an rvalue the value is
    /// moved out.
    R value() &&
    {
        if (!has_value_)
            failure_.raise();
        if constexpr (!std::is_void_v<R>)
            return std::move(value_);
    }
    R value() const&
    {
        if (!has_value_)
            failure_.raise();
        if constexpr (!std::is_void_v<R>)
            return value_;
    }

private:
    void become_failure(Failure&& failure) noexcept
    {
        std::destroy_at(&value_);
        std::construct_at(&failure_, std::move(failure));
        has_value_ = false;
    }
    void become_value(stored_type&& value) noexcept(std::is_nothrow_move_constructible_v<stored_type>)
    {
        std::destroy_at(&failure_);
        if constexpr (std::is_nothrow_move_constructible_v<stored_type>) {
            std::construct_at(&value_, std::move(value));
        } else {
            try {
                std::construct_at(&value_, std::move(value));
            } catch (...) {
                std::construct_at(&failure_, Errc::outcome_unknown);
                throw;
            }
        }
        has_value_ = true;
    }

    // A union of our own: a std::variant of each result type was a tenth of what a unit compiled.
    union {
        stored_type value_;
        Failure failure_;
    };
    bool has_value_{false};  // which of the two there is
    bool replayed_{false};
};

/// Success of an operation without a result: what a store returns from a verb whose answer is `void`.
inline Outcome<void> success() noexcept
{
    return Outcome<void>{std::monostate{}};
}

}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/detail/impl/outcome.ipp>
#endif

#endif  // INTERLOCK_CORE_OUTCOME_HPP
