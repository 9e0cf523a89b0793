// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BENCHMARKS_SUPPORT_PQXX_HPP
#define INTERLOCK_BENCHMARKS_SUPPORT_PQXX_HPP

/// @file
/// libpqxx for the contestants that are written with it by hand, in one spelling for every version.

#include <pqxx/pqxx>

namespace bench {

/// Executes a prepared statement. libpqxx 7.9 has another function for it, and warns of the former one.
template <class... A>
pqxx::result run_prepared(pqxx::transaction_base& transaction, char const* name, A const&... arguments)
{
#if PQXX_VERSION_MAJOR > 7 || (PQXX_VERSION_MAJOR == 7 && PQXX_VERSION_MINOR >= 9)
    return transaction.exec(pqxx::prepped{name}, pqxx::params{arguments...});
#else
    return transaction.exec_prepared(name, arguments...);
#endif
}

}  // namespace bench

#endif  // INTERLOCK_BENCHMARKS_SUPPORT_PQXX_HPP
