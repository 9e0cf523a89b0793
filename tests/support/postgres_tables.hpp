// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_POSTGRES_TABLES_HPP
#define INTERLOCK_TESTS_SUPPORT_POSTGRES_TABLES_HPP

/// @file
/// Tables that somebody else has made, by plain SQL.

#include "postgres_server.hpp"

#include <initializer_list>
#include <string>

namespace interlock_test {

/// Runs the statements, one behind the other, through a connection of its own.
inline void sql(std::initializer_list<std::string> statements)
{
    for (auto const& statement : statements)
        postgres_server().command(statement);
}

/// The first value that a query gives.
inline std::string single_value(std::string const& query)
{
    return postgres_server().command(query);
}

}  // namespace interlock_test

#endif  // INTERLOCK_TESTS_SUPPORT_POSTGRES_TABLES_HPP
