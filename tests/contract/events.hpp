// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_CONTRACT_EVENTS_HPP
#define INTERLOCK_TESTS_CONTRACT_EVENTS_HPP

/// @file
/// The facts of the contract suite, and what a log holds of them.

#include <interlock/core/event.hpp>

#include <boost/describe/class.hpp>

#include "contract/backends.hpp"

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace contract {

struct Sold {
    std::string sku;
    int quantity{0};
    static constexpr interlock::EventType event{"stock.sold", 1};
};
BOOST_DESCRIBE_STRUCT(Sold, (), (sku, quantity))

struct Reordered {
    std::string sku;
    static constexpr interlock::EventType event{"stock.reordered", 2};
};
BOOST_DESCRIBE_STRUCT(Reordered, (), (sku))

/// All events of a log, one partition after the other, read as a reader does: page by page.
template <class Events>
std::vector<interlock::Event> everything(Events const& events)
{
    std::vector<interlock::Event> all;
    for (unsigned partition = 0; partition < events.partitions(); ++partition)
        for (interlock::Position next = 0;;) {
            auto page = events.read(partition, next, 100, soon).value();
            for (auto& event : page.events) {
                if (event.partition != partition || event.position <= next)
                    throw std::logic_error("the events of a page are not in their order");
                next = event.position;
                all.push_back(std::move(event));
            }
            if (page.next < next)
                throw std::logic_error("the next page begins before the end of this one");
            next = page.next;
            if (!page.more)
                break;
        }
    return all;
}

/// What `Sold` says, of the events that are one; -1: another event.
inline std::vector<int> quantities(std::vector<interlock::Event> const& events)
{
    std::vector<int> all;
    for (auto const& event : events) {
        auto const fact = event.as<Sold>();
        all.push_back(fact ? fact->quantity : -1);
    }
    return all;
}

}  // namespace contract

#endif  // INTERLOCK_TESTS_CONTRACT_EVENTS_HPP
