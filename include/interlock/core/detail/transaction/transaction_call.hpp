// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_TRANSACTION_TRANSACTION_CALL_HPP
#define INTERLOCK_CORE_DETAIL_TRANSACTION_TRANSACTION_CALL_HPP

// One call of do_in_transaction: the machine that decides, the policy's transaction that acts, the user's
// callable and its result. Both drivers use it: `perform` an action, `feed` its event, until the action is
// `finish`.

#include <interlock/core/contracts/idempotency_store.hpp>
#include <interlock/core/detail/transaction/operation_call.hpp>
#include <interlock/core/detail/transaction/transaction_machine.hpp>
#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/kit/context_access.hpp>
#include <interlock/core/kit/pending_call.hpp>
#include <interlock/core/kit/place.hpp>
#include <interlock/core/observer.hpp>
#include <interlock/core/runtime/immortal.hpp>
#include <interlock/core/state_traits.hpp>

#include <boost/asio/error.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <new>
#include <numeric>
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

/// What makes a call happen at most once.
enum class Once : unsigned char { no, operation_id, idempotent };

/// What a mode adds to a call's arguments; nothing, where there is nothing.
template <Once Mode>
struct OnceArguments {
    static OperationId const* id() noexcept { return nullptr; }
    static IdempotentRequest const* request() noexcept { return nullptr; }
};
template <>
struct OnceArguments<Once::operation_id> {
    OperationId const* id() const noexcept { return &operation_id; }
    static IdempotentRequest const* request() noexcept { return nullptr; }
    OperationId operation_id;
};
template <>
struct OnceArguments<Once::idempotent> {
    OperationId const* id() const noexcept { return &operation_id; }
    IdempotentRequest const* request() const noexcept { return &idempotent_request; }
    OperationId operation_id;
    IdempotentRequest idempotent_request;
};

/// What a call works on; made by the service, kept where the driver keeps it.
template <class T, std::size_t N, bool Named>
struct CallTarget {
    static constexpr bool has_states = true;
    std::array<Key, N> keys;
    std::array<std::optional<T>, N> states;  // given instead of keys
    std::span<std::optional<T> const, N> named() const noexcept { return states; }
};
/// Only keys were given.
template <class T, std::size_t N>
struct CallTarget<T, N, false> {
    static constexpr bool has_states = false;
    std::array<Key, N> keys;
    static std::span<std::optional<T> const, N> named()
    {
        static auto const& none = immortal<std::array<std::optional<T>, N>>();
        return none;
    }
};

/// What a call remembers of its operation id; nothing, where there is none.
template <bool Records>
struct CallRecord {
    std::string answer;
    std::uint32_t attempt{1};
};
template <>
struct CallRecord<false> {};

/// `Session`, or its `InAsyncCall`.
template <class Session, std::size_t N, class F, Once Mode>
class TransactionCall {
    using T = typename Session::value_type;
    static constexpr Form shape = form_of<F, Session, N>;
    static constexpr bool asynchronous = call_style<Session>::asynchronous;
    static constexpr bool records = Mode != Once::no;
    using Transaction = typename Session::template Transaction<N, shape>;
    using Repository = typename Session::repository_type;

public:
    using result_type = operation_result<F, Session, N>;
    using stored_type = std::conditional_t<std::is_void_v<result_type>, std::monostate, result_type>;
    static constexpr bool awaits = awaited<raw_result<F, Session, N>>::is;

    /// Everything referred to must outlive the call.
    TransactionCall(
        typename call_style<Session>::session_type const& session, std::array<Key, N> const& keys,
        std::span<std::optional<T> const, N> named, F& operation, OperationId const* id,
        IdempotentRequest const* request, CallOptions const& options, std::stop_token const& stop,
        TransactionContext const* outer, TimePoint now, Observer* observer, std::uint64_t generation)
        : session_(session), keys_(keys), operation_(operation), id_(id), observer_(observer), started_(now),
          order_(sorted(keys)), context_(session.repository().identity(), keys, options.deadline.at(now)),
          machine_(
              session.retry_limits(), context_.deadline(),
              Mode == Once::no             ? HasId::no
              : Mode == Once::operation_id ? HasId::yes
                                           : HasId::looked_up_by_begin,
              Session::guarded(shape), concludes),
          transaction_(session, keys, order_, named, context_)
    {
        ContextAccess::set_operation_id(context_, id);
        ContextAccess::set_request(context_, request);
        ContextAccess::set_outer(context_, outer);
        // An operation within another one waits for nobody's turn: two that are nested crosswise would wait
        // for ever.
        if constexpr (requires { transaction_.opt_out_of_sharing(); })
            if (Mode != Once::no || awaits || outer != nullptr)
                transaction_.opt_out_of_sharing();
        check(options, outer, generation);
        if (stop.stop_requested())
            cancel_before_start();
    }
    TransactionCall(TransactionCall const&) = delete;
    TransactionCall& operator=(TransactionCall const&) = delete;

