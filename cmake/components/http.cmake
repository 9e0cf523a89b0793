# For servers that speak HTTP: idempotency keys of a header, and failures as statuses.
set(component_built_on core)
set(component_headers "http/*.hpp")
set(component_compiled interlock/http/src.hpp)
