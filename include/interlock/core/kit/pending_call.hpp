// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_PENDING_CALL_HPP
#define INTERLOCK_CORE_KIT_PENDING_CALL_HPP

/// @file
/// One call of a store, made so that its caller need not know how: the call blocks where the caller has a
/// thread to spare, else it is started and looked at. A policy writes each of its steps once, for both:
///
///     PendingCall<R, verb::Load<T>> load_;
///     ...
///     auto loaded = load_.ask(repository, waiter, verb::Load<T>{key}, deadline);
///     if (!loaded)
///         return Step<Begun>::under_way();  // asked again when `waiter` was woken
///     use(*loaded);                         // an Outcome<Versioned<T>>
///
/// A blocking caller never sees the middle: there `ask` returns when the store has answered.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/deadline.hpp>

#include <optional>
#include <utility>

namespace interlock {
inline namespace v0 {

/// The outcome of a call that has returned, in the shape of one that may be under way.
template <class X>
struct Returned {
    Outcome<X> outcome;
    constexpr explicit operator bool() const noexcept { return true; }
    Outcome<X>& operator*() noexcept { return outcome; }
};

namespace detail {

/// What a commit that blocked came to has the new version of its first change, as that of a started commit
/// has. The outcomes of other verbs stay as they are.
template <class T>
void note_new_version(Outcome<CommitResult>& result, verb::Commit<T> const& commit)
{
    if (result && !commit.changes.empty() && commit.changes[0].kind == ChangeKind::write)
        result->version = commit.changes[0].version;
}
template <class Answer, class Verb>
void note_new_version(Outcome<Answer>&, Verb const&)
{}

}  // namespace detail

/// A call of `R` by `Verb`, of which there is one at a time. For stores that only block: nothing to remember.
///
/// **Lifetimes.** What the verb refers to must stay until there is an outcome, or until `give_up`.
/// **Thread safety.** One thread at a time. **Cost.** Nothing over the store's own call.
template <class R, class Verb>
class PendingCall {
public:
    /// Whether a call was begun and has no outcome yet.
    static constexpr bool under_way() noexcept { return false; }
    /// Forgets the call that is under way, if there is one.
    void give_up() noexcept {}
    /// Why it has no outcome yet, see `StoreCall::reason`.
    static Failure reason() { return Errc::ok; }

    /// The outcome of the call, which is begun if none is under way; nothing while there is no outcome: ask
    /// again when `waiter` was woken. `verb` is read when the call is begun.
    Returned<typename Verb::answer> ask(R const& repository, Waiter&, Verb const& verb, Deadline deadline)
    {
        Returned<typename Verb::answer> returned{repository.carry_out(verb, deadline)};
        detail::note_new_version(returned.outcome, verb);
        return returned;
    }
};

/// For stores that start calls, as those that never block do: remembers the one that is under way. Its
/// members mean the same.
template <NonblockingRepository R, class Verb>
class PendingCall<R, Verb> {
    using X = typename Verb::answer;

public:
    /// Whether a call was begun and has no outcome yet.
    bool under_way() const noexcept { return call_ != nullptr; }
    /// Forgets the call that is under way, if there is one: what was not sent is not sent any more.
    void give_up() noexcept { call_.reset(); }
    Failure reason() { return call_ ? call_->reason() : Failure{Errc::ok}; }

    /// As above. Blocks where `waiter` may, or where this handle starts no calls.
    std::optional<Outcome<X>> ask(R const& repository, Waiter& waiter, Verb const& verb, Deadline deadline)
    {
        if (!call_) {
            if (waiter.may_block() || !starts_calls(repository)) {
                std::optional<Outcome<X>> returned{repository.carry_out(verb, deadline)};
                detail::note_new_version(*returned, verb);
                return returned;
            }
            call_ = repository.start(verb, deadline, waiter);
        }
        auto outcome = call_->poll();
        if (outcome)
            call_.reset();
        return outcome;
    }

private:
    StartedCall<X> call_;  // null: none is under way
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_PENDING_CALL_HPP
