// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_START_HPP
#define INTERLOCK_PATTERNS_START_HPP

/// @file
/// Where a consumer of events begins that is new: one whose cursor does not exist yet.
///
///     interlock::Subscription const alerts{
///         events, cursors, "alerts", {.start = interlock::Start::end}};  // nothing of what is there already
///
/// To begin at a position of your own, put the cursor there before the first run: `Subscription::move_to`.

namespace interlock {
inline namespace v0 {

/// Where a consumer begins that has no cursor yet. The cursor is stored before the first event is handled, so
/// that this is decided once: from then on the consumer goes on where it was, whatever is asked for, and
/// after `forget` it is new again.
enum class Start : unsigned char {
    beginning,  ///< with the oldest event that the log still has
    /// Behind what is there when the cursor is made: what was committed before is not delivered, and what
    /// begins to be committed afterwards is. A commit that is under way at that moment may be either.
    end,
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_PATTERNS_START_HPP
