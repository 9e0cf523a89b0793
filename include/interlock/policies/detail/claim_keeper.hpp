// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_DETAIL_CLAIM_KEEPER_HPP
#define INTERLOCK_POLICIES_DETAIL_CLAIM_KEEPER_HPP

// The end of an idempotency claim that its call could not wait for: the deadline had come, the store was
// away, or the call was destroyed. It is tried again until the store has answered, or until the claim's lease
// is over.

#include <interlock/core/backoff.hpp>
#include <interlock/core/contracts/idempotency_store.hpp>
#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/kit/ref.hpp>
#include <interlock/core/kit/repeated_call.hpp>
#include <interlock/core/runtime/runtime.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// How a claim is to end: with an answer, or given back.
struct ClaimEnding {
    std::optional<std::string> answer{};
    bool settled{false};  // when given back
};

template <class Store>
Outcome<void> end_claim(
    Store const& store, IdempotentRequest const& request, OwnerToken owner, ClaimEnding const& ending,
    Deadline deadline)
{
    return ending.answer ? store.carry_out(verb::Complete{request, owner, *ending.answer, false}, deadline)
                         : store.carry_out(verb::GiveBack{request, owner, ending.settled}, deadline);
}

/// Whether the store has said no last word about the end of a claim. Ending is idempotent for its owner.
inline bool worth_ending_again(Outcome<void> const& ended) noexcept
{
    return is_no_answer(ended.errc());
}

/// `X`: the executor whose threads may be blocked.
template <class Store, class R, class X>
class ClaimKeeper final : public Counted, public RepeatedCall<ClaimKeeper<Store, R, X>> {
public:
    /// Hands the end over. Without memory for it the claim stays until its lease is over.
    static void start(
        Store const& store, R const& runtime, X const& threads, IdempotentRequest const& request,
        OwnerToken owner, ClaimEnding ending, TimePoint until) noexcept
    {
        try {
            Ref<ClaimKeeper> const self{
                new ClaimKeeper{store, runtime, threads, request, owner, std::move(ending), until}};
            self->drop_reference();  // that of `new`; from here on the tasks and alarms own it
            self->attempt_soon();
        } catch (...) {
        }
    }

private:
    friend class RepeatedCall<ClaimKeeper>;

    ClaimKeeper(
        Store store, R runtime, X threads, IdempotentRequest request, OwnerToken owner, ClaimEnding ending,
        TimePoint until)
        : store_(std::move(store)), runtime_(std::move(runtime)), threads_(std::move(threads)),
          request_(std::move(request)), owner_(owner), ending_(std::move(ending)), repetition_(polls, until)
    {}

    R const& runtime() const noexcept { return runtime_; }
    X const& executor() const noexcept { return threads_; }

    void attempt() noexcept
    {
        if (is_settled() || !attempt_again())
            this->end();
    }

    bool is_settled() noexcept
    {
        try {
            return !worth_ending_again(end_claim(store_, request_, owner_, ending_, Deadline{patience}));
        } catch (...) {  // no memory
            return false;
        }
    }

    bool attempt_again() noexcept
    {
        auto const at = repetition_.next(runtime_.now(), runtime_.random_bits());
        return at != TimePoint::max() && this->attempt_at(at);
    }

    static constexpr std::chrono::seconds patience{1};  // no thread is kept longer
    static constexpr Backoff polls{
        .initial = std::chrono::milliseconds{100}, .cap = std::chrono::seconds{1}, .immediate = 0};

    Store store_;
    R runtime_;
    X threads_;
    IdempotentRequest request_;
    OwnerToken owner_;
    ClaimEnding ending_;
    Repetition repetition_;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_POLICIES_DETAIL_CLAIM_KEEPER_HPP