    /// Instead of a start that would send something.
    void cancel_before_start()
    {
        if (!failure_)
            refuse(Errc::cancelled, "cancelled before anything was sent");
    }

    Action start()
    {
        if (failure_)
            return refused_ = true, Action::finish;
        return machine_.start(started_);
    }

    /// Does what the store has to do for `action`. False: not yet, look again when woken or at `wake_at()`.
    ///
    /// A store does not throw, but a `T`, what it is compared, copied or named with, and the memory for all
    /// of it may: that ends the call as if the store had said so.
    bool perform(Action action, Waiter& waiter)
    {
        try {
            return make(action, waiter);
        } catch (std::bad_alloc const&) {
            return ended_by({Errc::overloaded, "no memory"}, action);
        } catch (std::exception const& error) {
            return ended_by({Errc::corrupt_state, error.what()}, action);
        } catch (...) {
            return ended_by(Errc::corrupt_state, action);
        }
    }

    /// As if the store had answered `action`, which was not begun, with `code`.
    void not_made(Action action, Errc code)
    {
        fine();
        resolved_ = Resolved::unknown;
        if (reports(action))
            took(code);
    }

    /// The event of the action that was performed; the next action.
    Action feed(Action action)
    {
        auto const before = machine_.retries();
        auto const at = machine_.attempts();
        Action next = Action::finish;
        switch (action) {
        case Action::look_up:
            next = machine_.looked_up(answered_, code_, now_if_failed(), random_if_failed());
            break;
        case Action::begin:
            next = answered_ ? replay() : machine_.began(code_, now_if_failed(), random_if_failed());
            break;
        case Action::commit:
            if (runs_again())
                return machine_.again(runtime_now());
            next = machine_.committed(code_, answered_, cause_, now_if_failed(), random_if_failed());
            if (code_ == Errc::outcome_unknown && next != Action::resolve)
                observe_unknown(Effect::unknown);
            break;
        case Action::rollback: return machine_.rolled_back();
        case Action::reject: next = fed_reject(); break;
        case Action::conclude: return machine_.concluded(answered_, code_, cause_);
        case Action::resolve: next = machine_.resolved(resolved_, runtime_now(), random()); break;
        case Action::sleep: return machine_.slept(runtime_now());
        case Action::run: try { next = fed_run();
            } catch (...) {  // out of the state's key, or the result's encoding: nothing was sent
                exception_ = std::current_exception();
                next = machine_.ran(Ran::threw, TimePoint{});
            }
            break;
        case Action::verify: next = fed_verify(); break;
        case Action::finish: break;
        }
        if (observer_ != nullptr && machine_.retries() != before)
            observe_retry(at, next);
        return next;
    }

    /// Runs a callable that does not await.
    void run()
    {
        try {
            CurrentContext const current(context_);
            if constexpr (std::is_void_v<result_type>) {
                call_operation<shape, N, asynchronous>(operation_, transaction_, context_);
                result_.emplace();
            } else {
                result_.emplace(call_operation<shape, N, asynchronous>(operation_, transaction_, context_));
            }
        } catch (...) {
            exception_ = std::current_exception();
        }
    }

    /// Starts a callable that awaits.
    auto awaitable() { return call_operation<shape, N, asynchronous>(operation_, transaction_, context_); }
    void set_result(stored_type value) { result_.emplace(std::move(value)); }
    void set_exception(std::exception_ptr exception) { exception_ = std::move(exception); }

    void abandon() noexcept { transaction_.abandon(); }
    /// The wait of `begin` ends here: too late, or cancelled.
    Action expire(Errc code)
    {
        finding_.give_up();
        begin_at_ = BeginAt::start;
        transaction_.abandon();
        transaction_.rollback(false);  // what was granted while it left
        code_ = code;
        failure_.reset();
        return feed(Action::begin);
    }

    bool lost() const noexcept
    {
        if constexpr (can_lose)
            return transaction_.lost();
        else
            return false;
    }
    void listen(Waiter* waiter) noexcept
    {
        if constexpr (can_lose)
            transaction_.listen(waiter);
    }

