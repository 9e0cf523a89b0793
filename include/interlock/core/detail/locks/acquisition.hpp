// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_LOCKS_ACQUISITION_HPP
#define INTERLOCK_CORE_DETAIL_LOCKS_ACQUISITION_HPP

// One caller's way to a lock: into the line of the key; then, as the driver, to the store again and again;
// and out of it with a lock, with a failure, or because the caller has given up.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/detail/locks/lock_lines.hpp>
#include <interlock/core/detail/locks/lock_store.hpp>
#include <interlock/core/detail/locks/table_hold.hpp>
#include <interlock/core/kit/doubt.hpp>
#include <interlock/core/observer.hpp>
#include <interlock/core/transaction_context.hpp>

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// What one caller's way to a lock has come to, and what is next; the caller itself asks the store:
///
///     for (;;) {
///         if (auto step = next(waiter))
///             return *std::move(step);                    // a lock, a failure, or not yet
///         ...                                             // asks the store for the lock
///         return under_way();                             // or one of these two, by what the store said:
///         return granted(waiter, grant);
///         if (auto step = refused(waiter, failure))       // nothing: asks again at once
///             return *std::move(step);
///     }
///
/// It must not be moved while it is pending.
template <Runtime R>
class Acquisition : private LineMember<R> {
    using Table = LockTable<R>;
    using Node = LockNode<R>;
    using Line = decltype(LockEntry<R>::line);

protected:
    using Holds = Step<std::shared_ptr<Hold>>;

    /// `key` and `place` must live until this is done. `place`: the slot, see `LineMember`. `reads_state`:
    /// whether the caller reads the state when it asks for the lock.
    Acquisition(
        std::shared_ptr<Table> table, Key const& key, Wait wait, int max_attempts, void* place = nullptr,
        bool reads_state = false)
        : table_(std::move(table)), key_(&key), wait_(wait), reads_state_(reads_state),
          max_attempts_(max_attempts)
    {
        this->slot = place;
    }
    Acquisition(Acquisition const&) = delete;
    Acquisition& operator=(Acquisition const&) = delete;
    ~Acquisition() = default;

    /// The call gives up then: for what `abandon` tells of it.
    void wait_until(TimePoint deadline) noexcept { until_ = deadline; }

    /// Nothing: the store is to be asked for the lock, or what it was asked for is under way.
    std::optional<Holds> next(Waiter& waiter);

    /// See `LockTable::unverified`.
    std::optional<Failure> unverified(TimePoint deadline) { return table_->unverified(Deadline{deadline}); }

    Key const& key() const noexcept { return *key_; }
    LockStore const& store() const noexcept { return table_->store_; }
    /// The same for all attempts.
    OwnerToken owner() const noexcept { return owner_; }
    Ttl ttl() const noexcept { return table_->options_.ttl; }
    std::string_view holder() const noexcept { return table_->options_.holder.text(); }

    Holds under_way() noexcept
    {
        asking_ = true;
        return Holds::under_way();
    }

    Holds granted(Waiter& waiter, Grant const& grant);

    /// Nothing: it asks again at once.
    std::optional<Holds> refused(Waiter& waiter, Failure failure);

    /// The slot, into which the caller has read the state together with a grant.
    template <class Slot>
    Slot& state_read() noexcept
    {
        this->source = StateSource::store;
        return *static_cast<Slot*>(this->slot);
    }
    StateSource state_source() const noexcept { return this->source; }

    /// Why there is no lock yet: what the store said last, or that a caller of this service has it. `ok`:
    /// nobody has said anything. For a call that its deadline ends; asked before `abandon`.
    Failure reason();

    /// From now on those behind this one may ask `whom` why the store has not answered; nobody: not any more.
    void let_ask(PendingReason whom) noexcept;
    /// What the store said last, for those who ask `reason`.
    void note_refusal(Failure const& failure);

    /// Stops waiting. What was granted meanwhile is given back. Afterwards the waiter is not woken any more.
    /// A call that is under way has been given up before.
    void abandon() noexcept;

private:
    enum class Phase : unsigned char {
        start,
        queued,   ///< in the line, or what it waited for lies there for it
        driving,  ///< asks the store, or is about to ask again
        done,
    };

    Observer* observer() const noexcept { return table_->options_.observer; }

    std::optional<Failure> enter(Waiter& waiter);

    // ---- handed on by the holder before ---------------------------------------------------------

    /// The lock, from the holder before. Nothing: it was not handed on; this still waits, or drives, or comes
    /// anew.
    std::shared_ptr<Hold> look_for_turn();

    std::shared_ptr<Hold> start_over() noexcept;

    // ---- from the store -------------------------------------------------------------------------

    void begin_attempt(Waiter& waiter);

    /// The store has answered an attempt.
    void note_answer(TimePoint now) noexcept
    {
        asking_ = false;
        store_time_ += now - sent_;
    }

    bool wakes() const noexcept { return table_->traits_.can.wakes_waiters; }

    std::chrono::nanoseconds until_next_attempt(Failure const& failure, bool busy) const;

    void stop_driving() noexcept;

    void subscribe(Waiter& waiter);

    void unsubscribe(Waiter& waiter) noexcept
    {
        if (std::exchange(subscriber_, nullptr) != nullptr)
            table_->store_.unsubscribe(*key_, waiter);
    }

    /// Tells the observer of the begin, once.
    void report_begin() noexcept;
    /// Tells the observer of the end, once.
    void report(Errc code, bool handed_on, FencingToken token = {}) noexcept
    {
        if (told_) [[unlikely]]
            report_end(code, handed_on, token);
    }
    [[gnu::cold]] void report_end(Errc code, bool handed_on, FencingToken token) noexcept;
    void report_abandoned() noexcept;
    void leave_queue() noexcept;

    std::shared_ptr<Table> table_;
    Key const* key_;
    Node* node_{nullptr};          // whose line this is in, from `enter` until it is done
    Waiter* subscriber_{nullptr};  // whom the store wakes
    TimePoint sent_{};             // before the last attempt left
    OwnerToken owner_;             // the same for all attempts
    TimePoint entered_{};          // these three are for the observer
    TimePoint queued_until_{};
    std::chrono::nanoseconds store_time_{0};
    TimePoint until_{};  // when the call gives up
    Wait wait_;
    bool const reads_state_;
    int max_attempts_;
    int attempts_{0};
    Phase phase_{Phase::start};
    bool asking_{false};  // an attempt is under way

protected:
    bool others_ask_{false};  // see `let_ask`

private:
    bool told_{false};  // the observer knows of the begin, and not of the end
    Doubt doubt_;       // whether the record may be ours although the store has not said so
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/detail/locks/impl/acquisition.ipp>
#endif

#endif  // INTERLOCK_CORE_DETAIL_LOCKS_ACQUISITION_HPP
