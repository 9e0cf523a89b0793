// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_REPLY_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_REPLY_IPP

#include <interlock/backends/postgres/detail/pqxx.hpp>
#include <interlock/backends/postgres/detail/reply.hpp>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// The value of a hexadecimal digit as the server writes it, or -1.
INTERLOCK_DECL int hex_digit(char c) noexcept
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

INTERLOCK_DECL void Reply::Clear::operator()(pg_result* result) const noexcept
{
    PQclear(result);
}

INTERLOCK_DECL std::size_t Reply::rows() const noexcept
{
    return static_cast<std::size_t>(PQntuples(result_.get()));
}

INTERLOCK_DECL std::size_t Reply::columns() const noexcept
{
    return static_cast<std::size_t>(PQnfields(result_.get()));
}

INTERLOCK_DECL bool Reply::null(std::size_t row, std::size_t column) const noexcept
{
    return PQgetisnull(result_.get(), static_cast<int>(row), static_cast<int>(column)) != 0;
}

[[gnu::noinline]] INTERLOCK_DECL std::string_view Reply::text(
    std::size_t row, std::size_t column) const noexcept
{
    if (row >= rows() || column >= columns())
        return {};
    auto const r = static_cast<int>(row);
    auto const c = static_cast<int>(column);
    return {PQgetvalue(result_.get(), r, c), static_cast<std::size_t>(PQgetlength(result_.get(), r, c))};
}

[[gnu::noinline]] INTERLOCK_DECL std::optional<std::int64_t> Reply::number(
    std::size_t row, std::size_t column) const noexcept
{
    auto const digits = text(row, column);
    std::int64_t value = 0;
    auto const end = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (digits.empty() || end.ec != std::errc{} || end.ptr != digits.data() + digits.size())
        return std::nullopt;
    return value;
}

INTERLOCK_DECL std::uint32_t Reply::type(std::size_t column) const noexcept
{
    return PQftype(result_.get(), static_cast<int>(column));
}

[[gnu::noinline]] INTERLOCK_DECL std::optional<std::string> Reply::bytes(
    std::size_t row, std::size_t column) const
{
    auto const hex = text(row, column);
    if (!hex.starts_with("\\x") || hex.size() % 2 != 0)
        return std::nullopt;
    std::string out;
    out.reserve(hex.size() / 2);
    for (std::size_t i = 2; i < hex.size(); i += 2) {
        int const high = hex_digit(hex[i]);
        int const low = hex_digit(hex[i + 1]);
        if (high < 0 || low < 0)
            return std::nullopt;
        out += static_cast<char>(high * 16 + low);
    }
    return out;
}

INTERLOCK_DECL std::optional<std::size_t> Reply::column(std::string const& name) const noexcept
{
    int const at = PQfnumber(result_.get(), ("\"" + name + "\"").c_str());
    return at < 0 ? std::nullopt : std::optional<std::size_t>{static_cast<std::size_t>(at)};
}

INTERLOCK_DECL std::string_view Reply::tag() const noexcept
{
    return PQcmdStatus(result_.get());
}

INTERLOCK_DECL std::size_t Reply::affected() const noexcept
{
    std::string_view const digits = PQcmdTuples(result_.get());
    std::size_t count = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), count);
    return count;
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_REPLY_IPP
