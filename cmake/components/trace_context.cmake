# The headers of W3C Trace Context.
set(component_built_on core)
set(component_headers "observability/trace_context.hpp")
