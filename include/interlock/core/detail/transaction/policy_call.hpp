// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_TRANSACTION_POLICY_CALL_HPP
#define INTERLOCK_CORE_DETAIL_TRANSACTION_POLICY_CALL_HPP

/// @file
/// One call of do_in_transaction as its policy sees it: the machine decides, the policy's transaction acts.
/// Both drivers `perform` an action and `feed` its event, until the action is `finish`. What depends on
/// neither policy nor state is in `call_core.hpp` and `recorded_call.hpp`; the operation and its result are
/// in `transaction_call.hpp`.

#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/detail/transaction/call_arguments.hpp>
#include <interlock/core/detail/transaction/call_core.hpp>
#include <interlock/core/detail/transaction/recorded_call.hpp>
#include <interlock/core/detail/transaction/transaction_machine.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/kit/context_access.hpp>
#include <interlock/core/kit/nested_keys.hpp>
#include <interlock/core/kit/per_key.hpp>
#include <interlock/forced_unwinding.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// The places of `keys` in the order of their bytes, which is the order in which locks are taken.
template <std::size_t N>
PerKey<std::size_t, N> sorted(call_keys_t<N> const& keys)
{
    PerKey<std::size_t, N> order{keys.size()};
    std::iota(order.begin(), order.end(), std::size_t{0});
    if constexpr (N > 1)
        std::sort(
            order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return keys[a] < keys[b]; });
    return order;
}

/// That order, made before the base of a call that needs it.
template <std::size_t N>
struct KeyOrder {
    explicit KeyOrder(call_keys_t<N> const& keys) : order(sorted<N>(keys)) {}
    PerKey<std::size_t, N> order;
};
/// There is one order of one key.
template <>
struct KeyOrder<1> {
    explicit KeyOrder(call_keys_t<1> const&) noexcept {}
    static constexpr std::array<std::size_t, 1> order{0};
};

/// What the transaction of a policy can do beyond what each must.
template <class X>
inline constexpr bool can_conclude =
    requires(X& t, std::string_view s, Waiter& w) { t.conclude(CallEnd::applied, s, w); };
template <class X>
inline constexpr bool can_lose = requires(X& t, Waiter* w) {
    t.lost();
    t.listen(w);
};
template <class X>
inline constexpr bool can_reject = requires(X& t, std::string_view s) { t.reject(s); } ||
                                   requires(X& t, std::string_view s, Waiter& w) { t.reject(s, w); };

/// What the store has refused to others that this transaction has waited for; `ok`: nothing.
template <class X>
Failure reason_in_line_of([[maybe_unused]] X& transaction) noexcept
{
    if constexpr (requires { transaction.reason_in_line(); })
        return transaction.reason_in_line();
    else
        return Errc::ok;
}

/// `reject`, in whichever form the transaction has it, with the text of `exception`.
template <class X>
Step<Begun> reject_step(X& transaction, std::exception_ptr const& exception, Waiter& waiter)
{
    try {
        std::rethrow_exception(exception);
    } catch (FinalRejection const& rejection) {
        if constexpr (requires { transaction.reject(rejection.what(), waiter); })
            return transaction.reject(rejection.what(), waiter);
        else
            return transaction.reject(rejection.what());
    } catch (...) {  // no other comes here
        return Errc::misconfigured;
    }
}

/// `terms`, with the store's own deadline where the call names none.
template <class R>
CallTerms terms_at(R const& repository, CallTerms terms) noexcept
{
    if (terms.deadline.unnamed())
        if (auto const longest = capabilities_of(repository).call_deadline; longest.count() > 0)
            terms.deadline = Deadline{longest};
    return terms;
}

/// Whether all keys of a call are part of its commit: by what is written, or by the fences under which an
/// answer is kept.
template <class Session, Form Shape>
bool commits_each_key(TransactionContext const& context) noexcept
{
    if constexpr (Session::guarded(Shape))
        return true;
    else
        return requires(typename Session::lock_type const& lock) { lock.fencing_token(); } &&
               context.operation_id() != nullptr;
}

