// SPDX-License-Identifier: BSL-1.0

// What a program with metrics needs from the package: the headers, and prometheus-cpp.
//
// Is linked with libprometheus-cpp-core.
// Is not linked with libhiredis libssl libpqxx.

#include <interlock/interlock.hpp>
#include <interlock/observability/prometheus.hpp>
#include <interlock/version.hpp>

#include <prometheus/text_serializer.h>

#include <cstdio>
#include <string>

int main()
{
    interlock::PrometheusObserver metrics;
    metrics.on_transaction({"p", 1, interlock::Errc::ok, false, false, {}});
    auto const text = prometheus::TextSerializer{}.Serialize(metrics.Collect());
    if (text.find("interlock_transaction_attempts_count{policy=\"p\",backend=\"?\"} 1\n") ==
        std::string::npos)
        return 1;
    std::printf(
        "interlock %d.%d.%d\n", INTERLOCK_VERSION_MAJOR, INTERLOCK_VERSION_MINOR, INTERLOCK_VERSION_PATCH);
    return 0;
}
