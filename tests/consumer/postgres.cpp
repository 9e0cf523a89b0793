// SPDX-License-Identifier: BSL-1.0

// What a user's first program with PostgreSQL needs from the package: the headers, libpqxx, and to be linked
// with it. There is no server here, and that is what the library says.
//
// Is linked with libpqxx libpq.

#include <interlock/backends/postgres/backend.hpp>
#include <interlock/interlock.hpp>
#include <interlock/version.hpp>

#include <cstdio>
#include <string>

int main()
{
    interlock::postgres::Pool const pool{"postgresql:///none?host=/nowhere"};
    interlock::postgres::StateRepository<std::string> const names{pool};
    if (names.load("x").errc() != interlock::Errc::unavailable)
        return 1;
    std::printf(
        "interlock %d.%d.%d\n", INTERLOCK_VERSION_MAJOR, INTERLOCK_VERSION_MINOR, INTERLOCK_VERSION_PATCH);
    return 0;
}
