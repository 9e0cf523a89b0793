// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_POLICIES_DETAIL_CLAIM_KEEPER_HPP
#define INTERLOCK_POLICIES_DETAIL_CLAIM_KEEPER_HPP

// The end of a claim that its call could not wait for: the deadline had come, the store was away, or the call was destroyed.
// It is tried again until the store has answered, or the claim's lease is over. Between attempts it is an alarm: a store that
// is away for a while occupies no thread for long, and none that calls or locks need.

#include <interlock/core/backoff.hpp>
#include <interlock/core/contracts/idempotency_store.hpp>
#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/runtime/runtime.hpp>

#include <boost/asio/post.hpp>

#include <chrono>
#include <memory>
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
    Store const& store, IdempotentRequest const& request, OwnerToken owner, ClaimEnding const& ending, Deadline deadline)
{
    return ending.answer ? store.carry_out(verb::Complete{request, owner, *ending.answer, false}, deadline)
                         : store.carry_out(verb::GiveBack{request, owner, ending.settled}, deadline);
}

/// Whether the store has said no last word about the end of a claim. Ending is idempotent for its owner.
inline bool worth_ending_again(Outcome<void> const& ended) noexcept
{
    switch (ended.error()) {
    case Errc::unavailable:
    case Errc::outcome_unknown:
    case Errc::deadline_exceeded:
    case Errc::overloaded: return true;
    default: return false;
    }
}

/// `X`: the executor whose threads may be blocked.
template <class Store, class R, class X>
class ClaimKeeper final : public Alarm, public std::enable_shared_from_this<ClaimKeeper<Store, R, X>> {
public:
    ClaimKeeper(
        Store store, R runtime, X threads, IdempotentRequest request, OwnerToken owner, ClaimEnding ending, TimePoint until)
        : store_(std::move(store)), runtime_(std::move(runtime)), threads_(std::move(threads)), request_(std::move(request)),
          owner_(owner), ending_(std::move(ending)), until_(until)
    {}

    /// Hands the end over. Without memory for it the claim stays until its lease is over.
    static void start(
        Store const& store, R const& runtime, X const& threads, IdempotentRequest const& request, OwnerToken owner,
        ClaimEnding ending, TimePoint until) noexcept
    {
        try {
            std::make_shared<ClaimKeeper>(store, runtime, threads, request, owner, std::move(ending), until)->post();
        } catch (...) {
        }
    }

private:
    void post()
    {
        boost::asio::post(threads_, [self = this->shared_from_this()] { self->attempt(); });
    }

    void attempt() noexcept
    {
        try {
            if (!worth_ending_again(end_claim(store_, request_, owner_, ending_, Deadline{patience})))
                return;
            auto const at = add(runtime_.now(), polls.delay(++attempts_, runtime_.random_bits()));
            if (at >= until_)
                return;
            armed_ = this->shared_from_this();
            runtime_.arm(*this, at);
        } catch (...) {
        }
    }

    void ring() noexcept override
    {
        auto const self = std::move(armed_);
        try {
            post();
        } catch (...) {
        }
    }

    static constexpr std::chrono::seconds patience{1};  // no thread is kept longer
    static constexpr Backoff polls{.initial = std::chrono::milliseconds{100}, .cap = std::chrono::seconds{1}, .immediate = 0};

    Store store_;
    R runtime_;
    X threads_;
    IdempotentRequest request_;
    OwnerToken owner_;
    ClaimEnding ending_;
    TimePoint until_;
    int attempts_{0};
    std::shared_ptr<ClaimKeeper> armed_;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_POLICIES_DETAIL_CLAIM_KEEPER_HPP
