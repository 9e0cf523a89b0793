// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_OPEN_EVENTS_HPP
#define INTERLOCK_TESTS_SUPPORT_OPEN_EVENTS_HPP

/// @file
/// A log that is opened by its URL, and states that record into it: one case for all stores.

#include <interlock/backends/memory/event_repository.hpp>
#include <interlock/core/contracts/any_event_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/any_policy.hpp>
#include <interlock/policies/optimistic_versioning.hpp>

#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/states.hpp"

#include <string>
#include <string_view>

namespace interlock_test {

struct SoldByUrl {
    std::string sku;
    int quantity{0};
    static constexpr interlock::EventType event{"stock.sold", 1};
};
BOOST_DESCRIBE_STRUCT(SoldByUrl, (), (sku, quantity))

/// States that are opened with a log record into it; whoever opens `url` again reads the same log.
template <class Backend>
void check_states_record_into_log(std::string const& url, std::string_view store, Backend const& backend)
{
    using namespace interlock;
    auto const events = open_events(url, backend);
    CHECK(events.store_name() == store);
    auto const stock = open<Stock>(url, events, backend);
    static_cast<void>(stock.insert(Stock{"x", 10}).value());
    auto const sell = [](Stock& s, Recorder& record) { record(SoldByUrl{s.sku, --s.quantity}); };
    TransactionService<Stock> const service{OptimisticVersioning{}, stock};
    service.do_in_transaction("x", sell);
    auto const read = open_events(url, backend).read_stream(Key{"x"}).value();
    REQUIRE(read.size() == 1);
    CHECK(read[0].template as<SoldByUrl>().value().quantity == 9);
    // Without the log the states keep none.
    TransactionService<Stock> const plain{OptimisticVersioning{}, open<Stock>(url, backend)};
    CHECK(plain.try_do_in_transaction("x", sell).errc() == Errc::misconfigured);
}

/// States at `url` are not opened with a log of another store, nor with that at `elsewhere`.
template <class Backend>
void check_other_logs_are_refused(
    std::string const& url, std::string const& elsewhere, Backend const& backend)
{
    using namespace interlock;
    auto const refused = [&](auto const& log) {
        try {
            static_cast<void>(open<Stock>(url, log, backend));
            return false;
        } catch (Error const& e) {
            return e.errc() == Errc::misconfigured;
        }
    };
    CHECK(refused(memory::EventRepository{}));
    CHECK(refused(open_events(elsewhere, backend)));
    CHECK_FALSE(refused(open_events(url, backend)));
}

}  // namespace interlock_test

#endif  // INTERLOCK_TESTS_SUPPORT_OPEN_EVENTS_HPP
