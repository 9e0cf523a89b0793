// SPDX-License-Identifier: BSL-1.0

#include "../support/pqxx.hpp"
#include "contestants.hpp"

#include <memory>

double bare_append(Plan const& plan)
{
    return per_second(plan, [&](std::size_t t) {
        auto connection = std::make_shared<pqxx::connection>(plan.url);
        connection->prepare(
            "append",
            "INSERT INTO interlock_event (partition, position, stream, number, id, type, version, data, "
            "correlation, cause, traceparent, writer, append, recorded_at) SELECT 0, "
            "nextval('interlock_event_position_0'), $1::bytea, 1 + coalesce((SELECT max(number) FROM "
            "interlock_event WHERE stream = $1::bytea), 0), $2, 'stock.sold', 1, $3::bytea, '', '', '', '', "
            "NULL, clock_timestamp()");
        auto const data = std::string(200, 'x');
        auto number = std::make_shared<long>(0);
        auto const who = std::to_string(std::chrono::steady_clock::now().time_since_epoch().count()) + "-" +
                         std::to_string(t) + "-";
        return [=](std::uint64_t random) {
            pqxx::nontransaction now{*connection};
            bench::run_prepared(
                now, "append", "order-" + std::to_string(random % 100'000'000),
                who + std::to_string(++*number), data);
        };
    });
}
