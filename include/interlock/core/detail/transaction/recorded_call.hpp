// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_TRANSACTION_RECORDED_CALL_HPP
#define INTERLOCK_CORE_DETAIL_TRANSACTION_RECORDED_CALL_HPP

/// @file
/// What a call that happens at most once asks of its operation's record: whether an answer is there, and,
/// after a commit whose outcome is unknown, what became of it. A call without an id has nothing of this.

#include <interlock/core/contracts/idempotency_store.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/detail/transaction/call_core.hpp>
#include <interlock/core/kit/pending_call.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// `Repository`: where the record is.
template <Once Mode, class Repository>
class RecordedCall : public CallCore {
public:
    static constexpr bool looks_up = Mode == Once::operation_id;

protected:
    /// `home`: the key that the record belongs to.
    RecordedCall(
        void const* store, std::span<Key const> keys, Key const& home, CallTerms const& terms,
        RetryLimits const& limits, bool guarded, bool concludes)
        : CallCore(
              store, keys, terms, limits, looks_up ? HasId::yes : HasId::looked_up_by_begin, guarded,
              concludes),
          id_(*terms.id), home_(home)
    {}

    std::string& answer() noexcept { return answer_; }
    /// The attempt that the commit makes, unless the policy knows it better.
    std::uint32_t attempt() const noexcept { return attempt_; }
    OperationCommit record(std::uint32_t attempt) const noexcept { return {&home_, &id_, attempt, answer_}; }

    /// Asks whether the id has an answer, and if it has none, which attempt may be made. Like each member
    /// that asks the store, this returns false while the question is under way.
    bool look_up(Repository repository, Waiter& waiter)
    {
        Deadline const deadline{context_.deadline()};
        auto asked = finding_.ask(repository, waiter, verb::FindOperation{home_, id_}, deadline);
        if (!asked)
            return wait_for_store();
        clear();
        auto& found = *asked;
        if (!found) {
            record_failure(std::move(found).failure());
        } else if (*found) {
            answered_ = (*found)->answered;
            if (answered_)
                answer_ = std::move((*found)->answer);
            else
                attempt_ = (*found)->attempt + 1;
        }
        return true;
    }

    /// Does what stands before the policy's begin: after a tombstone has forbidden the attempt, it asks which
    /// attempt is allowed. Nothing: the policy may begin. Else what the begin of the call returns.
    std::optional<bool> before_begin(Repository const& repository, Waiter& waiter)
    {
        if (begin_at_ == BeginAt::answer)
            return after_begin(repository, waiter);
        found_after_begin_ = false;
        if (begin_at_ == BeginAt::start && machine_.last_error() == Errc::superseded) {
            if (!look_up(repository, waiter))
                return false;
            if (code_ != Errc::ok || answered_)
                return true;
        }
        begin_at_ = BeginAt::policy;
        return std::nullopt;
    }
    /// The policy's begin was "not yet". `for_others`: it waits for another call, not for the store alone.
    void begin_waits(bool for_others) noexcept { waited_ = waited_ || for_others; }
    /// Does what stands after the policy's begin. If the policy has waited for another call, that may have
    /// been the same operation; its answer is then the answer of this call, too.
    bool after_begin(Repository const& repository, Waiter& waiter)
    {
        begin_at_ = BeginAt::answer;
        if (waited_ && code_ == Errc::ok && !answered_) {
            if (!look_up(repository, waiter))
                return false;
            found_after_begin_ = answered_ || code_ != Errc::ok;
        }
        begin_at_ = BeginAt::start;
        waited_ = false;
        return true;
    }
    /// Whether such an answer was found, or could not be asked for, so that what the policy has begun is to
    /// be rolled back.
    bool found_after_begin() const noexcept { return found_after_begin_; }
    void give_up_begin() noexcept
    {
        finding_.give_up();
        begin_at_ = BeginAt::start;
    }

    /// Asks what became of a commit whose outcome is unknown. If its attempt has no answer, the store forbids
    /// the attempt, so that it can no longer be applied.
    bool resolve(Repository repository, std::uint32_t attempt, Waiter& waiter)
    {
        Deadline const deadline{context_.deadline()};
        auto asked = resolving_.ask(repository, waiter, verb::ForbidOperation{home_, id_, attempt}, deadline);
        if (!asked)
            return wait_for_store();
        resolved_ = Resolved::unknown;
        if (auto& record = *asked; record && record->answered) {
            resolve_as_applied(std::move(record->answer));
        } else if (record) {
            attempt_ = record->attempt + 1;
            resolve_as_not_applied();
        }
        return true;
    }
    /// The same for a policy that keeps records of its own: `claim` is what its record of the request says.
    void resolve(Outcome<Claim> claim)
    {
        resolved_ = Resolved::unknown;
        if (claim && claim->state == ClaimState::completed && !claim->rejected)
            resolve_as_applied(std::move(claim->answer));
        else if (claim && claim->state != ClaimState::in_progress)
            resolve_as_not_applied();
    }

private:
    void resolve_as_applied(std::string answer)
    {
        resolved_ = Resolved::applied;
        answer_ = std::move(answer);
        observe_unknown(Effect::applied);
    }
    void resolve_as_not_applied() noexcept
    {
        resolved_ = Resolved::not_applied;
        observe_unknown(Effect::not_applied);
    }

    OperationId const& id_;
    Key const& home_;
    std::string answer_;        // of this run, for the record; or that of the record
    std::uint32_t attempt_{1};  // the one that a tombstone does not forbid
    [[no_unique_address]] PendingCall<Repository, verb::FindOperation> finding_;
    [[no_unique_address]] PendingCall<Repository, verb::ForbidOperation> resolving_;
    enum class BeginAt : unsigned char { start, policy, answer };
    BeginAt begin_at_{BeginAt::start};  // where a begin that was "not yet" goes on
    bool waited_{false};                // the policy's begin has waited for others
    bool found_after_begin_{false};
};

/// A call without an id, which keeps and asks nothing.
template <class Repository>
class RecordedCall<Once::no, Repository> : public CallCore {
public:
    static constexpr bool looks_up = false;

protected:
    RecordedCall(
        void const* store, std::span<Key const> keys, Key const&, CallTerms const& terms,
        RetryLimits const& limits, bool guarded, bool concludes)
        : CallCore(store, keys, terms, limits, HasId::no, guarded, concludes)
    {}
    static std::string_view answer() noexcept { return {}; }
    static void give_up_begin() noexcept {}
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_TRANSACTION_RECORDED_CALL_HPP
