// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_LOCKS_RENEWALS_HPP
#define INTERLOCK_CORE_DETAIL_LOCKS_RENEWALS_HPP

// Keeps the leases of a lock table: an alarm per shard rings when the first of them is due, what is due
// together is renewed together, and holders are told what became of their locks. When a lease is due, and how
// long it may be believed, is decided by its `LeaseMachine`.
//
// A store that answers in place is asked while the shard's mutex is held, so that a release simply comes
// before or after a renewal. For every other store the renewal is on its way while the mutex is free; the
// line knows that, and the removal of the record waits for the renewal. Either way no renewal of a lease is
// sent after its release has completed (law P9).

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/detail/locks/lock_lines.hpp>
#include <interlock/core/detail/locks/table_hold.hpp>

#include <boost/asio/post.hpp>

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

template <Runtime R>
class LockRenewals : public LockLines<R> {
public:
    using Base = LockLines<R>;
    using Base::Base;
    using typename Base::Holder;
    using typename Base::Node;
    using typename Base::Shard;

    // ---- when the alarm rings -------------------------------------------------------------------

    /// Looks at everything that is due in one shard.
    void renew_due(Shard& shard);

    /// Likewise a little later, after there was no memory for it.
    void renew_due_soon(Shard& shard) noexcept;

    // ---- at a holder's wish ---------------------------------------------------------------------

    /// One renewal of `hold`, now.
    Outcome<void> renew_now(Holder& hold, TimePoint deadline);

    /// A grant that was neglected is taken after all: it is renewed again.
    void revive(Holder& hold) noexcept;

    /// Waits until no renewal of this hold is on its way, or until then. `lock` has its shard's mutex.
    void await_renewal(Holder& hold, std::unique_lock<std::mutex>& lock, TimePoint until);

private:
    /// A lease whose renewal is to be sent when the mutex is free.
    struct DueRenewal {
        Key key;
        OwnerToken owner;
        TimePoint planned;  // for the observer
    };

    /// What a holder is to be told when the mutex is free: that its lock is lost, or, without a reason, in
    /// doubt.
    struct LossNotice {
        std::shared_ptr<Hold> hold;
        LostReason reason;
    };

    /// What one ring of the alarm gathers while the mutex is held.
    struct Round {
        std::vector<Node*> nodes;
        std::vector<LossNotice> losses;
        std::vector<DueRenewal> due;                                     // of a store that may block
        std::vector<std::pair<Errc, std::chrono::nanoseconds>> answers;  // of one that answers in place
    };

    LockTable<R>& table() noexcept { return static_cast<LockTable<R>&>(*this); }

    Outcome<std::chrono::nanoseconds> ask_to_renew(Key const& key, OwnerToken owner, Deadline deadline)
    {
        return this->store_.carry_out(verb::Renew{key, owner, this->options_.ttl}, deadline);
    }

    /// One entry whose time has come. The shard's mutex is held.
    void look_at(Shard& shard, Node* node, TimePoint now, std::chrono::nanoseconds early, Round& round);

    /// On a thread of the library: in one trip where the store can, else one after the other.
    void send_later(Shard& shard, std::vector<DueRenewal> due);

    /// Where `owner`'s lease is still to be renewed: what was queued here may have been released meanwhile.
    /// The shard's mutex is held.
    static Node* still_wanted(Shard& shard, Key const& key, OwnerToken owner) noexcept
    {
        auto* const node = shard.find(key);
        return node != nullptr && node->second.line.renewal_wanted(owner) ? node : nullptr;
    }

    void returned(Shard& shard, Key const& key, OwnerToken owner) noexcept
    {
        if (auto* const node = shard.find(key))
            node->second.line.renewal_returned(owner);
    }

    void renew_together(Shard& shard, std::span<DueRenewal const> due);

    /// What the store answered to a renewal that was sent at `sent`. The shard's mutex is held.
    void apply_renewal(
        Shard& shard, Node* node, TimePoint sent, Outcome<std::chrono::nanoseconds> const& answer,
        std::vector<LossNotice>& losses);

    /// The holder has lost the lock; whoever is next may try. The shard's mutex is held.
    void lose(Shard& shard, Node* node, LostReason reason, std::vector<LossNotice>& losses);

    /// There is an observer.
    void observe_renewal(Errc code, std::chrono::nanoseconds lag) noexcept;
    void tell(std::vector<LossNotice> const& losses) noexcept;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/detail/locks/impl/renewals.ipp>
#endif

#endif  // INTERLOCK_CORE_DETAIL_LOCKS_RENEWALS_HPP
