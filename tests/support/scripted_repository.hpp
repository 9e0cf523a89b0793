// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_SCRIPTED_REPOSITORY_HPP
#define INTERLOCK_TESTS_SUPPORT_SCRIPTED_REPOSITORY_HPP

/// @file
/// A memory store behind a line that can fail: refuse, lose the request, lose the reply, as a script says.

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/kit/blocking_waiter.hpp>
#include <interlock/core/kit/store_members.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace scripted {

using interlock::Change;
using interlock::CommitResult;
using interlock::Deadline;
using interlock::Errc;
using interlock::Failure;
using interlock::Fence;
using interlock::Key;
using interlock::OperationCommit;
using interlock::OperationId;
using interlock::OperationRecord;
using interlock::Outcome;
using interlock::OwnerToken;
using interlock::Version;

/// The members of a repository that are counted and may fail.
enum class Call : unsigned char {
    load,
    insert,
    compare_and_set,
    erase,
    commit,
    row_commit,
    find_operation,
    forbid_operation,
    open_rows,
    create,
    renew,
    remove,
};

enum class Fault : unsigned char {
    none,
    refused,       ///< `unavailable`; not applied
    lost_request,  ///< not applied, but the caller cannot know: `outcome_unknown` (reads: `unavailable`)
    lost_reply,    ///< applied, but the caller cannot know: `outcome_unknown` (reads: `unavailable`)
    /// Of a commit: as `lost_request`, but it arrives later, see `Script::later`; else `lost_request`.
    late,
    /// `misconfigured`, which nobody tries again; not applied. Who asks is dead.
    gone,
};

constexpr bool reads(Call call) noexcept
{
    return call == Call::load || call == Call::find_operation || call == Call::open_rows;
}

/// What one store goes through. Shared by all handles made from it; not thread-safe.
template <class T>
class Script {
public:
    /// Asked before each call. `nth` counts the calls of that member from 1.
    std::function<Fault(Call, std::uint64_t nth)> fault;
    /// Called right before the store looks, and right after it has done its part.
    std::function<void(Call, std::uint64_t nth)> before;
    std::function<void(Call, std::uint64_t nth)> after;

    // What was really applied, whatever the caller was told.
    std::function<void(std::span<Change<T> const>, OperationCommit const*)> on_applied;
    std::function<void(Key const&, OwnerToken, interlock::Grant const&, bool confirmed)> on_created;
    /// `renewed`: empty when the store refused. `confirmed`: the caller was told.
    std::function<void(
        Key const&, OwnerToken, std::optional<std::chrono::nanoseconds> renewed, bool confirmed)>
        on_renewed;
    /// Called for every removal that reached the store.
    std::function<void(Key const&, OwnerToken, bool confirmed)> on_removed;

    /// Runs at some later time what has then arrived. Empty: it never arrives.
    std::function<void(std::function<void()>)> later;
    bool arriving_late{false};  ///< what is applied right now has arrived late

    /// A broken store, for negative controls: guarded writes are applied without a look at the lock record.
    bool ignores_fences{false};

    /// Fails the `nth` call of `call`, once.
    void fail(Call call, std::uint64_t nth, Fault how)
    {
        fault = [call, nth, how, next = std::move(fault)](Call c, std::uint64_t n) {
            if (c == call && n == nth)
                return how;
            return next ? next(c, n) : Fault::none;
        };
    }
    /// Fails every call of `call` from the `first` to the `last`.
    void fail_between(Call call, std::uint64_t first, std::uint64_t last, Fault how)
    {
        fault = [=, next = std::move(fault)](Call c, std::uint64_t n) {
            if (c == call && n >= first && n <= last)
                return how;
            return next ? next(c, n) : Fault::none;
        };
    }

    std::uint64_t calls(Call call) const { return counts_[static_cast<std::size_t>(call)]; }
    std::uint64_t count(Call call) { return ++counts_[static_cast<std::size_t>(call)]; }

private:
    std::uint64_t counts_[12]{};
};

