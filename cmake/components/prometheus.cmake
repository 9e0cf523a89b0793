# Metrics for Prometheus.
set(component_built_on core)
set(component_headers "observability/prometheus.hpp" "observability/detail/metric_cells.hpp")
set(component_needs prometheus_cpp)

set(prometheus_cpp_package prometheus-cpp)
set(prometheus_cpp_target prometheus-cpp::core)
set(prometheus_cpp_called "prometheus-cpp")
set(prometheus_cpp_requires prometheus-cpp-core)
set(prometheus_cpp_includes "^prometheus/")
set(prometheus_cpp_door observability/prometheus.hpp)
