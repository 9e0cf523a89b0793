// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_POSTGRES_APPENDER_HPP
#define INTERLOCK_TESTS_SUPPORT_POSTGRES_APPENDER_HPP

/// @file
/// A session of its own that appends events and leaves its transaction open, as the library never does: for
/// tests of holes.

#include <interlock/backends/postgres/detail/connection.hpp>
#include <interlock/backends/postgres/detail/event_table.hpp>
#include <interlock/backends/postgres/detail/settings.hpp>

#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

namespace interlock_test {

/// **Thread safety.** One thread at a time. Destroying it ends the session, and so the transaction.
class PostgresAppender {
public:
    PostgresAppender(std::string const& url, interlock::postgres::detail::EventTable const& log) : log_(log)
    {
        session_.open(*interlock::postgres::detail::parse_settings(url), "test", soon()).value();
    }

    /// Runs one statement; the first value of its answer.
    std::string run(std::string const& sql)
    {
        interlock::postgres::detail::Batch batch;
        batch.add(sql);
        return run(batch);
    }
    /// Begins a transaction, if none is open, and appends one event to `stream`.
    void append(std::string const& stream, std::string const& id)
    {
        interlock::postgres::detail::Batch batch;
        if (session_.idle())
            batch.add("BEGIN");
        interlock::NewEvent event;
        event.id = id;
        event.type = "happened";
        std::vector<interlock::NewEvent> const events{event};
        log_.add_lock(batch, stream);
        log_.add_events(batch, stream, events);
        run(batch);
    }
    /// As the server knows the session.
    int pid() const { return session_.pid(); }

private:
    static interlock::TimePoint soon()
    {
        return interlock::detail::add(interlock::SystemRuntime::now(), std::chrono::seconds{20});
    }
    std::string run(interlock::postgres::detail::Batch const& batch)
    {
        using namespace interlock::postgres::detail;
        auto exchange = session_.run(batch, soon(), Connection::Bounded::by_caller);
        if (exchange.progress != Progress::answered || exchange.error)
            throw std::runtime_error(
                "appender: " + (exchange.error ? exchange.error->message : std::string{"no answer"}));
        return std::string(exchange.replies.back().text(0, 0));
    }

    interlock::postgres::detail::EventTable const& log_;
    interlock::postgres::detail::Connection session_;
};

}  // namespace interlock_test

#endif  // INTERLOCK_TESTS_SUPPORT_POSTGRES_APPENDER_HPP
