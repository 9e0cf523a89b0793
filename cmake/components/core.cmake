# What every program uses: the core, the policies, the patterns, and the store that needs no client library.
set(component_headers "*.hpp" "core/*.hpp" "policies/*.hpp" "patterns/*.hpp" "backends/memory/*.hpp"
    "observability/observed_repository.hpp" "observability/observers.hpp")
set(component_headers_of_others "/kit/net/(openssl\\.hpp|impl/openssl\\.ipp)$")
set(component_compiled interlock/src.hpp boost/asio/impl/src.hpp)
set(component_needs threads boost fmt)

set(threads_package Threads)
set(threads_target Threads::Threads)
set(threads_called "a thread library")
set(threads_flags -pthread)

set(boost_package Boost 1.81)
set(boost_target Boost::headers)
set(boost_called "Boost 1.81 or newer (headers)")

set(fmt_package fmt 9)
set(fmt_target fmt::fmt)
set(fmt_called "fmt 9 or newer")
set(fmt_requires fmt)
