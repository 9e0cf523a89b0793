// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_TRANSACTION_IMPL_CALL_CORE_IPP
#define INTERLOCK_CORE_DETAIL_TRANSACTION_IMPL_CALL_CORE_IPP

#include <interlock/core/detail/answer_before.hpp>
#include <interlock/core/detail/transaction/call_core.hpp>
#include <interlock/core/kit/commit_refusal.hpp>

#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>

#include <algorithm>
#include <memory>
#include <new>
#include <string>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

INTERLOCK_DECL bool is_cancellation(std::exception_ptr const& exception) noexcept
{
    try {
        std::rethrow_exception(exception);
    } catch (boost::system::system_error const& error) {
        return error.code() == boost::asio::error::operation_aborted;
    } catch (...) {
        return false;
    }
}

INTERLOCK_DECL void CallCore::not_made(Action action, Errc code)
{
    clear();
    resolved_ = Resolved::unknown;
    if (reports(action))
        record_failure(code);
}

INTERLOCK_DECL void CallCore::check(
    CallTerms const& terms, std::span<std::size_t const> order, std::uint64_t generation)
{
    if (generation != terms.generation)
        return refuse(
            Errc::misconfigured, "this service was made before a fork; make a new one in the child");
    if (!terms.deadline.valid())
        return refuse(Errc::invalid_argument, "the deadline is not a number");
    if (machine_.limits().max_attempts < 1)
        return refuse(Errc::invalid_argument, "max_attempts counts the first attempt: at least 1");
    if (!machine_.limits().backoff.valid())
        return refuse(Errc::invalid_argument, "backoff: 0 <= initial <= cap, immediate >= 0");
    auto const keys = context_.keys();
    for (auto const& key : keys)
        if (!key.valid()) {
            auto failure = key.validate().failure();
            if (keys.size() > 1)
                failure = Failure{
                    failure.errc(), "key " + std::to_string(&key - keys.data() + 1) + " of " +
                                        std::to_string(keys.size()) + ": " + failure.detail()};
            failure_.emplace(std::move(failure));
            return;
        }
    for (std::size_t j = 1; j < keys.size(); ++j)
        if (keys[order[j - 1]] == keys[order[j]])
            return refuse_twice(keys, order[j - 1], order[j]);
    if (terms.id != nullptr)
        if (auto valid = terms.id->validate(); !valid) {
            failure_.emplace(std::move(valid).failure());
            return;
        }
    if (terms.outer != nullptr)
        for (auto const& key : keys)
            if (ContextAccess::holds(*terms.outer, context_, key))
                return refuse(Errc::would_deadlock, "an operation around this one works on the same key");
}

INTERLOCK_DECL void CallCore::refuse_twice(std::span<Key const> keys, std::size_t a, std::size_t b)
{
    failure_.emplace(
        Errc::invalid_argument, "a key is named twice: keys " + std::to_string(std::min(a, b) + 1) + " and " +
                                    std::to_string(std::max(a, b) + 1) + " of " +
                                    std::to_string(keys.size()) + " are " + printable_key(keys[a].bytes()));
}

INTERLOCK_DECL bool CallCore::right_number(RangeKeys const& keys)
{
    if (keys.none())
        refuse(Errc::invalid_argument, "the range of keys is empty: a transaction needs at least one");
    else if (keys.size() > max_keys_of_a_range)
        failure_.emplace(
            Errc::invalid_argument, "the range names more than " + std::to_string(max_keys_of_a_range) +
                                        " keys, the limit of one transaction (max_keys_of_a_range)");
    return !failure_;
}

INTERLOCK_DECL void CallCore::record_exception(Action action)
{
    auto failure = [] {
        try {
            throw;
        } catch (std::bad_alloc const&) {
            return Failure{Errc::overloaded, "no memory"};
        } catch (std::exception const& error) {
            return Failure{Errc::corrupt_state, error.what()};
        } catch (...) {
            return Failure{Errc::corrupt_state};
        }
    }();
    clear();
    resolved_ = Resolved::unknown;
    if (action == Action::commit)  // nobody knows whether it was sent before
        failure = std::move(failure).in_doubt();
    if (reports(action))
        record_failure(std::move(failure));
}

INTERLOCK_DECL Action CallCore::feed_failure(Action action, TimePoint now, std::uint64_t random)
{
    switch (action) {
    case Action::look_up: return machine_.looked_up(answered_, code_, now, random);
    case Action::begin: return machine_.began(code_, now, random);
    case Action::verify: return machine_.not_verified(code_, now, random);
    case Action::resolve: return machine_.resolved(resolved_, now, random);
    case Action::commit: {
        auto const next = machine_.committed(code_, answered_, cause_, now, random);
        if (code_ == Errc::outcome_unknown && next != Action::resolve)
            observe_unknown(Effect::unknown);
        return next;
    }
    default: return Action::finish;
    }
}