namespace detail {

template <class R>
R failed(Call call)
{
    if (reads(call))
        return Errc::unavailable;
    return Failure::unknown(Errc::unavailable, "the reply was lost");
}

/// How a verb is counted.
template <class Verb>
constexpr Call call_of() noexcept
{
    constexpr std::string_view name = Verb::name;
    return name == "load"               ? Call::load
           : name == "insert"           ? Call::insert
           : name == "compare_and_set"  ? Call::compare_and_set
           : name == "erase"            ? Call::erase
           : name == "commit"           ? Call::commit
           : name == "find_operation"   ? Call::find_operation
           : name == "forbid_operation" ? Call::forbid_operation
           : name == "renew"            ? Call::renew
           : name == "remove"           ? Call::remove
                                        : Call::create;
}

struct NeverArrives {
    void operator()() const noexcept {}
};

/// Runs `work`, the real call, as the script says. `work` is told whether its caller will hear of it. `late`:
/// sees to it that the request arrives later.
template <class T, class F, class L = NeverArrives>
auto play(Script<T>& script, Call call, F work, L late = {}) -> decltype(work(true))
{
    using R = decltype(work(true));
    auto const nth = script.count(call);
    auto const fault = script.fault ? script.fault(call, nth) : Fault::none;
    if (fault == Fault::refused)
        return Errc::unavailable;
    if (fault == Fault::gone)
        return Errc::misconfigured;
    if (fault == Fault::late && script.later)
        late();
    if (fault == Fault::lost_request || fault == Fault::late)
        return failed<R>(call);
    if (script.before)
        script.before(call, nth);
    auto result = work(fault == Fault::none);
    if (script.after)
        script.after(call, nth);
    if (fault == Fault::lost_reply)
        return failed<R>(call);
    return result;
}

/// The changes as a store sees them that does not look at fences.
template <class T>
void forget_fences(Script<T> const& script, std::span<Change<T>> changes)
{
    if (!script.ignores_fences)
        return;
    for (auto& change : changes)
        if (change.kind != interlock::ChangeKind::guard) {
            change.fence = nullptr;
            change.release = false;
        }
}

/// What a commit was given, for when it arrives after its caller has gone.
template <class T>
class KeptCommit {
public:
    KeptCommit(std::span<Change<T> const> changes, OperationCommit const* operation)
        : changes_(changes.begin(), changes.end())
    {
        for (auto& change : changes_) {
            auto& own = parts_.emplace_back(Part{*change.key, {}, {}, {}});
            change.key = &own.key;
            if (change.value != nullptr)
                change.value = &own.value.emplace(*change.value);
            if (change.fence != nullptr)
                change.fence = &own.fence.emplace(*change.fence);
            own.events.assign(change.events.begin(), change.events.end());
            change.events = own.events;
            change.before = nullptr;
            change.stored = nullptr;
        }
        if (operation != nullptr) {
            home_.emplace(*operation->home);
            id_.emplace(*operation->id);
            answer_ = operation->answer;
            operation_.emplace(OperationCommit{&*home_, &*id_, operation->attempt, answer_});
        }
    }
    KeptCommit(KeptCommit const&) = delete;
    KeptCommit& operator=(KeptCommit const&) = delete;

    std::span<Change<T>> changes() noexcept { return changes_; }
    OperationCommit const* operation() const noexcept { return operation_ ? &*operation_ : nullptr; }

private:
    struct Part {
        Key key;
        std::optional<T> value;
        std::optional<Fence> fence;
        std::vector<interlock::NewEvent> events;
    };
    std::vector<Change<T>> changes_;
    std::list<Part> parts_;
    std::optional<Key> home_;
    std::optional<OperationId> id_;
    std::string answer_;
    std::optional<OperationCommit> operation_;
};

template <class T, class F>
void arrive(Script<T>& script, F apply)
{
    script.arriving_late = true;
    apply();
    script.arriving_late = false;
}

}  // namespace detail

/// What another store has written in a row transaction. Destroyed without `committed`: it was rolled back.
class Enlisted {
public:
    Enlisted() = default;
    Enlisted(Enlisted const&) = delete;
    Enlisted& operator=(Enlisted const&) = delete;
    virtual ~Enlisted() = default;
    virtual void committed() = 0;
};

/// A row transaction whose commit may fail.
template <class T, class Inner>
class RowTransaction {
public:
    RowTransaction(Inner inner, std::shared_ptr<Script<T>> script)
        : inner_(std::move(inner)), script_(std::move(script))
    {}

