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

    template <class X>
    void tell(
        std::string_view verb, Outcome<X> const& answer, std::chrono::nanoseconds duration) const noexcept
    {
        observer->on_store_call(
            {{kind, place, system},
             verb,
             answer.errc(),
             answer ? Errc::ok : answer.cause(),
             duration,
             observer->current_call()});
    }
};

/// A call that was started: its answer is told when somebody takes it.
template <class X, class R>
class ObservedCall final : public StoreCall<X> {
public:
    ObservedCall(
        StartedCall<X> call, std::shared_ptr<StoreListener const> listener, std::string_view verb, R runtime)
        : call_(std::move(call)), listener_(std::move(listener)), verb_(verb), runtime_(std::move(runtime)),
          started_(runtime_.now())
    {}
    std::optional<Outcome<X>> poll() override
    {
        auto answer = call_->poll();
        if (answer)
            listener_->tell(verb_, *answer, runtime_.now() - started_);
        return answer;
    }
    Failure reason() override { return call_->reason(); }

private:
    StartedCall<X> call_;
    std::shared_ptr<StoreListener const> listener_;
    std::string_view verb_;
    [[no_unique_address]] R runtime_;
    TimePoint started_;
};

}  // namespace detail

/// `R`, which carries out what it carried out before, and has all concepts that it had. It converts to `R`.
///
/// **Guarantee.** Each verb that a service asks for is told once, after its answer: its name, what it came
/// to, how long it took, and for which call of `do_in_transaction` it was made, where that is known on this
/// thread. **Does not guarantee.** That everything is told: not the members that a user calls on the
/// repository itself (`orders.load(...)`), not a call that is given up before its answer, and of a row
/// transaction only how it is opened: its statements and its COMMIT are no verbs. **Lifetimes.** As `R`: a
/// shared handle. The observer must outlive all copies, and the services made with them. **Thread safety.**
/// As `R`. **Cost.** Two readings of the clock and one virtual call per verb; no trip.
template <class R>
class ObservedRepository : public R {
    using Clock = typename R::runtime_type;

public:
    /// What `repository` is asked for, `observer` is told.
    ObservedRepository(R repository, Observer& observer)
        : R(std::move(repository)),
          listener_(std::make_shared<detail::StoreListener const>(detail::StoreListener{
              &observer, kind_of(static_cast<R const&>(*this)), place_of(static_cast<R const&>(*this)),
              system_of(static_cast<R const&>(*this))}))
    {}

    template <class Verb>
        requires CarriesOut<R, Verb>
    Outcome<typename Verb::answer> carry_out(Verb const& verb, Deadline deadline) const
    {
        auto const& runtime = this->runtime();
        auto const started = runtime.now();
        auto answer = R::carry_out(verb, deadline);
        listener_->tell(Verb::name, answer, runtime.now() - started);
        return answer;
    }
    template <class Verb>
        requires Starts<R, Verb>
    StartedCall<typename Verb::answer> start(Verb const& verb, Deadline deadline, Waiter& waiter) const
    {
        return std::make_unique<detail::ObservedCall<typename Verb::answer, Clock>>(
            R::start(verb, deadline, waiter), listener_, Verb::name, this->runtime());
    }

private:
    std::shared_ptr<detail::StoreListener const> listener_;
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_OBSERVABILITY_OBSERVED_REPOSITORY_HPP