/// Why the call cannot be made with these keys, or not now; nothing if it can.
template <std::size_t N, Form Shape, class Session>
std::optional<Failure> unfit_call(Session const& session, TransactionContext const& context)
{
    using R = typename Session::repository_type;
    Deadline const deadline{context.deadline()};
    auto failure = session.unfit(context.keys(), deadline);
    if (auto const* const outer = ContextAccess::outer(context); outer != nullptr && !failure)
        failure = names_outer_key(session.repository(), context.keys(), outer, deadline);
    if constexpr (N != 1 && CarriesOut<R, verb::FitOneCommit>)
        if (!failure && commits_each_key<Session, Shape>(context))
            if (auto fit = session.repository().carry_out(verb::FitOneCommit{context.keys()}, deadline); !fit)
                failure = std::move(fit).failure();
    return failure;
}

/// All operations of one form on one service share this class: only `run` and `ran` depend on the operation.
template <class Session, std::size_t N, Form Shape, Once Mode>
class PolicyCall : KeyOrder<N>, public RecordedCall<Mode, typename Session::repository_type> {
    using Recorded = RecordedCall<Mode, typename Session::repository_type>;
    using T = typename Session::value_type;
    using Transaction = typename Session::template Transaction<N, Shape>;

public:
    // ---- Steps. False: not yet; the same again when woken, or at `wake_at()` ----

    /// Does what the store has to do for `action`. A store does not throw, but a `T`, what it is compared,
    /// copied or named with, and the memory for all of it may: that ends the call as if the store had said
    /// so.
    bool perform(Action action, Waiter& waiter)
    {
        if (action == Action::begin)
            return begin(waiter);
        if (action == Action::commit)
            return commit(waiter);
        try {
            switch (action) {
            case Action::look_up:
                if constexpr (Recorded::looks_up)
                    return this->look_up(session_.repository(), waiter);
                return true;
            case Action::verify: return verify(waiter);
            case Action::reject: return reject(waiter);
            case Action::conclude: return conclude(waiter);
            case Action::resolve: return resolve(waiter);
            case Action::rollback:
                transaction_.rollback(this->machine_.result() == Errc::outcome_unknown);
                return true;
            default: return true;
            }
        }
        INTERLOCK_PASS_FORCED_UNWINDING
        catch (...)
        {
            this->record_exception(action);
            return true;
        }
    }

    /// The policy's begin, and in a call with an operation id what stands before and after it.
    bool begin(Waiter& waiter)
    {
        try {
            if constexpr (Recorded::looks_up)
                if (auto const ready = this->before_begin(session_.repository(), waiter))
                    return *ready && undo_needless_begin();
            this->clear();
            forget_recorded();
            if (is_fit()) {
                ContextAccess::set_attempt(this->context_, this->machine_.attempts());
                auto step = transaction_.begin(waiter);
                if (!step.done()) {
                    if constexpr (Recorded::looks_up)
                        this->begin_waits(!step.calling());
                    return this->wait_until(step.wake_at());
                }
                if (!step.outcome())
                    this->record_failure(std::move(step.outcome()).failure().without_doubt());
                else if (step.outcome()->replayed)
                    record_answer(*std::move(step.outcome()));
            }
            if constexpr (Recorded::looks_up)
                return this->after_begin(session_.repository(), waiter) && undo_needless_begin();
            return true;
        }
        INTERLOCK_PASS_FORCED_UNWINDING
        catch (...)
        {
            this->record_exception(Action::begin);
            give_up_begin();
            return true;
        }
    }

    /// The policy's commit.
    bool commit(Waiter& waiter)
    {
        try {
            OperationCommit record{};
            if constexpr (records)
                record = this->record(attempt());
            auto const* const operation = records ? &record : nullptr;
            if constexpr (requires { transaction_.commit(operation, waiter); })
                return after_commit(transaction_.commit(operation, waiter));
            else
                return after_commit(transaction_.commit(operation));
        }
        INTERLOCK_PASS_FORCED_UNWINDING
        catch (...)
        {
            this->record_exception(Action::commit);
            return true;
        }
    }

    // ---- Events: the next action after one that was performed ----

    Action feed(Action action)
    {
        switch (action) {
        case Action::begin: return began();
        case Action::run: return ran();
        case Action::verify: return verified();
        case Action::commit: return committed();
        default: return this->feed_store(action, runtime());
        }
    }
    Action began()
    {
        if (this->answered_)
            return this->replay();
        if (this->code_ == Errc::ok)
            return this->machine_.began(Errc::ok, TimePoint{}, 0);
        return this->failed(Action::begin, runtime());
    }
    Action committed()
    {
        if (runs_again()) {
            this->note_dropped();
            return this->machine_.again(runtime().now());
        }
        if (this->code_ == Errc::ok)
            return this->machine_.committed(Errc::ok, this->answered_, Errc::ok, TimePoint{}, 0);
        return this->failed(Action::commit, runtime());
    }

