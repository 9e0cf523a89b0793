// SPDX-License-Identifier: BSL-1.0

// Two releases of a program run side by side on the library's own table: see support/releases.hpp.

#include "support/releases.hpp"

#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>

#include "support/postgres_server.hpp"

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

}  // namespace postgres_releases_test
