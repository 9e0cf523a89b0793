// SPDX-License-Identifier: BSL-1.0

#include "support/postgres_server.hpp"
#include "support/with_server.hpp"

int main(int argc, char** argv)
{
    return interlock_test::run_with_server<interlock_test::PostgresServer>(argc, argv);
}
