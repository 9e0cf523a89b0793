// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_MEMORY_DETAIL_PENDING_COMMIT_HPP
#define INTERLOCK_BACKENDS_MEMORY_DETAIL_PENDING_COMMIT_HPP

/// @file
/// The stages of a commit in memory: look at the record of the operation, check every change, prepare what
/// may be refused or may throw, and apply.

#include <interlock/backends/memory/detail/event_sink.hpp>
#include <interlock/backends/memory/detail/shards.hpp>
#include <interlock/backends/memory/detail/store.hpp>
#include <interlock/core/contracts/requests.hpp>
#include <interlock/core/contracts/waiter.hpp>
#include <interlock/core/kit/commit_refusal.hpp>
#include <interlock/core/operation_id.hpp>
#include <interlock/core/outcome.hpp>

#include <atomic>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace memory {
namespace detail {

/// A commit of one store in its stages, since several stores may commit together: each stage is that of
/// all of them before the next one begins. The caller holds the mutexes of `shards_of(...)` as long as
/// the object lives.
template <class T, class R>
class PendingCommit {
    using Node = typename Shard<T>::Node;
    using Store = detail::Store<T, R>;

public:
    PendingCommit(
        Store& store, std::span<Change<T>> changes, OperationCommit const* operation,
        TransactionId transaction)
        : store_(store), changes_(changes), operation_(operation), transaction_(transaction)
    {}
    PendingCommit(PendingCommit const&) = delete;
    PendingCommit& operator=(PendingCommit const&) = delete;
    ~PendingCommit()
    {
        for (auto* const node : made_)
            if (node != nullptr)
                store_.drop_if_unused(store_.shard_of(node->first), node);
    }

    /// What the commit comes to by what is recorded of its operation, or for want of room for its record.
    /// Nothing: it is to be made.
    std::optional<Outcome<CommitResult>> decided_by_record()
    {
        if (operation_ == nullptr)
            return std::nullopt;
        return store_.decided_by_record(*operation_);
    }
    /// Adds why a change is not allowed.
    void check(CommitRefusal& refusal)
    {
        nodes_.resize(changes_.size());
        for (std::size_t i = 0; i < changes_.size(); ++i) {
            auto& shard = store_.shard_of(*changes_[i].key);
            nodes_[i] = Store::find(shard, *changes_[i].key);
            refusal.add(changes_[i].key->bytes(), store_.check(shard, nodes_[i], changes_[i], transaction_));
        }
    }
    /// Everything that may throw or be refused for want of room. Nothing can be seen of it yet.
    Outcome<void> prepare(PendingAppend& append)
    {
        made_.resize(changes_.size());
        values_.resize(changes_.size());
        if (auto added = store_.add_events(append, changes_); !added)
            return added;
        for (std::size_t i = 0; i < changes_.size(); ++i)
            if (changes_[i].kind == ChangeKind::write) {
                if (nodes_[i] == nullptr) {
                    nodes_[i] = store_.find_or_make(store_.shard_of(*changes_[i].key), *changes_[i].key);
                    if (nodes_[i] == nullptr)
                        return Failure{Errc::overloaded, "keys: the limit is reached"};
                    made_[i] = nodes_[i];
                }
                values_[i].emplace(*changes_[i].value);
            }
        if (operation_ != nullptr) {
            OperationRecord record{
                store_.next_sequence_.fetch_add(1, std::memory_order_relaxed), operation_->attempt, true,
                std::string(operation_->answer)};
            store_.put_operation(
                store_.shard_of(*operation_->home), *operation_->home, *operation_->id, std::move(record));
        }
        return success();
    }
    /// The changes. Does not throw, unless moving a `T` does.
    void apply(Wakeup& wakeup)
    {
        for (std::size_t i = 0; i < changes_.size(); ++i) {
            auto* const value = values_[i] ? &*values_[i] : nullptr;
            changes_[i].version = store_.apply_prepared(
                store_.shard_of(*changes_[i].key), nodes_[i], changes_[i], value, wakeup);
        }
        made_.clear();
    }

private:
    Store& store_;
    std::span<Change<T>> changes_;
    OperationCommit const* operation_;
    TransactionId transaction_;
    std::vector<Node*> nodes_;
    std::vector<Node*> made_;  // dropped again unless they get a value
    std::vector<std::optional<T>> values_;
};

}  // namespace detail
}  // namespace memory
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_MEMORY_DETAIL_PENDING_COMMIT_HPP
