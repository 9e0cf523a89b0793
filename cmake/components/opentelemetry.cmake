# Spans and metrics for OpenTelemetry.
set(component_built_on log trace_context)
set(component_headers "observability/opentelemetry.hpp")
set(component_needs opentelemetry_cpp)

set(opentelemetry_cpp_package opentelemetry-cpp COMPONENTS api)
set(opentelemetry_cpp_target opentelemetry-cpp::api)
set(opentelemetry_cpp_called "opentelemetry-cpp")
set(opentelemetry_cpp_includes "^opentelemetry/")
set(opentelemetry_cpp_door observability/opentelemetry.hpp)
