// SPDX-License-Identifier: BSL-1.0

// The way in: a request from a header.
#include <interlock/http/idempotency.hpp>

#include "compiled/units.hpp"

namespace il = interlock;

bool pay()
{
    return il::http::request_of("\"12345\"", il::Scope{"POST /payments"}, "{}").value().key() == "12345";
}
