// SPDX-License-Identifier: BSL-1.0

// Shows metrics for Prometheus: how long transactions take, how they end, and how long the store takes. The
// dashboard and the alert rules in 4_programs/dashboard/ are made of them.
// Needs: prometheus-cpp (Debian: prometheus-cpp-dev). A program that serves /metrics adds its Exposer.
// Run with: prometheus

#include <interlock/interlock.hpp>
#include <interlock/observability/observed_repository.hpp>
#include <interlock/observability/prometheus.hpp>

#include <boost/describe.hpp>
#include <fmt/format.h>

#include <prometheus/text_serializer.h>

#include <cstdlib>
#include <memory>
#include <string>

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity = 0;
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

int main()
{
    // #region metrics
    auto const metrics = std::make_shared<il::PrometheusObserver>();
    il::ObservedRepository stock{il::memory::StateRepository<Stock>{}, *metrics};
    il::TransactionService service{il::OptimisticVersioning{}, stock, {.observer = metrics.get()}};

    stock.insert({"sku-1", 400}).value();
    for (int i = 0; i < 100; ++i)
        service.do_in_transaction("sku-1", [](Stock& s) { --s.quantity; }, {.name = "sell"});

    // What GET /metrics answers. With a prometheus::Exposer: exposer.RegisterCollectable(metrics);
    auto const text = prometheus::TextSerializer{}.Serialize(metrics->Collect());
    // #endregion metrics
    fmt::print("{}", text);
    auto const counted =
        "interlock_transaction_duration_seconds_count{policy=\"optimistic_versioning\",backend=\"memory\","
        "operation=\"sell\"} 100\n";
    if (text.find(counted) == std::string::npos)
        std::abort();
}
