// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_COLUMN_TEXT_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_COLUMN_TEXT_HPP

/// @file
/// The texts in which PostgreSQL writes and reads what is neither a number nor a text: bytes, times, arrays,
/// labels.

#include <interlock/separate_compilation.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// What a member is, as far as it decides which columns it can be.
enum class MemberKind : unsigned char {
    text,
    number,
    boolean,
    enumeration,
    bytes,
    time,  ///< a point in time
    day,   ///< a day of the calendar
    list,
    own,  ///< a type of the user's, by `ColumnTraits`
};

/// What a column is, as far as values cross in another form than their text.
struct ColumnForm {
    enum class Type : unsigned char { plain, bytes, number, uuid };
    Type type{Type::plain};
    std::vector<std::string> labels{};  ///< of an SQL enum
};

/// From here on oids are those of what users have made.
inline constexpr std::uint32_t first_user_oid = 16384;

/// Bytes as `bytea` reads them: `\x00ff`.
std::string bytea_text(std::string_view bytes);
/// Sixteen bytes as `uuid` writes them.
std::string uuid_text(std::string_view bytes);
/// The bytes of hexadecimal digits, with `-` anywhere between them; nothing when it is anything else.
std::optional<std::string> bytes_of_hex(std::string_view text);

/// A point in time, in microseconds since 1970, UTC.
std::string time_text(std::int64_t microseconds);
/// The point in time that an ISO text names; without an offset it is UTC, without a time of day midnight.
/// Nothing for infinity, and for what another `DateStyle` writes.
std::optional<std::int64_t> time_of(std::string_view text);
/// The day, in days since 1970.
std::string day_text(std::int64_t days);

/// The digits of a whole number that is written with a point or an exponent: `12.00`, `1e+06`; empty when it
/// is none, or has more than twenty digits.
std::string whole_number_of(std::string_view text);

/// Adds an element to the text of an array, which begins empty and ends with `}`.
void add_element(std::string& list, std::optional<std::string_view> element);
/// The elements of the text of an array; nothing when it has more than one dimension, or is none.
std::optional<std::vector<std::optional<std::string>>> elements_of(std::string_view list);

/// Whether the label of an SQL enum belongs to an enumerator of this name: it is the name once each character
/// that cannot stand in a name of C++ reads as `_`, in front of a digit, or behind a keyword, too.
bool reads_as(std::string_view label, std::string_view name);
/// The label that belongs to the enumerator; nothing when none does, or several do.
std::optional<std::string_view> label_of(std::vector<std::string> const& labels, std::string_view name);

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/column_text.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_COLUMN_TEXT_HPP