    std::optional<interlock::Versioned<T>>& state(std::size_t i) { return inner_.state(i); }
    void rollback() noexcept
    {
        inner_.rollback();
        enlisted_.reset();
    }
    std::unique_ptr<Enlisted>& enlisted() noexcept { return enlisted_; }

    Outcome<CommitResult> commit(
        std::span<Change<T>> changes, OperationCommit const* operation, Deadline deadline)
    {
        auto result = detail::play(
            *script_, Call::row_commit,
            [&](bool) { return commit(*script_, inner_, enlisted_.get(), changes, operation, deadline); },
            [&] {
                // The server has the transaction open, and its rows locked, until the request arrives.
                struct Open {
                    Inner inner;
                    std::unique_ptr<Enlisted> enlisted;
                    detail::KeptCommit<T> kept;
                };
                auto open = std::shared_ptr<Open>(
                    new Open{std::move(inner_), std::move(enlisted_), {changes, operation}});
                script_->later([script = script_, open] {
                    detail::arrive(*script, [&] {
                        static_cast<void>(commit(
                            *script, open->inner, open->enlisted.get(), open->kept.changes(),
                            open->kept.operation(), {}));
                    });
                });
            });
        rollback();  // when the request was lost, the connection was, too
        return result;
    }

    interlock::Step<void> poll(interlock::Wait wait, interlock::Waiter& waiter)
    {
        auto const nth = script_->count(Call::open_rows);
        if (script_->fault && script_->fault(Call::open_rows, nth) != Fault::none)
            return Errc::unavailable;
        if (script_->before)
            script_->before(Call::open_rows, nth);
        auto step = inner_.poll(wait, waiter);
        if (script_->after)
            script_->after(Call::open_rows, nth);
        return step;
    }
    void abandon() noexcept { inner_.abandon(); }

private:
    static Outcome<CommitResult> commit(
        Script<T>& script, Inner& inner, Enlisted* enlisted, std::span<Change<T>> changes,
        OperationCommit const* operation, Deadline deadline)
    {
        auto committed = inner.commit(changes, operation, deadline);
        if (committed && !committed->duplicate && script.on_applied)
            script.on_applied(changes, operation);
        if (committed && enlisted != nullptr)
            enlisted->committed();
        return committed;
    }

    Inner inner_;
    std::shared_ptr<Script<T>> script_;
    std::unique_ptr<Enlisted> enlisted_;
};

