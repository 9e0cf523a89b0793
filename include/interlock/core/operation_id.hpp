// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_OPERATION_ID_HPP
#define INTERLOCK_CORE_OPERATION_ID_HPP

/// @file
/// The name of one logical operation. With such a name a retried request gets the answer of the first one,
/// and an outcome that is unknown can be found out.
///
///     interlock::OperationId const id{"order-17/charge"};
///     int const left = service.do_in_transaction(id, "alice", [](Account& account) {
///         return account.balance -= 5;
///     });  // the same call with the same id again: the same answer, and no second charge

#include <interlock/core/key.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/separate_compilation.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {

namespace detail {

/// A service refuses an answer that is larger than this before the effect is made, since afterwards it would
/// be too late to refuse it.
inline constexpr std::size_t max_answer_bytes = std::size_t{1} << 20;

}  // namespace detail

/// Names one logical operation on one key, or on one set of keys, across retries, processes and restarts. It
/// has 1 to 255 bytes with any values.
///
/// **Guarantee.** There is at most one effect for each repository name space, key and id, for as long as the
/// store keeps the record: for the `retention`, which is 24 hours by default. A record is never evicted
/// early; a store that is full answers `overloaded`. The record is written atomically with the effect and
/// holds the answer. Whoever comes with the same id again gets that answer, and the operation is not run, or
/// what it did to the state is not kept.
/// **Does not guarantee.** Anything about the same id under another key: that is another operation. With
/// several keys the record belongs to the one that is smallest in byte order.
/// **Cost.** The commit writes the record, without a trip of its own. Before its first attempt a call asks
/// whether the id has an answer already, which is one trip more.
class OperationId {
public:
    /// The most bytes of an id.
    static constexpr std::size_t max_size = 255;

    /// Takes any text; `validate` says whether it may be an id.
    explicit OperationId(std::string value) : value_(std::move(value)) {}
    explicit OperationId(std::string_view value) : value_(value) {}
    explicit OperationId(char const* value) : value_(value) {}

    std::string const& value() const noexcept { return value_; }

    /// Keeps the records of this id, tombstones too, for at least `time`, even where the store's own
    /// retention is shorter.
    OperationId& keep_for(std::chrono::nanoseconds time) noexcept
    {
        kept_ = time;
        return *this;
    }
    /// For authors of stores: how long a record of this id is kept by a store whose retention is `retention`.
    std::chrono::nanoseconds kept_for(std::chrono::nanoseconds retention) const noexcept
    {
        return std::max(kept_, retention);
    }

    /// Success, or `invalid_argument` with a text that says what is wrong with an empty or an overlong id.
    Outcome<void> validate() const;

    friend bool operator==(OperationId const& a, OperationId const& b) noexcept
    {
        return a.value_ == b.value_;
    }

private:
    std::string value_;
    std::chrono::nanoseconds kept_{0};  // what `keep_for` asked for; 0: the store's own retention
};

/// What a store remembers of an operation id: the answer of the attempt that committed, or a tombstone.
struct OperationRecord {
    /// Counts the answered records of one store in the order in which they were committed; there may be gaps.
    /// Two records of one key are ordered as their commits were. A tombstone has 0.
    std::uint64_t sequence{0};
    /// The attempt that committed. In a tombstone: the highest attempt that the tombstone forbids.
    std::uint32_t attempt{0};
    /// False for a tombstone: no attempt up to `attempt` was applied, and none of them can commit any more.
    bool answered{false};
    /// The encoded result of the operation.
    std::string answer;
};

/// The part of a commit because of which the commit happens at most once. It points into its caller's
/// storage.
struct OperationCommit {
    Key const* home;  ///< the key that the record belongs to
    OperationId const* id;
    std::uint32_t attempt;    ///< a tombstone that forbids this attempt makes the commit `superseded`
    std::string_view answer;  ///< the encoded result, for the record
};

}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/detail/impl/operation_id.ipp>
#endif

#endif  // INTERLOCK_CORE_OPERATION_ID_HPP
