// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_LOCK_STATEMENTS_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_LOCK_STATEMENTS_HPP

// The statements about lock records, of `Statements`.

#include <interlock/backends/postgres/detail/statements.hpp>

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/lock_statements.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_LOCK_STATEMENTS_HPP
