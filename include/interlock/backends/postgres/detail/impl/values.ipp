// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_VALUES_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_VALUES_IPP

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/values.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/outcome.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

INTERLOCK_DECL void check_place(Reply const& reply, std::size_t row, std::size_t column)
{
    if (row >= reply.rows() || column >= reply.columns())
        throw Error(Errc::invalid_argument, "postgres: the result has no such row or column");
}

INTERLOCK_DECL void check_row(Reply const& reply, std::size_t row)
{
    if (row >= reply.rows())
        throw Error(Errc::invalid_argument, "postgres: the result has no such row");
}

INTERLOCK_DECL std::size_t place_of(Reply const& reply, std::string const& column)
{
    auto const at = reply.column(column);
    if (!at)
        throw Error(Errc::invalid_argument, "postgres: the result has no column " + column);
    return *at;
}

INTERLOCK_DECL void check_single(Reply const& reply)
{
    if (reply.rows() != 1 || reply.columns() != 1)
        throw Error(Errc::invalid_argument, "postgres: the result is not one value");
}

INTERLOCK_DECL std::string_view text_at(Reply const& reply, std::size_t row, std::size_t column)
{
    if (reply.null(row, column))
        throw Error(Errc::invalid_argument, "postgres: the value is null");
    return reply.text(row, column);
}

INTERLOCK_DECL void throw_not_of_the_type()
{
    throw Error(Errc::invalid_argument, "postgres: the value is not of the wanted type");
}

INTERLOCK_DECL Failure parameter_has_nul()
{
    return failed(Errc::invalid_argument, "postgres: a text parameter has a NUL; see postgres::Bytes");
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_VALUES_IPP
