// SPDX-License-Identifier: BSL-1.0

#include "books.hpp"

#include <interlock/backends/memory/backend.hpp>
#include <interlock/backends/memory/event_repository.hpp>

#ifdef RELAY_REDIS
#include <interlock/backends/redis/backend.hpp>
#include <interlock/backends/redis/event_repository.hpp>
#endif
#ifdef RELAY_POSTGRES
#include <interlock/backends/postgres/backend.hpp>
#include <interlock/backends/postgres/event_repository.hpp>
#include <interlock/backends/postgres/schema.hpp>
#endif

namespace relay {

namespace {

bool in_memory(std::string const& url)
{
    return url.starts_with("memory:");
}
/// Each type has a name space of its own; the events are in that of the stock.
std::string named(std::string const& url, std::string const& name)
{
    if (in_memory(url))
        return url;
    return url + (url.find('?') == std::string::npos ? "?" : "&") + "name_space=" + name;
}

template <class... B>
Books open(std::string const& states, std::string const& cursors, B const&... backends)
{
    auto const events = il::open_events(states, backends...);
    return {events, il::open<Stock>(states, events, backends...), il::open<il::Cursor>(cursors, backends...)};
}

}  // namespace

Books open_books(std::string const& url, std::string const& name)
{
    auto const states = named(url, name);
    auto const cursors = named(url, name + "_cursors");
#ifdef RELAY_POSTGRES
    if (url.starts_with("postgres")) {
        // Making what is there already changes nothing. Elsewhere a migration makes the tables.
        il::postgres::create_schema(il::postgres::Pool{cursors}).value();
        il::postgres::Pool const pool{states};
        il::postgres::create_schema(pool).value();
        il::postgres::EventRepository{pool}.create_schema().value();
    }
#endif
    return open(
        states, cursors, il::memory::backend
#ifdef RELAY_REDIS
        ,
        il::redis::backend, il::redis::unix_backend
#endif
#ifdef RELAY_POSTGRES
        ,
        il::postgres::backend
#endif
    );
}

}  // namespace relay
