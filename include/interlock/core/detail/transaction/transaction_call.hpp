// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_TRANSACTION_TRANSACTION_CALL_HPP
#define INTERLOCK_CORE_DETAIL_TRANSACTION_TRANSACTION_CALL_HPP

/// @file
/// One call of do_in_transaction: that of its policy, with the user's callable and its result.

#include <interlock/core/detail/transaction/call_arguments.hpp>
#include <interlock/core/detail/transaction/operation_call.hpp>
#include <interlock/core/detail/transaction/operation_run.hpp>
#include <interlock/core/detail/transaction/policy_call.hpp>
#include <interlock/core/detail/transaction/transaction_machine.hpp>
#include <interlock/core/kit/place.hpp>
#include <interlock/core/operation_id.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/forced_unwinding.hpp>

#include <cstddef>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// `Session`, or its `InAsyncCall`.
template <class Session, std::size_t N, class F, Once Mode>
class TransactionCall final
    : public PolicyCall<typename call_style<Session>::session_type, N, form_of<F, Session, N>, Mode> {
    using Base = typename TransactionCall::PolicyCall;
    using Run = OperationRun<F, Session, N>;
    using Base::records;

public:
    using result_type = typename Run::result_type;
    using stored_type = typename Run::stored_type;
    static constexpr bool awaits = Run::awaits;

    /// Everything referred to must outlive the call.
    TransactionCall(
        typename call_style<Session>::session_type const& session, call_keys_t<N> const& keys,
        std::span<std::optional<typename Session::value_type> const, N> named, F& operation,
        CallTerms const& terms)
        : Base(session, keys, named, terms, awaits), run_(operation)
    {}

    void run() override
    {
        if constexpr (!awaits)
            run_.run(this->transaction(), this->context_, this->exception_);
    }
    /// Starts an operation that awaits, in place of `run`. The driver sets what it comes to.
    auto awaitable() { return run_.start(this->transaction(), this->context_); }
    void set_result(stored_type value)
    {
        run_.set_result(std::move(value));
        run_.give_back(this->transaction());
    }

    Action ran() override
    {
        auto const now = this->runtime().now();
        ran_late_ = now >= this->deadline();
        try {
            if (ran_late_)
                this->note_late(reason_in_line_of(this->transaction()));
            if (auto const instead = this->refused_result())
                return *instead;
            if constexpr (records) {
                this->answer() = run_.encoded();
                if (this->answer().size() > max_answer_bytes) {
                    this->refuse(Errc::invalid_argument, "the result is too large to be recorded");
                    return this->machine_.refused(Errc::invalid_argument);
                }
            }
            return this->machine_.ran(Ran::returned, now);
        }
        INTERLOCK_PASS_FORCED_UNWINDING
        catch (...)
        {  // out of the state's key, or the result's encoding: nothing was sent
            this->exception_ = std::current_exception();
            return this->machine_.ran(Ran::threw, TimePoint{});
        }
    }

    /// The end, when the operation did not throw. Call it once.
    Outcome<result_type> outcome()
    {
        auto end = result();
        if (!end)
            end = this->with_attempts(explained(std::move(end).failure(), this->repository()));
        this->observe_end(end, this->runtime());
        return end;
    }

private:
    Outcome<result_type> result()
    {
        if (ran_late_ && this->machine_.result() == Errc::deadline_exceeded && !this->explains_deadline())
            return Failure{
                Errc::deadline_exceeded,
                "the operation itself took longer than the deadline of its call, so that nothing was "
                "committed: name a longer one, as in {.deadline = 60s}"};
        if (this->refused_ || this->machine_.result() != Errc::ok)
            return this->failure_at_end(
                this->ends_after_attempts() ? place_of(this->repository()) : std::string{});
        if constexpr (records)
            if (this->machine_.replayed())
                return Run::replayed(this->answer());
        return std::move(run_).outcome();
    }

    Run run_;
    bool ran_late_{false};  // when the operation returned, the deadline was over
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_TRANSACTION_TRANSACTION_CALL_HPP
