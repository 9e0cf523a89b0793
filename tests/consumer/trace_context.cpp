// SPDX-License-Identifier: BSL-1.0

// A component that needs no library.
//
// Is not linked with libhiredis libssl libpqxx.

#include <interlock/observability/trace_context.hpp>
#include <interlock/version.hpp>

#include <cstdio>

int main()
{
    auto const text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    if (interlock::TraceContext::parse(text)->traceparent() != text)
        return 1;
    std::printf(
        "interlock %d.%d.%d\n", INTERLOCK_VERSION_MAJOR, INTERLOCK_VERSION_MINOR, INTERLOCK_VERSION_PATCH);
    return 0;
}
