// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_TYPE_OID_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_TYPE_OID_HPP

/// @file
/// The numbers of PostgreSQL's own types.

#include <cstdint>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// Oids of PostgreSQL's own types, which are the same in every server.
namespace type_oid {
inline constexpr std::uint32_t boolean = 16;
inline constexpr std::uint32_t bytea = 17;
inline constexpr std::uint32_t bigint = 20;
inline constexpr std::uint32_t smallint = 21;
inline constexpr std::uint32_t integer = 23;
inline constexpr std::uint32_t xid = 28;
inline constexpr std::uint32_t real = 700;
inline constexpr std::uint32_t double_precision = 701;
inline constexpr std::uint32_t money = 790;
inline constexpr std::uint32_t date = 1082;
inline constexpr std::uint32_t timestamp = 1114;
inline constexpr std::uint32_t timestamptz = 1184;
inline constexpr std::uint32_t numeric = 1700;
inline constexpr std::uint32_t uuid = 2950;
}  // namespace type_oid

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_TYPE_OID_HPP
