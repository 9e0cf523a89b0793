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
#include <span>
#include <string>
#include <string_view>
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
    void end(std::string_view verb, Failure const* failure, std::chrono::nanoseconds duration, void* tag)
        const noexcept
    {
        observer->on_store_call(
            {{kind, place, system},
             verb,
             failure != nullptr ? failure->errc() : Errc::ok,
             failure != nullptr ? failure->cause() : Errc::ok,
             duration,
             observer->current_call(),
             tag,
             failure != nullptr ? failure->store_code() : std::string_view{}});
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
    ~ToldCall()
    {
        Failure const nobody_waits{Errc::cancelled};
        tell(&nobody_waits);
    }

    template <class X>
    void end(Outcome<X> const& answer) noexcept
    {
        tell(answer ? nullptr : &answer.failure());
    }
    void end() noexcept { tell(nullptr); }

private:
    void tell(Failure const* failure) noexcept
    {
        if (!std::exchange(told_, true))
            listener_->end(verb_, failure, runtime_.now() - started_, tag_);
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

/// Whether rows are locked still; no more once the transaction was moved from.
class StillOpen {
public:
    explicit StillOpen(bool open) noexcept : open_(open) {}
    StillOpen(StillOpen&& other) noexcept : open_(other.end()) {}
    StillOpen& operator=(StillOpen&& other) noexcept
    {
        open_ = other.end();
        return *this;
    }
    ~StillOpen() = default;

    void begin() noexcept { open_ = true; }
    /// Whether it was open.
    bool end() noexcept { return std::exchange(open_, false); }

private:
    bool open_;
};

/// A row transaction that tells what it comes to. `Clock`: the runtime.
template <class Tx, class T, class Clock>
class ObservedTransaction : public Tx {
    using Listener = std::shared_ptr<StoreListener const>;

public:
    /// `open`: the rows are locked already.
    ObservedTransaction(Listener listener, Clock runtime, Tx tx, bool open)
        : Tx(std::move(tx)), listener_(std::move(listener)), runtime_(std::move(runtime)), open_(open)
    {}
    ObservedTransaction(ObservedTransaction&&) = default;
    ObservedTransaction& operator=(ObservedTransaction&& other) noexcept
    {
        roll_back();
        Tx::operator=(std::move(other));
        listener_ = std::move(other.listener_);
        open_ = std::move(other.open_);
        opening_ = std::move(other.opening_);
        return *this;
    }
    ~ObservedTransaction() { roll_back(); }

    Outcome<CommitResult> commit(
        std::span<Change<T>> changes, OperationCommit const* operation, Deadline deadline = {})
    {
        open_.end();
        ToldCall<Clock> told{listener_, "commit", runtime_};
        auto result = Tx::commit(changes, operation, deadline);
        told.end(result);
        return result;
    }
    void rollback() noexcept
    {
        if (!roll_back())
            Tx::rollback();
    }

    /// Where the rows are waited for without blocking.
    auto poll(Wait wait, Waiter& waiter)
        requires requires(Tx& tx) { tx.poll(wait, waiter); }
    {
        if (!opening_)
            opening_ = std::make_unique<ToldCall<Clock>>(listener_, name_of_opening, runtime_);
        auto step = Tx::poll(wait, waiter);
        if (step.done()) {
            if (step.outcome())
                open_.begin();
            opening_->end(step.outcome());
            opening_.reset();
        }
        return step;
    }
    void abandon() noexcept
        requires requires(Tx& tx) { tx.abandon(); }
    {
        Tx::abandon();
        opening_.reset();
    }

private:
    static constexpr std::string_view name_of_opening = verb::LoadForUpdate<Tx>::name;

    bool roll_back() noexcept
    {
        if (!open_.end())
            return false;
        ToldCall<Clock> told{listener_, "rollback", runtime_};
        Tx::rollback();
        told.end();
        return true;
    }

    Listener listener_;
    [[no_unique_address]] Clock runtime_;
    StillOpen open_;
    std::unique_ptr<ToldCall<Clock>> opening_;  // while the rows are waited for
};

/// The row transactions of `R`, told; where it has none, as little.
template <class R>
struct ObservedRows {
    using type = NoTransaction;
};
template <class R>
    requires requires { typename R::transaction_type; }
struct ObservedRows<R> {
    using type =
        ObservedTransaction<typename R::transaction_type, typename R::value_type, typename R::runtime_type>;
};

}  // namespace detail

/// `R`, which carries out what it carried out before, and has all concepts that it had. It converts to `R`.
///
/// **Guarantee.** Each verb that a service asks for is told when it is asked and, exactly once, when it is
/// answered or given up: its name, what it came to, how long it took, and for which call of
/// `do_in_transaction` it was made, where that is known on this thread. **Does not guarantee.** That
/// everything is told: not the members that a user calls on the repository itself (`orders.load(...)`), and
/// not the statements that an operation executes in a row transaction. The transaction itself is: how it is
/// opened, which is BEGIN and the locking reads, and its end, `commit` or `rollback`.
/// **Lifetimes.** As `R`: a shared handle. The observer must outlive all copies, and the services made with
/// them. **Thread safety.** As `R`. **Cost.** Two readings of the clock and two virtual calls per verb, and
/// an allocation where rows are waited for without blocking; no trip.
template <class R>
class ObservedRepository : public R {
    using Clock = typename R::runtime_type;
    using Rows = detail::transaction_of<R>;

public:
    /// That of `R`, which tells what it comes to.
    using transaction_type = typename detail::ObservedRows<R>::type;

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

    // Hides the one for all verbs: its answer is a transaction of another type.
    Outcome<transaction_type> carry_out(
        verb::LoadForUpdate<transaction_type> const& rows, Deadline deadline) const
        requires CarriesOut<R, verb::LoadForUpdate<Rows>>
    {
        verb::LoadForUpdate<Rows> const same{rows.keys, rows.wait, rows.before};
        detail::ToldCall<Clock> told{listener_, same.name, this->runtime()};
        auto opened = R::carry_out(same, deadline);
        told.end(opened);
        if (!opened)
            return std::move(opened).failure();
        return Outcome<transaction_type>{std::in_place, listener_, this->runtime(), *std::move(opened), true};
    }
    /// Where `R` waits for rows without blocking.
    transaction_type open_transaction(std::span<Key const* const> keys) const
        requires requires(R const& r) { r.open_transaction(keys); }
    {
        return transaction_type{listener_, this->runtime(), R::open_transaction(keys), false};
    }
    transaction_type open_transaction(std::span<Key const* const> keys, Deadline deadline) const
        requires requires(R const& r) { r.open_transaction(keys, deadline); }
    {
        return transaction_type{listener_, this->runtime(), R::open_transaction(keys, deadline), false};
    }

private:
    std::shared_ptr<detail::StoreListener const> listener_;
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_OBSERVABILITY_OBSERVED_REPOSITORY_HPP