    TimePoint wake_at() const noexcept { return wake_at_; }
    TransactionMachine& machine() noexcept { return machine_; }
    TimePoint deadline() const noexcept { return context_.deadline(); }
    decltype(auto) runtime() const { return session_.repository().runtime(); }

    bool threw() const noexcept { return !refused_ && machine_.threw(); }
    /// The user's exception, when the operation threw.
    std::exception_ptr exception() const noexcept { return threw() ? exception_ : std::exception_ptr{}; }

    /// The end, when the operation did not throw. Call it once.
    Outcome<result_type> outcome()
    {
        auto end = conclude();
        if (!end)
            end = explained(std::move(end).failure(), session_.repository());
        if (observer_ != nullptr)
            observer_->on_transaction(
                {name(), machine_.attempts(), end.errc(), exception() != nullptr, end.replayed(),
                 runtime_now() - started_});
        return end;
    }

private:
    static constexpr bool concludes =
        requires(Transaction& t, std::string_view s, Waiter& w) { t.conclude(CallEnd::applied, s, w); };
    static constexpr bool can_lose = requires(Transaction& t, Waiter* w) {
        t.lost();
        t.listen(w);
    };

    static std::array<std::size_t, N> sorted(std::array<Key, N> const& keys)
    {
        std::array<std::size_t, N> order{};
        std::iota(order.begin(), order.end(), std::size_t{0});
        if constexpr (N > 1)
            std::sort(
                order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return keys[a] < keys[b]; });
        return order;
    }

    void refuse(Errc code, char const* text) { failure_.emplace(code, text); }

    /// Everything that can be known to be wrong before any I/O.
    void check(CallOptions const& options, TransactionContext const* outer, std::uint64_t generation)
    {
        auto const repository = [&]() -> auto const& { return session_.repository(); };
        if (generation != repository().runtime().generation())
            return refuse(
                Errc::misconfigured, "this service was made before a fork; make a new one in the child");
        if (!options.deadline.valid())
            return refuse(Errc::invalid_argument, "the deadline is not a number");
        if (machine_.limits().max_attempts < 1)
            return refuse(Errc::invalid_argument, "max_attempts counts the first attempt: at least 1");
        if (!machine_.limits().backoff.valid())
            return refuse(Errc::invalid_argument, "backoff: 0 <= initial <= cap, immediate >= 0");
        for (auto const& key : keys_)
            if (!key.valid()) {
                failure_.emplace(key.validate().failure());
                return;
            }
        for (std::size_t j = 1; j < N; ++j)
            if (keys_[order_[j - 1]] == keys_[order_[j]])
                return refuse(Errc::invalid_argument, "a key is named twice");
        if (id_ != nullptr)
            if (auto valid = id_->validate(); !valid) {
                failure_.emplace(std::move(valid).failure());
                return;
            }
        if (outer != nullptr)
            for (auto const& key : keys_)
                if (outer->holds(repository().identity(), key))
                    return refuse(Errc::would_deadlock, "an operation around this one works on the same key");
    }

    Key const& home() const noexcept { return keys_[order_[0]]; }

    void took(Failure failure)
    {
        code_ = failure.errc();
        cause_ = failure.cause();
        failure_.emplace(std::move(failure));
    }

    void fine() noexcept
    {
        code_ = Errc::ok;
        answered_ = false;
    }

    /// See `perform`.
    bool make(Action action, Waiter& waiter)
    {
        switch (action) {
        case Action::look_up: return look_up(waiter);
        case Action::begin: return begin(waiter);
        case Action::verify: return verify(waiter);
        case Action::commit: return commit(waiter);
        case Action::rollback: transaction_.rollback(machine_.result() == Errc::outcome_unknown); return true;
        case Action::reject: return reject(waiter);
        case Action::conclude: return conclude_policy(waiter);
        case Action::resolve: return resolve(waiter);
        case Action::run:
        case Action::sleep:
        case Action::finish: break;
        }
        return true;
    }

    /// Whether what the store says of `action` may be what the call comes to.
    static bool reports(Action action) noexcept
    {
        return action != Action::resolve && action != Action::rollback && action != Action::conclude;
    }

    bool ended_by(Failure failure, Action action)
    {
        fine();
        resolved_ = Resolved::unknown;
        if (action == Action::begin) {
            finding_.give_up();
            begin_at_ = BeginAt::start;
            transaction_.abandon();
            transaction_.rollback(false);
        }
        if (action == Action::commit)  // nobody knows whether it was sent before
            failure = Failure::unknown(failure.errc(), failure.detail());
        if (reports(action))
            took(std::move(failure));
        return true;
    }

    /// Like all that ask the store: false while the call is under way.
    bool look_up(Waiter& waiter)
    {
        if constexpr (Mode == Once::operation_id) {
            Deadline const deadline{context_.deadline()};
            auto repository = session_.repository();
            auto asked = finding_.ask(repository, waiter, verb::FindOperation{home(), *id_}, deadline);
            if (!asked)
                return wait_for_store();
            fine();
            auto& found = *asked;
            if (!found) {
                took(std::move(found).failure());
            } else if (*found) {
                answered_ = (*found)->answered;
                if (answered_)
                    record_.answer = std::move((*found)->answer);
                else
                    record_.attempt = (*found)->attempt + 1;
            }
        }
        return true;
    }

    bool wait_until(TimePoint at) noexcept
    {
        wake_at_ = at;
        return false;
    }
    bool wait_for_store() noexcept { return wait_until(TimePoint::max()); }

    bool begin(Waiter& waiter)
    {
        if (Mode == Once::operation_id && begin_at_ == BeginAt::start &&
            machine_.last_error() == Errc::superseded) {
            if (!look_up(waiter))  // a tombstone has forbidden the attempt; learn which one is allowed
                return false;
            if (code_ != Errc::ok || answered_)
                return true;
        }
        if (begin_at_ != BeginAt::answer) {
            begin_at_ = BeginAt::policy;
            if (!begin_policy(waiter))
                return false;
            begin_at_ = BeginAt::start;
        }
        // Whoever was waited for may have been the same operation: then its answer is ours.
        if (waited_ && Mode == Once::operation_id && code_ == Errc::ok && !answered_) {
            begin_at_ = BeginAt::answer;
            if (!look_up(waiter))
                return false;
            begin_at_ = BeginAt::start;
            if (answered_ || code_ != Errc::ok)  // a begin that fails leaves nothing open
                transaction_.rollback(false);
        }
        waited_ = false;
        return true;
    }

    bool begin_policy(Waiter& waiter)
    {
        fine();
        if (!std::exchange(fit_, true))
            if (auto failure = session_.unfit(keys_, Deadline{context_.deadline()})) {
                took(std::move(*failure));
                return true;
            }
        result_.reset();  // of a run before
        ContextAccess::set_attempt(context_, machine_.attempts());
        auto step = transaction_.begin(waiter);
        if (!step.done()) {
            waited_ = waited_ || !step.calling();
            wake_at_ = step.wake_at();
            return false;
        }
        if (!step.outcome()) {
            took(std::move(step.outcome()).failure());
            return true;
        }
        if (step.outcome()->replayed)
            took_answer(*std::move(step.outcome()));
        return true;
    }

    void took_answer(Begun begun)
    {
        answered_ = true;
        if (begun.rejected)
            exception_ = std::make_exception_ptr(FinalRejection(begun.answer));
        if constexpr (records)
            record_.answer = std::move(begun.answer);
    }

    bool commit(Waiter& waiter)
    {
        auto step = [&] {
            if constexpr (Mode == Once::no) {
                return commit_step(transaction_, nullptr, waiter);
            } else {
                OperationCommit const operation{&home(), id_, attempt(), record_.answer};
                return commit_step(transaction_, &operation, waiter);
            }
        }();
        if (!step.done())
            return wait_until(step.wake_at());
        fine();
        auto& result = step.outcome();
        if (!result) {
            took(std::move(result).failure());
            return true;
        }
        answered_ = result->duplicate;
        if constexpr (records)
            if (answered_)
                record_.answer = std::move(result->answer);
        return true;
    }

    bool verify(Waiter& waiter)
    {
        if constexpr (can_verify<Transaction>) {
            auto step = verify_step(transaction_, waiter);
            if (!step.done())
                return wait_until(step.wake_at());
            fine();
            if (!step.outcome())
                took(std::move(step.outcome()).failure());
        }
        return true;
    }

    bool resolve(Waiter& waiter)
    {
        if constexpr (Mode == Once::no) {
            resolved_ = Resolved::unknown;
        } else if constexpr (requires { transaction_.resolve(); }) {  // it keeps records of its own
            auto claim = transaction_.resolve();
            resolved_ = Resolved::unknown;
            if (claim && claim->state == ClaimState::completed && !claim->rejected) {
                resolved_ = Resolved::applied;
                record_.answer = std::move(claim->answer);
                observe_unknown(Effect::applied);
            } else if (claim && claim->state != ClaimState::in_progress) {
                resolved_ = Resolved::not_applied;
                observe_unknown(Effect::not_applied);
            }
        } else {
            Deadline const deadline{context_.deadline()};
            auto repository = session_.repository();
            auto asked =
                resolving_.ask(repository, waiter, verb::ForbidOperation{home(), *id_, attempt()}, deadline);
            if (!asked)
                return wait_for_store();
            resolved_ = Resolved::unknown;
            auto& record = *asked;
            if (record && record->answered) {
                resolved_ = Resolved::applied;
                record_.answer = std::move(record->answer);
                observe_unknown(Effect::applied);
            } else if (record) {
                resolved_ = Resolved::not_applied;
                record_.attempt = record->attempt + 1;
                observe_unknown(Effect::not_applied);
            }
        }
        if constexpr (requires { transaction_.resolved(true); })
            if (resolved_ != Resolved::unknown)
                transaction_.resolved(resolved_ == Resolved::applied);
        return true;
    }

    std::uint32_t attempt() const noexcept
    {
        if constexpr (requires { transaction_.attempt(); })
            return transaction_.attempt();
        else
            return record_.attempt;
    }

    bool conclude_policy(Waiter& waiter)
    {
        if constexpr (concludes) {
            auto const end = machine_.result() == Errc::outcome_unknown          ? CallEnd::unknown
                             : machine_.result() != Errc::ok || machine_.threw() ? CallEnd::not_applied
                             : machine_.replayed()                               ? CallEnd::found
                                                                                 : CallEnd::applied;
            auto step = [&] {
                if constexpr (records)
                    return transaction_.conclude(end, record_.answer, waiter);
                else
                    return transaction_.conclude(end, {}, waiter);
            }();
            if (!step.done())
                return wait_until(step.wake_at());
            fine();
            if (!step.outcome())
                took(std::move(step.outcome()).failure());
            else if (step.outcome()->replayed) {
                exception_ = nullptr;
                failure_.reset();
                took_answer(*std::move(step.outcome()));
            }
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

    Action replay()
    {
        return exception_ ? machine_.ran(Ran::threw, TimePoint{})
                          : machine_.looked_up(true, Errc::ok, TimePoint{}, 0);
    }

    Action fed_run()
    {
        if (exception_) {
            if (lost() && is_cancellation(exception_))
                return machine_.ran(Ran::lock_lost, TimePoint{});
            if (machine_.cancelled() && is_cancellation(exception_))
                return machine_.refused(Errc::cancelled);
            if constexpr (can_verify<Transaction>)
                return Action::verify;
            return believe_exception();
        }
        if (lost())
            return machine_.ran(Ran::lock_lost, TimePoint{});
        if (auto refusal = transaction_.refusal()) {
            auto const code = refusal->errc();
            failure_.emplace(std::move(*refusal));
            return machine_.refused(code);
        }
        if constexpr (records) {
            record_.answer = encode_answer<stored_type>(*result_);
            if (record_.answer.size() > max_answer_bytes) {
                refuse(Errc::invalid_argument, "the result is too large to be recorded");
                return machine_.refused(Errc::invalid_argument);
            }
        }
        return machine_.ran(Ran::returned, runtime_now());
    }

    /// Several states, loaded one after the other, or one that was handed on: the operation may have thrown
    /// about a picture that was never true.
    Action fed_verify()
    {
        if (code_ == Errc::ok || !TransactionMachine::is_conflict(code_))
            return believe_exception();
        exception_ = nullptr;
        if (runs_again())
            return machine_.again(runtime_now());
        return machine_.torn(runtime_now(), random());
    }

    static constexpr bool rejects = requires(Transaction& t, std::string_view s) {
        t.reject(s);
    } || requires(Transaction& t, std::string_view s, Waiter& w) { t.reject(s, w); };

    Action believe_exception()
    {
        if constexpr (rejects) {
            try {
                std::rethrow_exception(exception_);
            } catch (FinalRejection const&) {
                return Action::reject;
            } catch (...) {  // ends without an answer
            }
        }
        failure_.reset();
        return machine_.ran(Ran::threw, TimePoint{});
    }

    bool reject(Waiter& waiter)
    {
        if constexpr (rejects) {
            auto const ask = [&](std::string_view text) -> Step<Begun> {
                if constexpr (requires { transaction_.reject(text, waiter); })
                    return transaction_.reject(text, waiter);
                else
                    return transaction_.reject(text);
            };
            auto step = [&] {
                try {
                    std::rethrow_exception(exception_);
                } catch (FinalRejection const& rejection) {
                    return ask(rejection.what());
                } catch (...) {  // no other comes here
                    return Step<Begun>{Errc::misconfigured};
                }
            }();
            if (!step.done())
                return wait_until(step.wake_at());
            fine();
            exception_ = nullptr;
            if (step.outcome())
                took_answer(*std::move(step.outcome()));
            else
                took(std::move(step.outcome()).failure());
        }
        return true;
    }

    Action fed_reject()
    {
        // Not kept means not final: whoever comes next runs the operation.
        return answered_ ? replay() : machine_.refused(code_);
    }

    static bool is_cancellation(std::exception_ptr const& exception) noexcept
    {
        try {
            std::rethrow_exception(exception);
        } catch (boost::system::system_error const& error) {
            return error.code() == boost::asio::error::operation_aborted;
        } catch (...) {
            return false;
        }
    }

    Outcome<result_type> conclude()
    {
        if (refused_)
            return *std::move(failure_);
        auto const code = machine_.result();
        if (code == Errc::ok) {
            if (!machine_.replayed()) {
                if (!result_)  // the operation threw; the caller gets the exception
                    return Errc::cancelled;
                return Outcome<result_type>{std::in_place, *std::move(result_)};
            }
            if constexpr (records) {
                if (auto decoded = decode_answer<stored_type>(record_.answer)) {
                    Outcome<result_type> replayed{std::in_place, *std::move(decoded)};
                    replayed.mark_replayed();
                    return replayed;
                }
            }
            // It was applied, but what it answered cannot be told.
            return Failure::unknown(
                Errc::corrupt_state, "the stored answer is not of this operation's result type");
        }
        if (code == Errc::outcome_unknown)
            return Failure::unknown(machine_.cause(), failure_ ? failure_->detail() : std::string{});
        if (failure_ && failure_->errc() == code)
            return *std::move(failure_);
        if (machine_.last_error() != Errc::ok) {
            auto text = place_of(session_.repository());
            if (!text.empty())
                text += ": ";
            return Failure{
                code, std::move(text) + "after " + std::to_string(machine_.attempts()) +
                          " attempts, the last ended with " + name_of(machine_.last_error())};
        }
        return code;
    }

    auto runtime_now() const { return runtime().now(); }
    TimePoint now_if_failed() const { return code_ == Errc::ok ? TimePoint{} : runtime_now(); }
    std::uint64_t random() const { return runtime().random_bits(); }
    std::uint64_t random_if_failed() const { return code_ == Errc::ok ? 0 : random(); }

    static std::string_view name() noexcept { return Session::name; }

    void observe_retry(int attempt, Action next)
    {
        auto const delay =
            next == Action::sleep ? machine_.wake_at() - runtime_now() : std::chrono::nanoseconds{0};
        RetryEvent const event{name(), code_, attempt, delay};
        if (TransactionMachine::is_conflict(code_))
            observer_->on_conflict(event);
        if (next != Action::rollback && next != Action::finish)
            observer_->on_retry(event);
    }

    void observe_unknown(Effect resolved) const
    {
        if (observer_ != nullptr)
            observer_->on_unknown({cause_, resolved});
    }

    typename call_style<Session>::session_type const& session_;
    std::array<Key, N> const& keys_;
    F& operation_;
    OperationId const* id_;
    Observer* observer_;
    TimePoint started_;
    std::array<std::size_t, N> order_;
    TransactionContext context_;
    TransactionMachine machine_;
    Transaction transaction_;
    TimePoint wake_at_{TimePoint::max()};
    std::optional<Failure> failure_;
    std::optional<stored_type> result_;
    std::exception_ptr exception_;
    [[no_unique_address]] CallRecord<records> record_;
    [[no_unique_address]] PendingCall<Repository, verb::FindOperation> finding_;
    [[no_unique_address]] PendingCall<Repository, verb::ForbidOperation> resolving_;
    Errc code_{Errc::ok};
    Errc cause_{Errc::ok};
    Resolved resolved_{Resolved::unknown};
    bool answered_{false};
    enum class BeginAt : unsigned char { start, policy, answer };
    BeginAt begin_at_{BeginAt::start};  // where begin goes on
    bool waited_{false};
    bool fit_{false};  // asked in the first begin: it may take a trip to the store
    bool refused_{false};
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_TRANSACTION_TRANSACTION_CALL_HPP
