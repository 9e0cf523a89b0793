// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_TRANSACTION_OPERATION_RUN_HPP
#define INTERLOCK_CORE_DETAIL_TRANSACTION_OPERATION_RUN_HPP

/// @file
/// The user's callable in a call of do_in_transaction, and the result of its last run.

#include <interlock/core/detail/transaction/operation_call.hpp>
#include <interlock/core/detail/transaction/range_call.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/state_traits.hpp>
#include <interlock/core/transaction_context.hpp>
#include <interlock/forced_unwinding.hpp>

#include <cstddef>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

namespace interlock {
inline namespace v0 {
namespace detail {

/// `Session`, or its `InAsyncCall`.
template <class F, class Session, std::size_t N>
class OperationRun {
    static constexpr Form shape = form_of<F, Session, N>;
    static constexpr bool asynchronous = call_style<Session>::asynchronous;

public:
    using result_type = operation_result<F, Session, N>;
    using stored_type = std::conditional_t<std::is_void_v<result_type>, std::monostate, result_type>;
    static constexpr bool awaits = awaited<raw_result<F, Session, N>>::is;

    explicit OperationRun(F& operation) noexcept : operation_(operation) {}

    /// Runs a callable that does not await. `thrown`: by it.
    template <class Transaction>
    void run(Transaction& transaction, TransactionContext& context, std::exception_ptr& thrown)
    {
        result_.reset();  // of the run before
        try {
            CurrentContext const current(context);
            if constexpr (std::is_void_v<result_type>) {
                call(transaction, context);
                result_.emplace();
            } else {
                result_.emplace(call(transaction, context));
            }
            give_back(transaction);
        }
        INTERLOCK_PASS_FORCED_UNWINDING
        catch (...)
        {
            thrown = std::current_exception();
        }
    }
    /// Starts a callable that awaits.
    template <class Transaction>
    auto start(Transaction& transaction, TransactionContext& context)
    {
        result_.reset();
        return call(transaction, context);
    }
    /// After the operation has returned: to the transaction what it was given of it.
    template <class Transaction>
    void give_back(Transaction& transaction)
    {
        if constexpr (uses_values(shape))
            range_.give_back(transaction);
    }

    void set_result(stored_type value) { result_.emplace(std::move(value)); }

    /// The result as it is kept for those who come with the same id. After a run that returned.
    std::string encoded() const { return encode_answer<stored_type>(*result_); }
    /// The result, for the caller. After a run that threw there is none: the caller gets the exception.
    Outcome<result_type> outcome() &&
    {
        if (!result_)
            return Errc::cancelled;
        return Outcome<result_type>{std::in_place, *std::move(result_)};
    }
    /// The result of an earlier execution, out of what was kept of it.
    static Outcome<result_type> replayed(std::string_view text)
    {
        Reading reading;
        if (auto decoded = decode_answer<stored_type>(text, reading)) {
            Outcome<result_type> outcome{std::in_place, *std::move(decoded)};
            outcome.mark_replayed();
            return outcome;
        }
        // It was applied, but what it answered cannot be told.
        return Failure::unknown(
            Errc::corrupt_state, reading.text("the stored answer is not of this operation's result type"));
    }

private:
    template <class Transaction>
    decltype(auto) call(Transaction& transaction, TransactionContext& context)
    {
        if constexpr (N == std::dynamic_extent)
            return call_range_operation<shape, asynchronous>(operation_, transaction, context, range_);
        else
            return call_operation<shape, N, asynchronous>(operation_, transaction, context);
    }

    F& operation_;
    std::optional<stored_type> result_;
    [[no_unique_address]] RangeArguments<Session, N, way_of<F, Session, N>> range_;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_TRANSACTION_OPERATION_RUN_HPP
