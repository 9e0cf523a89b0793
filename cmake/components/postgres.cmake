# The PostgreSQL store.
set(component_built_on core)
set(component_headers "backends/postgres/*.hpp")
set(component_compiled interlock/backends/postgres/src.hpp)
set(component_needs libpqxx libpq)

set(libpqxx_pkg_config libpqxx)
set(libpqxx_target libpqxx::pqxx)
set(libpqxx_called "libpqxx")
set(libpqxx_includes "^pqxx/")
set(libpqxx_door backends/postgres/detail/pqxx.hpp backends/postgres/detail/pqxx_values.hpp)

set(libpq_pkg_config libpq)
set(libpq_target libpq::libpq)
set(libpq_called "libpq")
set(libpq_includes "^(libpq|postgresql/)")
set(libpq_door backends/postgres/detail/pqxx.hpp)