INTERLOCK_DECL Failure CallCore::failure_at_end(std::string place)
{
    auto const code = machine_.result();
    if (refused_ || (failure_ && failure_->errc() == code && code != Errc::outcome_unknown))
        return *std::move(failure_);
    if (code == Errc::outcome_unknown) {
        auto detail = failure_ ? failure_->detail() : std::string{};
        // A change that comes too late is not applied. This is an operation that makes none: it has had its
        // effect, and only the record of its answer came too late.
        if (machine_.cause() == Errc::deadline_exceeded && failure_ &&
            failure_->errc() == Errc::deadline_exceeded)
            detail =
                "the operation has run, but the deadline of its call came before its answer was "
                "recorded, so that to ask again may run it once more: name a longer one, as in "
                "{.deadline = 60s}; " +
                detail;
        return Failure::unknown(machine_.cause(), std::move(detail));
    }
    if (machine_.last_error() == Errc::ok)
        return code;
    return after_attempts(code, std::move(place));
}

INTERLOCK_DECL Failure CallCore::with_attempts(Failure failure) const
{
    auto const attempts = machine_.attempts();
    bool const used_up = attempts > 1 && attempts == machine_.limits().max_attempts;
    if (refused_ || !used_up || !is_conflict(failure.errc()))
        return failure;
    auto text = failure.detail() + ", after " + std::to_string(attempts) + " attempts";
    return std::move(failure).with_detail(std::move(text));
}

INTERLOCK_DECL Failure CallCore::after_deadline(Failure failure) const
{
    if (failure.cause() == Errc::ok)
        return after_attempts(failure, {});
    return retried_ ? with_answer_before(std::move(failure), *retried_) : failure;
}

INTERLOCK_DECL void CallCore::note_retry()
{
    auto const before = std::move(retried_);
    if (!failure_ || failure_->errc() != machine_.last_error())
        return;
    keep_retried(*failure_);
    bool const last = machine_.wake_at() >= machine_.deadline();
    if (last && retried_ && before)
        keep_retried(with_answer_before(*failure_, *before));
}

INTERLOCK_DECL void CallCore::keep_retried(Failure failure) noexcept
{
    retried_.reset(new (std::nothrow) Failure(std::move(failure)));
}

INTERLOCK_DECL Failure CallCore::after_attempts(Failure const& failure, std::string place) const
{
    auto const last = machine_.last_error();
    auto text = std::move(place);
    if (failure.has_detail())
        text = failure.detail();
    if (!text.empty())
        text += ": ";
    auto const attempts = machine_.attempts();
    text += attempts > 0 ? "after " + std::to_string(attempts) + " attempts, the last ended with "
                         : "before the first attempt, because of ";
    text += name_of(last);
    bool const known = retried_ && retried_->errc() == last;
    if (known && retried_->has_detail())
        (text += ": ") += retried_->detail();
    if (failure.errc() != Errc::deadline_exceeded)
        return Failure{failure.errc(), std::move(text)};
    return Failure::because(
        failure.errc(),
        known ? Failure{*retried_}.with_detail(std::move(text)) : Failure{last, std::move(text)});
}

INTERLOCK_DECL void CallCore::observe_retry(RetryEvent const& event) const noexcept
{
    if (is_conflict(event.reason))
        listener_->observer->on_conflict(event);
    else if (event.repeats)
        listener_->observer->on_retry(event);
}

INTERLOCK_DECL void CallCore::observe_begin(Told& told) noexcept
{
    auto* const observer = listener_->observer;
    auto& info = *std::construct_at(&told.info);
    info_ = &info;
    info.observer = observer;
    info.policy = listener_->policy;
    info.store = {listener_->kind, listener_->place, listener_->system};
    if (name_ != nullptr)
        info.operation = name_;
    if (observer->hears_keys())
        info.keys = context_.keys();
    info.cause = context_.cause();
    info.operation_id = context_.operation_id();
    info.outer = observer->current_call();
    observer->on_begin(info);
    info.outer = nullptr;
}

INTERLOCK_DECL void CallCore::observe_end(
    Errc result, bool user_exception, bool replayed, std::chrono::nanoseconds duration) noexcept
{
    listener_->observer->on_transaction(
        {listener_->policy, machine_.attempts(), result, user_exception, replayed, duration, info_});
    info_ = nullptr;
}

INTERLOCK_DECL void CallCore::observe_vanished() noexcept
{
    observe_end(Errc::outcome_unknown, false, false, std::chrono::nanoseconds{0});
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_TRANSACTION_IMPL_CALL_CORE_IPP
