// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_POSITION_STAMP_HPP
#define INTERLOCK_PATTERNS_POSITION_STAMP_HPP

/// @file
/// A read model that holds the position that it is made of: an event that is delivered again changes nothing.
///
///     struct SoldPerSku {
///         std::string sku;
///         int count = 0;
///         std::int64_t position = 0;  // the stamp
///     };
///     sold.do_in_transaction(event.stream, [&](SoldPerSku& s) {
///         interlock::apply_once(s.position, event, [&] { s.count += 1; });
///     });

#include <interlock/core/errc.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/outcome.hpp>

#include <cstddef>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {

/// Calls `apply` and moves `stamp` to the position of `event`, unless the event is not behind the stamp; then
/// nothing happens. Whether it was applied. What `apply` throws leaves the stamp as it was.
///
/// **Guarantee.** Of events that are given in the order of their positions, however often, each is applied
/// once, when the stamp is stored in one commit with what `apply` changes. It needs no operation record and
/// no retention. **Does not guarantee.** Anything for events of several partitions with one stamp: their
/// positions have nothing to do with each other; use a stamp for each. Nor when positions are given out of
/// order: a state must be fed by one stream, or by whole partitions. **Failures.** An event without a
/// position, as one that came in an envelope of CloudEvents has none, would always pass for one that was
/// applied before: `Error` (`invalid_argument`), and nothing happens. An `Inbox` knows such an event again.
template <class F>
bool apply_once(Position& stamp, Event const& event, F&& apply)
{
    if (event.position <= 0)
        throw Error(
            Errc::invalid_argument,
            "an event without a position was not read from a log, and no stamp knows it again: use an Inbox");
    if (event.position <= stamp)
        return false;
    std::forward<F>(apply)();
    stamp = event.position;
    return true;
}

/// The same with a stamp for each partition; `stamps` grows as it must.
template <class F>
bool apply_once(std::vector<Position>& stamps, Event const& event, F&& apply)
{
    if (stamps.size() <= event.partition)
        stamps.resize(std::size_t{event.partition} + 1);
    return apply_once(stamps[event.partition], event, std::forward<F>(apply));
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_PATTERNS_POSITION_STAMP_HPP
