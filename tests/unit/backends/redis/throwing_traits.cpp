// SPDX-License-Identifier: BSL-1.0

#include <interlock/backends/redis/state_repository.hpp>

#include "support/catch.hpp"
#include "support/redis.hpp"
#include "support/throwing_state.hpp"

namespace redis_throwing_traits_test {

using namespace interlock;

TEST_CASE("an exception of a state's traits ends the call, and not the executor", "[redis][throwing_traits]")
{
    redis::StateRepository<interlock_test::Moody> const repository{
        redis::Client{interlock_test::redis_options()}};
    interlock_test::throwing_traits_end_the_call(repository);
}

}  // namespace redis_throwing_traits_test