/// A handle to a memory store behind a script. Models every concept that `memory::StateRepository` models.
///
/// Handles to one store may differ, as those of several processes do: in their runtime, and in whether
/// asynchronous callers run their members in place or on the pool for blocking calls.
template <class T, class K, class R>
class ScriptedRepository
    : public interlock::StoreMembers<
          ScriptedRepository<T, K, R>, T, typename interlock::memory::StateRepository<T, K, R>::key_type> {
    using Store = interlock::memory::StateRepository<T, K, R>;

public:
    using value_type = T;
    using key_type = typename Store::key_type;
    using runtime_type = R;
    using transaction_type = RowTransaction<T, typename Store::transaction_type>;
    using events_type = typename Store::events_type;
    static constexpr std::string_view name = "scripted";

    ScriptedRepository(Store store, std::shared_ptr<Script<T>> script, R runtime, bool in_place)
        : store_(std::move(store)), script_(std::move(script)), runtime_(std::move(runtime)),
          in_place_(in_place)
    {}

    R const& runtime() const noexcept { return runtime_; }
    void const* identity() const noexcept { return store_.identity(); }
    interlock::Capabilities capabilities() const noexcept { return {.answers_in_place = in_place_}; }
    Store const& store() const noexcept { return store_; }
    Script<T>& script() const noexcept { return *script_; }

    /// Every verb of the memory store, as the script says.
    template <class Verb>
        requires interlock::CarriesOut<Store, Verb>
    Outcome<typename Verb::answer> carry_out(Verb const& verb, Deadline deadline) const
    {
        return detail::play(*script_, detail::call_of<Verb>(), [&](bool confirmed) {
            auto outcome = store_.carry_out(verb, deadline);
            tell(verb, outcome, confirmed);
            return outcome;
        });
    }
    /// A commit may also arrive after its caller has gone.
    Outcome<CommitResult> carry_out(interlock::verb::Commit<T> const& commit, Deadline deadline) const
    {
        return detail::play(
            *script_, Call::commit,
            [&](bool) { return do_commit(commit.changes, commit.operation, deadline); },
            [&] {
                auto kept = std::make_shared<detail::KeptCommit<T>>(commit.changes, commit.operation);
                script_->later([self = *this, kept] {
                    detail::arrive(*self.script_, [&] {
                        static_cast<void>(self.do_commit(kept->changes(), kept->operation(), {}));
                    });
                });
            });
    }
    Outcome<transaction_type> carry_out(
        interlock::verb::LoadForUpdate<transaction_type> const& rows, Deadline deadline) const
    {
        return interlock::wait_for_rows(*this, rows.keys, rows.wait, deadline);
    }
    Outcome<void> carry_out(interlock::verb::VerifyFencing const&, Deadline) const
    {
        return interlock::success();
    }

    transaction_type open_transaction(std::span<Key const* const> keys) const
    {
        return transaction_type{store_.open_transaction(keys), script_};
    }
    Outcome<interlock::Removal> force_release(Key const& key) const { return store_.force_release(key); }

    void subscribe(Key const& key, OwnerToken owner, interlock::Waiter& waiter) const
    {
        store_.subscribe(key, owner, waiter);
    }
    void unsubscribe(Key const& key, interlock::Waiter& waiter) const noexcept
    {
        store_.unsubscribe(key, waiter);
    }
    bool wanted(Key const& key, OwnerToken owner) const { return store_.wanted(key, owner); }

private:
    Outcome<CommitResult> do_commit(
        std::span<Change<T>> changes, OperationCommit const* operation, Deadline deadline) const
    {
        std::vector<Change<T>> const asked(changes.begin(), changes.end());
        detail::forget_fences(*script_, changes);
        auto committed = store_.commit(changes, operation, deadline);
        if (committed && !committed->duplicate && script_->on_applied)
            script_->on_applied(asked, operation);
        return committed;
    }

    // What was really done, for those who listen to the script.
    template <class Verb>
    void tell(
        Verb const& verb, Outcome<typename Verb::answer> const& outcome,
        [[maybe_unused]] bool confirmed) const
    {
        namespace verbs = interlock::verb;
        if constexpr (
            std::is_same_v<Verb, verbs::Insert<T>> || std::is_same_v<Verb, verbs::CompareAndSet<T>>) {
            applied(outcome, {.key = &verb.key, .value = &verb.value});
        } else if constexpr (std::is_same_v<Verb, verbs::Erase>) {
            applied(outcome, {.key = &verb.key, .kind = interlock::ChangeKind::erase});
        } else if constexpr (std::is_same_v<Verb, verbs::Create>) {
            if (outcome && script_->on_created)
                script_->on_created(verb.key, verb.owner, *outcome, confirmed);
        } else if constexpr (std::is_same_v<Verb, verbs::CreateAndLoad<T>>) {
            if (outcome && script_->on_created)
                script_->on_created(verb.key, verb.owner, outcome->grant, confirmed);
        } else if constexpr (std::is_same_v<Verb, verbs::Renew>) {
            if (script_->on_renewed)
                script_->on_renewed(
                    verb.key, verb.owner, outcome ? std::optional{*outcome} : std::nullopt, confirmed);
        } else if constexpr (std::is_same_v<Verb, verbs::Remove>) {
            if (script_->on_removed)
                script_->on_removed(verb.key, verb.owner, confirmed);
        }
    }
    void applied(Outcome<Version> const& outcome, Change<T> const& change) const
    {
        if (outcome && script_->on_applied)
            script_->on_applied(std::span<Change<T> const>{&change, 1}, nullptr);
    }

    Store store_;
    std::shared_ptr<Script<T>> script_;
    R runtime_;
    bool in_place_;
};

}  // namespace scripted

#endif  // INTERLOCK_TESTS_SUPPORT_SCRIPTED_REPOSITORY_HPP