    // ---- The operation ----

    /// Runs an operation that does not await.
    virtual void run() = 0;
    /// The next action after the operation has ended, in whatever way.
    virtual Action ran() = 0;

    bool lost() const noexcept
    {
        if constexpr (can_lose<Transaction>)
            return transaction_.lost();
        else
            return false;
    }
    void listen(Waiter* waiter) noexcept
    {
        if constexpr (can_lose<Transaction>)
            transaction_.listen(waiter);
    }

    // ---- The end ----

    void abandon() noexcept { transaction_.abandon(); }
    /// The wait of `begin` ends here: too late, or cancelled.
    Action expire(Errc code)
    {
        this->expired(code, code == Errc::deadline_exceeded ? reason_of(transaction_) : Failure{Errc::ok});
        give_up_begin();
        return began();
    }

protected:
    static constexpr bool records = Mode != Once::no;

    /// Everything referred to must outlive the call.
    PolicyCall(
        Session const& session, call_keys_t<N> const& keys, std::span<std::optional<T> const, N> named,
        CallTerms const& terms, bool awaits)
        : KeyOrder<N>(keys), Recorded(
                                 session.repository().identity(), keys, keys[this->order[0]],
                                 terms_at(session.repository(), terms), session.retry_limits(),
                                 Session::guarded(Shape), can_conclude<Transaction>),
          session_(session), transaction_(session, keys, this->order, named, this->context_)
    {
        // An operation within another one waits for nobody's turn: two that are nested crosswise would wait
        // for ever.
        if constexpr (requires { transaction_.opt_out_of_sharing(); })
            if (Mode != Once::no || awaits || terms.outer != nullptr || terms.deadline.tries_once())
                transaction_.opt_out_of_sharing();
        ContextAccess::set_places_of(this->context_, session.repository());
        if (this->right_number(keys))
            this->check(terms, this->order, runtime().generation());
        if constexpr (requires { session.misuse(); })
            if (char const* const text = session.misuse())
                this->refuse(Errc::misconfigured, text);
        if (terms.stopped)
            this->cancel_before_start();
    }

    ~PolicyCall() = default;

    Transaction& transaction() noexcept { return transaction_; }
    decltype(auto) repository() const { return session_.repository(); }
    decltype(auto) runtime() const { return session_.repository().runtime(); }

    /// The next action when what the operation made must not be committed. Nothing: it may be committed.
    std::optional<Action> refused_result()
    {
        auto& machine = this->machine_;
        if (this->exception_) {
            if (lost() && is_cancellation(this->exception_))
                return machine.ran(Ran::lock_lost, TimePoint{});
            if (machine.cancelled() && is_cancellation(this->exception_))
                return machine.refused(Errc::cancelled);
            return can_verify<Transaction> ? Action::verify : believe_exception();
        }
        if (lost())
            return machine.ran(Ran::lock_lost, TimePoint{});
        if (auto refusal = refusal_of_states_or_events()) {
            auto const code = refusal->errc();
            this->failure_.emplace(std::move(*refusal));
            return machine.refused(code);
        }
        return std::nullopt;
    }

private:
    struct NoRecorder {};

    /// What a run before has recorded is not what happened.
    void forget_recorded()
    {
        if constexpr (has_recorder(Shape)) {
            recorder_ = Recorder{this->context_.cause()};
            ContextAccess::set_recorder(this->context_, &recorder_);
        }
    }
    /// Why what the operation made of its states, or says that happened to them, must not be committed.
    std::optional<Failure> refusal_of_states_or_events()
    {
        if constexpr (has_recorder(Shape)) {
            if (auto valid = validate(recorder_.events()); !valid)
                return std::move(valid).failure();
            for (auto const& event : recorder_.events())
                if (event.state >= this->context_.keys().size())
                    return Failure{
                        Errc::invalid_argument,
                        "an event was recorded for state " + std::to_string(event.state) + " of " +
                            std::to_string(this->context_.keys().size()) + ", counted from 0"};
        }
        return transaction_.refusal();
    }
    /// Asked in the first begin, since it may take a trip to the store.
    bool is_fit()
    {
        if (std::exchange(this->fit_, true))
            return true;
        auto failure = unfit_call<N, Shape>(session_, this->context_);
        if (failure)
            this->record_failure(std::move(*failure));
        return !failure;
    }
    /// An answer was found after the policy had begun: a begin that fails leaves nothing open.
    bool undo_needless_begin() noexcept
    {
        if (this->found_after_begin())
            transaction_.rollback(false);
        return true;
    }
    void give_up_begin() noexcept
    {
        Recorded::give_up_begin();
        transaction_.abandon();
        transaction_.rollback(false);  // what was granted while it left
    }

