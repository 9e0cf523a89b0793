// SPDX-License-Identifier: BSL-1.0

#include "services.hpp"

#include <optional>

Cost pessimistic_row_lock(std::size_t waiters, Style style)
{
    Counters repository;
    std::string const name = "hits";
    static_cast<void>(repository.insert(Counter{name, 0}).value());
    interlock::TransactionService const service{interlock::PessimisticRowLock{}, repository};
    interlock::Key const key{name};
    interlock::Key const* const keys[] = {&key};
    std::optional<Counters::transaction_type> held{
        repository.load_for_update(keys, interlock::Wait::no).value()};
    return weigh_service(
        waiters, style, service, name, [&] { return repository.waiter_count(); }, [&] { held.reset(); });
}
