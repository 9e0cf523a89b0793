// SPDX-License-Identifier: BSL-1.0

// The way out: a failure as a status.
#include <interlock/http/idempotency.hpp>

#include "compiled/units.hpp"

namespace il = interlock;

bool sell()
{
    return il::http::problem_of(il::Failure{il::Errc::idempotency_mismatch}).status == 422;
}
