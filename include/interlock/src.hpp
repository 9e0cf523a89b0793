// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_SRC_HPP
#define INTERLOCK_SRC_HPP

/// @file
/// What separate compilation compiles once per program: the bodies of `core/`, of the policies and of the store
/// that needs no client library. One unit of the program includes this header, and beside it the `src.hpp` of
/// each store that the program uses; every unit is compiled with INTERLOCK_SEPARATE_COMPILATION.
///
/// @code
/// // interlock.cpp
/// #include <interlock/backends/redis/src.hpp>
/// #include <interlock/src.hpp>
/// @endcode
///
/// With CMake the targets `interlock::core_compiled`, `interlock::redis_compiled` and so on do this. They also
/// define BOOST_ASIO_SEPARATE_COMPILATION and compile Asio's own `boost/asio/impl/src.hpp`; by hand both are
/// optional, as Asio documents them. A program that uses `boost::asio::ssl` with that definition compiles
/// `boost/asio/ssl/impl/src.hpp` itself.

#include <interlock/core/src.hpp>
#if __has_include(<interlock/policies/src.hpp>)
#include <interlock/policies/src.hpp>
#endif
#if __has_include(<interlock/backends/memory/src.hpp>)
#include <interlock/backends/memory/src.hpp>
#endif

#endif  // INTERLOCK_SRC_HPP
