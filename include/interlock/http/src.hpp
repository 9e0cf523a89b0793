// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_HTTP_SRC_HPP
#define INTERLOCK_HTTP_SRC_HPP

/// @file
/// What separate compilation compiles once per program for `http/`; see `interlock/src.hpp`.

#ifndef INTERLOCK_SEPARATE_COMPILATION
#error "define INTERLOCK_SEPARATE_COMPILATION for every unit of the program, or do not include a src.hpp"
#endif

#include <interlock/http/impl/idempotency.ipp>

#endif  // INTERLOCK_HTTP_SRC_HPP
