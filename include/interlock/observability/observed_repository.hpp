// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_OBSERVABILITY_OBSERVED_REPOSITORY_HPP
#define INTERLOCK_OBSERVABILITY_OBSERVED_REPOSITORY_HPP

/// @file
/// How long does the store take, and what does it answer? An `ObservedRepository` tells an observer of each
/// verb that the repository behind it is asked for (`Observer::on_store_call`), and is used in its place:
///
///     interlock::ObservedRepository const orders{interlock::redis::StateRepository<Order>{client}, metrics};
///     interlock::TransactionService const service{interlock::OptimisticVersioning{}, orders,
///                                                 {.observer = &metrics}};
///
/// Who does not want to know uses the repository as it is, and pays nothing.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/kit/place.hpp>
#include <interlock/core/observer.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// To whom, and of which store.
struct StoreListener {
    Observer* observer;
    std::string_view kind;
    std::string place;
    std::string_view system;

    /// What the observer marks the call with.
    void* begin(std::string_view verb) const noexcept
    {
        StoreCallInfo info{{kind, place, system}, verb, observer->current_call()};
        observer->on_store_call_begin(info);
        return info.tag;
    }
    void end(std::string_view verb, Errc result, Errc cause, std::chrono::nanoseconds duration, void* tag)
        const noexcept
    {
        observer->on_store_call(
            {{kind, place, system}, verb, result, cause, duration, observer->current_call(), tag});
    }
};

/// One call, from its begin to its one end: an answer, or that nobody waits for one any more.
template <class R>
class ToldCall {
public:
    ToldCall(std::shared_ptr<StoreListener const> listener, std::string_view verb, R runtime)
        : listener_(std::move(listener)), verb_(verb), runtime_(std::move(runtime)), started_(runtime_.now()),
          tag_(listener_->begin(verb))
    {}
    ToldCall(ToldCall const&) = delete;
    ToldCall& operator=(ToldCall const&) = delete;
    ~ToldCall() { end(Errc::cancelled, Errc::ok); }

    template <class X>
    void end(Outcome<X> const& answer) noexcept
    {
        end(answer.errc(), answer ? Errc::ok : answer.cause());
    }

private:
    void end(Errc result, Errc cause) noexcept
    {
        if (!std::exchange(told_, true))
            listener_->end(verb_, result, cause, runtime_.now() - started_, tag_);
    }

    std::shared_ptr<StoreListener const> listener_;
    std::string_view verb_;
    [[no_unique_address]] R runtime_;
    TimePoint started_;
    void* tag_;
    bool told_{false};
};

/// A call that was started: its answer is told when somebody takes it.
template <class X, class R>
class ObservedCall final : public StoreCall<X> {
public:
    ObservedCall(std::shared_ptr<StoreListener const> listener, std::string_view verb, R runtime)
        : told_(std::move(listener), verb, std::move(runtime))
    {}
    void set_call(StartedCall<X> call) noexcept { call_ = std::move(call); }
    std::optional<Outcome<X>> poll() override
    {
        auto answer = call_->poll();
        if (answer)
            told_.end(*answer);
        return answer;
    }
    Failure reason() override { return call_->reason(); }

private:
    ToldCall<R> told_;
    StartedCall<X> call_;  // goes first
};

}  // namespace detail

/// `R`, which carries out what it carried out before, and has all concepts that it had. It converts to `R`.
///
/// **Guarantee.** Each verb that a service asks for is told when it is asked and, exactly once, when it is
/// answered or given up: its name, what it came to, how long it took, and for which call of
/// `do_in_transaction` it was made, where that is known on this thread. **Does not guarantee.** That
/// everything is told: not the members that a user calls on the repository itself (`orders.load(...)`), and
/// of a row transaction only how it is opened, since its statements and its COMMIT are no verbs.
/// **Lifetimes.** As `R`: a shared handle. The observer must outlive all copies, and the services made with
/// them. **Thread safety.** As `R`. **Cost.** Two readings of the clock and two virtual calls per verb; no
/// trip.
template <class R>
class ObservedRepository : public R {
    using Clock = typename R::runtime_type;

public:
    /// What `repository` is asked for, `observer` is told.
    ObservedRepository(R repository, Observer& observer)
        : R(std::move(repository)),
          listener_(std::make_shared<detail::StoreListener const>(detail::StoreListener{
              &observer, interlock::kind_of(static_cast<R const&>(*this)),
              place_of(static_cast<R const&>(*this)), system_of(static_cast<R const&>(*this))}))
    {}

    /// As `R` carries `verb` out.
    template <class Verb>
        requires CarriesOut<R, Verb>
    Outcome<typename Verb::answer> carry_out(Verb const& verb, Deadline deadline) const
    {
        detail::ToldCall<Clock> told{listener_, Verb::name, this->runtime()};
        auto answer = R::carry_out(verb, deadline);
        told.end(answer);
        return answer;
    }
    /// Likewise, where `R` starts the verb.
    template <class Verb>
        requires Starts<R, Verb>
    StartedCall<typename Verb::answer> start(Verb const& verb, Deadline deadline, Waiter& waiter) const
    {
        auto call = std::make_unique<detail::ObservedCall<typename Verb::answer, Clock>>(
            listener_, Verb::name, this->runtime());
        call->set_call(R::start(verb, deadline, waiter));
        return call;
    }

private:
    std::shared_ptr<detail::StoreListener const> listener_;
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_OBSERVABILITY_OBSERVED_REPOSITORY_HPP
