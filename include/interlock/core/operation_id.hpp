// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_OPERATION_ID_HPP
#define INTERLOCK_CORE_OPERATION_ID_HPP

/// @file
/// The name of one logical operation. It turns "unknown" into a definite answer, and a retried request into
/// the first one's answer.

#include <interlock/core/key.hpp>
#include <interlock/core/outcome.hpp>

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

/// A service refuses a larger answer before the effect is made, not after.
inline constexpr std::size_t max_answer_bytes = std::size_t{1} << 20;

}  // namespace detail

/// Names one logical operation on one key (or on one set of keys), across retries, processes and restarts.
///
/// **Guarantee.** At most one effect per (repository name space, key, id) for as long as the store keeps the
/// record (`retention`, 24 hours by default, never evicted early; a full store answers `overloaded`). The
/// record is written atomically with the effect and holds the answer; whoever comes with the same id again
/// gets that answer, and its operation is not run, or its effect is not kept.
/// **Does not guarantee.** Anything about the same id under another key: that is another operation.
/// With several keys the record belongs to the smallest of them in byte order.
///
/// 1 to 255 bytes, any of them.
class OperationId {
public:
    /// The most bytes of an id.
    static constexpr std::size_t max_size = 255;

    /// Takes any text; `validate` says whether it may be an id.
    explicit OperationId(std::string value) : value_(std::move(value)) {}
    explicit OperationId(std::string_view value) : value_(value) {}
    explicit OperationId(char const* value) : value_(value) {}

    std::string const& value() const noexcept { return value_; }

    /// Records of this id, tombstones too, are kept at least so long, even where the store's own retention is shorter.
    OperationId& keep_for(std::chrono::nanoseconds time) noexcept
    {
        kept_ = time;
        return *this;
    }
    /// For stores: how long a record of this id is kept, where the store's retention is `retention`.
    std::chrono::nanoseconds kept_for(std::chrono::nanoseconds retention) const noexcept
    {
        return std::max(kept_, retention);
    }

    /// `invalid_argument` for an empty or an overlong id.
    Outcome<void> validate() const
    {
        if (value_.empty())
            return Failure{Errc::invalid_argument, "operation id is empty"};
        if (value_.size() > max_size)
            return Failure{
                Errc::invalid_argument, "operation id has " + std::to_string(value_.size()) +
                                            " bytes, the limit is " + std::to_string(max_size)};
        return success();
    }

    friend bool operator==(OperationId const& a, OperationId const& b) noexcept { return a.value_ == b.value_; }

private:
    std::string value_;
    std::chrono::nanoseconds kept_{0};
};

/// What a store remembers of an operation id.
struct OperationRecord {
    /// Counts the answered records of one store in the order in which they were committed; gaps are allowed.
    /// Two records of one key are ordered as their commits were. 0 for a tombstone.
    std::uint64_t sequence{0};
    /// The attempt that committed, or, for a tombstone, the highest attempt that it forbids.
    std::uint32_t attempt{0};
    /// False: a tombstone. Attempts up to `attempt` can no longer commit; nothing was applied by them.
    bool answered{false};
    /// The encoded result.
    std::string answer;
};

/// The part of a commit that makes it happen at most once.
struct OperationCommit {
    Key const* home;            ///< the key the record belongs to
    OperationId const* id;
    std::uint32_t attempt;      ///< refused with `superseded` when a tombstone forbids it
    std::string_view answer;    ///< the encoded result
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_OPERATION_ID_HPP
