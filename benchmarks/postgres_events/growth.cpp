// SPDX-License-Identifier: BSL-1.0

#include "../support/growth.hpp"

#include <interlock/backends/postgres/event_repository.hpp>

#include "../support/pqxx.hpp"
#include "contestants.hpp"

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

namespace {

using Log = bench::StoredLog<interlock::postgres::EventRepository>;

void run(pqxx::connection& connection, std::string const& sql)
{
    pqxx::nontransaction now{connection};
    now.exec(sql);
}

/// Rows as the library writes them, by the server itself. The indexes are made behind them, and the server
/// does what autovacuum would.
void fill(pqxx::connection& connection, std::string const& table, long count)
{
    std::string const position = "nextval('" + table + "_position_0')";
    run(connection, "ALTER TABLE " + table + " DROP CONSTRAINT " + table + "_pkey, DROP CONSTRAINT " + table +
                        "_stream_number_key, DROP CONSTRAINT " + table + "_id_key");
    auto const streams = std::to_string(std::max(1L, count / bench::events_in_stream));
    run(connection, "INSERT INTO " + table +
                        " (partition, position, stream, number, id, type, version, data, correlation, cause, "
                        "traceparent, writer, append, recorded_at) SELECT 0, " +
                        position + ", convert_to('order-' || i % " + streams + ", 'UTF8'), 1 + i / " +
                        streams +
                        ", md5(i::text), 'stock.sold', 1, decode(repeat('78', 200), 'hex'), '', '', '', '', "
                        "NULL, clock_timestamp() FROM generate_series(0, " +
                        std::to_string(count - 1) + ") i");
    run(connection, "ALTER TABLE " + table + " ADD PRIMARY KEY (partition, position), ADD CONSTRAINT " +
                        table + "_stream_number_key UNIQUE (stream, number), ADD CONSTRAINT " + table +
                        "_id_key UNIQUE (id)");
    run(connection, "VACUUM ANALYZE " + table);
}

}  // namespace

void growth(bench::Options const& options, Plan const& plan, int rounds, std::vector<long> const& sizes)
{
    interlock::postgres::Pool const pool{plan.url};
    pqxx::connection connection{plan.url};
    std::vector<Log> logs;
    for (auto const size : sizes) {
        auto const table = "stored_" + std::to_string(size);
        logs.push_back({size, interlock::postgres::EventRepository{pool, {.table = table}}});
        logs.back().events.create_schema().value();
        std::fprintf(stderr, "postgres_events: stores %ld events\n", size);
        fill(connection, table, size);
    }
    run(connection, "CHECKPOINT");
    bench::grow(options, "postgres_events", rounds, plan.seconds, logs);
}