    void record_answer(Begun begun)
    {
        this->record_answered(begun.rejected, begun.answer);
        if constexpr (records)
            this->answer() = std::move(begun.answer);
    }

    bool after_commit(Step<CommitResult>&& step)
    {
        if (!step.done())
            return this->wait_until(step.wake_at());
        this->clear();
        auto& result = step.outcome();
        if (!result) {
            this->record_failure(std::move(result).failure());
            return true;
        }
        this->answered_ = result->duplicate;
        if constexpr (records)
            if (this->answered_)
                this->answer() = std::move(result->answer);
        return true;
    }

    bool verify(Waiter& waiter)
    {
        if constexpr (can_verify<Transaction>) {
            auto step = verify_step(transaction_, waiter);
            if (!step.done())
                return this->wait_until(step.wake_at());
            this->clear();
            if (!step.outcome())
                this->record_failure(std::move(step.outcome()).failure().without_doubt());
        }
        return true;
    }

    bool resolve(Waiter& waiter)
    {
        if constexpr (!records)
            this->resolved_ = Resolved::unknown;
        else if constexpr (requires { transaction_.resolve(); })  // it keeps records of its own
            Recorded::resolve(transaction_.resolve());
        else if (!Recorded::resolve(session_.repository(), attempt(), waiter))
            return false;
        if constexpr (requires { transaction_.resolved(true); })
            if (this->resolved_ != Resolved::unknown)
                transaction_.resolved(this->resolved_ == Resolved::applied);
        return true;
    }

    std::uint32_t attempt() const noexcept
    {
        if constexpr (requires { transaction_.attempt(); })
            return transaction_.attempt();
        else
            return Recorded::attempt();
    }

    bool conclude(Waiter& waiter)
    {
        if constexpr (can_conclude<Transaction>) {
            auto step = transaction_.conclude(this->end(), this->answer(), waiter);
            if (!step.done())
                return this->wait_until(step.wake_at());
            this->clear();
            if (!step.outcome()) {
                this->record_failure(std::move(step.outcome()).failure());
            } else if (step.outcome()->replayed) {
                this->exception_ = nullptr;
                this->failure_.reset();
                record_answer(*std::move(step.outcome()));
            }
        }
        return true;
    }

    bool reject(Waiter& waiter)
    {
        if constexpr (can_reject<Transaction>) {
            auto step = reject_step(transaction_, this->exception_, waiter);
            if (!step.done())
                return this->wait_until(step.wake_at());
            this->clear();
            this->exception_ = nullptr;
            if (step.outcome())
                record_answer(*std::move(step.outcome()));
            else
                this->record_failure(std::move(step.outcome()).failure());
        }
        return true;
    }

    /// Whether what others made was in the way, not what this operation met.
    bool runs_again() noexcept
    {
        if constexpr (requires { transaction_.runs_again(); })
            return transaction_.runs_again();
        else
            return false;
    }

    /// Several states, loaded one after the other, or one that was handed on: the operation may have thrown
    /// about a picture that was never true. Without an answer nobody knows: the exception is no result.
    Action verified()
    {
        if (this->code_ == Errc::ok)
            return believe_exception();
        this->exception_ = nullptr;
        if (runs_again()) {
            this->note_dropped();
            return this->machine_.again(runtime().now());
        }
        return this->failed(Action::verify, runtime());
    }

    Action believe_exception()
    {
        if constexpr (can_reject<Transaction>) {
            try {
                std::rethrow_exception(this->exception_);
            } catch (FinalRejection const&) {
                return this->machine_.rejects();
            } catch (...) {  // ends without an answer
            }
        }
        this->failure_.reset();
        return this->machine_.ran(Ran::threw, TimePoint{});
    }

    Session const& session_;
    [[no_unique_address]] std::conditional_t<has_recorder(Shape), Recorder, NoRecorder> recorder_;
    Transaction transaction_;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_TRANSACTION_POLICY_CALL_HPP
