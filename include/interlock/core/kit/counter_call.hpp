// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_COUNTER_CALL_HPP
#define INTERLOCK_CORE_KIT_COUNTER_CALL_HPP

/// @file
/// For authors of stores: a change of a counter, asked for until it is known what became of it.
///
///     if (auto valid = validate_counter_call(id, key, change, deadline); !valid)
///         return std::move(valid).failure();
///     return ask_until_known(until, [&] { return attempt(id, key, change, until); }, runtime);

#include <interlock/core/backoff.hpp>
#include <interlock/core/counter.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/kit/doubt.hpp>
#include <interlock/core/operation_id.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/runtime/runtime.hpp>
#include <interlock/separate_compilation.hpp>

#include <chrono>

namespace interlock {
inline namespace v0 {

/// `invalid_argument`, unless all of them are good. The detail says which one is not, and why; the
/// deadline is looked at last.
Outcome<void> validate_counter_call(
    OperationId const& id, Key const& key, CounterChange const& change, Deadline deadline);

/// What `ask()` says, an `Outcome<CounterAnswer>`; as long as an attempt may have been applied, and until
/// `until`, it is asked again, which the operation id makes safe. Only the store ends that doubt: it looks
/// the id up before it says that the id was used for another change, or that the counter would pass its
/// limits.
template <class Ask, class R = SystemRuntime>
Outcome<CounterAnswer> ask_until_known(TimePoint until, Ask ask, R const& runtime = {})
{
    constexpr Backoff backoff{
        .initial = std::chrono::milliseconds{10}, .cap = std::chrono::milliseconds{250}};
    detail::Doubt doubt;
    for (int attempt = 1;; ++attempt) {
        Outcome<CounterAnswer> answer = ask();
        doubt.settle(answer, {Errc::idempotency_mismatch, Errc::invalid_argument});
        if (!doubt.open())
            return answer;
        auto const at = detail::add(runtime.now(), backoff.delay(attempt, runtime.random_bits()));
        if (at >= until)
            return answer;
        runtime.sleep_until(at);
    }
}

}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/kit/impl/counter_call.ipp>
#endif

#endif  // INTERLOCK_CORE_KIT_COUNTER_CALL_HPP
