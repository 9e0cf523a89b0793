# The Redis store.
set(component_built_on core)
set(component_headers "backends/redis/*.hpp")
set(component_headers_of_others "/(tls\\.hpp|impl/tls\\.ipp)$")
set(component_compiled interlock/backends/redis/src.hpp)
set(component_needs hiredis)

set(hiredis_pkg_config hiredis)
set(hiredis_target hiredis::hiredis)
set(hiredis_called "hiredis")
set(hiredis_includes "^hiredis(/|\\.h)")
set(hiredis_door backends/redis/detail/hiredis.hpp)
