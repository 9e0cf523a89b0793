// SPDX-License-Identifier: BSL-1.0

// Two releases of a program run side by side on the library's own table: see support/releases.hpp.

#include "support/releases.hpp"

#include <interlock/backends/postgres/schema.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>

#include "support/postgres_server.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace postgres_releases_test {

using namespace interlock;
using interlock_test::check_keeps;
using interlock_test::check_refusal;
using interlock_test::check_turns;
namespace r1 = interlock_test::first_release;
namespace r2 = interlock_test::next_release;

TEST_CASE("a release keeps in PostgreSQL what the next one has added", "[postgres][releases]")
{
    auto const pool = interlock_test::fresh_pool();
    postgres::StateRepository<r1::Cart> const old_store{pool};
    postgres::StateRepository<r2::Cart> const new_store{pool};
    check_turns(OptimisticVersioning{}, old_store, new_store);
    check_turns(OptimisticVersioning{.remember = 10}, old_store, new_store);
    check_turns(SetNxLock{}, old_store, new_store);
    check_turns(PessimisticRowLock{}, old_store, new_store);
    check_keeps(OptimisticVersioning{}, old_store, new_store);
    check_refusal(postgres::StateRepository<r1::Retyped>{pool}, new_store);
}

TEST_CASE("a release keeps it under leases, row locks and with a cache", "[postgres][releases]")
{
    for (int i = 0; i < 3; ++i) {
        auto const pool = interlock_test::fresh_pool();
        postgres::StateRepository<r1::Cart> const old_store{pool};
        postgres::StateRepository<r2::Cart> const new_store{pool};
        if (i == 0)
            check_keeps(SetNxLock{}, old_store, new_store);
        else if (i == 1)
            check_keeps(PessimisticRowLock{}, old_store, new_store);
        else
            check_keeps(OptimisticVersioning{.remember = 10}, old_store, new_store);
    }
}

TEST_CASE(
    "a table of locks that version 0.1 has made serves, and names holders once it has grown",
    "[postgres][releases]")
{
    using namespace std::chrono_literals;
    auto const pool = interlock_test::fresh_pool();
    auto const& ns = pool.options().name_space;
    Key const x{"x"};
    auto const owner = [](std::uint64_t n) { return OwnerToken{{n, 7}}; };
    interlock_test::postgres_server().command(
        "ALTER TABLE " + ns + "_lock DROP COLUMN card, DROP COLUMN granted");
    {
        postgres::StateRepository<r1::Cart> const store{pool};
        auto const grant = store.carry_out(verb::Create{x, owner(1), 60s, "a"}, {}).value();
        auto const info = store.inspect(x).value().value();
        CHECK((info.holder.empty() && !info.since && info.token == grant.first));
        std::size_t count = 0;
        CHECK(store.for_each_lock([&](Key const&, LockInfo const&) { ++count; }));
        CHECK(count == 1);
        CHECK(store.renew(x, owner(1), 60s));
        CHECK(store.break_lock(x, info).value() == Removal::removed);
    }
    postgres::create_schema(pool).value();
    postgres::StateRepository<r1::Cart> const store{pool};
    CHECK(store.carry_out(verb::Create{x, owner(2), 60s, "b"}, {}));
    CHECK(store.inspect(x).value().value().holder == "b");
    CHECK(store.remove(x, owner(2)).value() == Removal::removed);

    // Version 0.1 takes the lock, and leaves the card of the former holder where it is.
    CHECK(store.create(x, owner(3), 60s));
    auto const info = store.inspect(x).value().value();
    CHECK((info.holder.empty() && !info.since));
    CHECK(store.remove(x, owner(3)).value() == Removal::removed);
}

}  // namespace postgres_releases_test
