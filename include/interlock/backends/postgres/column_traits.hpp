// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_COLUMN_TRAITS_HPP
#define INTERLOCK_BACKENDS_POSTGRES_COLUMN_TRAITS_HPP

/// @file
/// How members of types of the user's own become columns of a table, and enumerations labels.
///
///     template <>
///     struct interlock::postgres::ColumnTraits<Money> {
///         static std::string to_text(Money const& m) { return m.str(); }                // "12.50"
///         static std::optional<Money> from_text(std::string_view text) { return Money::parse(text); }
///     };
///
///     template <>
///     struct interlock::postgres::EnumLabels<Phase> {
///         static constexpr std::pair<Phase, std::string_view> labels[] = {
///             {Phase::in_progress, "in-progress"}, {Phase::done, "done"}};
///     };

#include <interlock/backends/postgres/fwd.hpp>

namespace interlock {
inline namespace v0 {
namespace postgres {

/// Specialise it for a type `T` that a member of a row has, and that this library does not know: a decimal
/// number, a UUID, a point. `to_text` gives the text that the column's type reads, and `from_text` reads what
/// the column's type writes; nothing means that the text is no `T`, so that the row is `corrupt_state`. The
/// two must be inverse: what is loaded and not changed must be equal to what was loaded. If `to_text` throws,
/// the call is `invalid_argument`, and nothing was sent; if `from_text` does, the row is `corrupt_state`.
///
/// An array of such values is a `std::vector` of them, and a column that may be NULL is an optional.
template <class T>
struct ColumnTraits {};

/// Specialise it for an enumeration whose labels in the database are not its described names: `labels` is a
/// range of pairs of an enumerator and its text, which is exactly what the column has.
///
/// Without it a column of an SQL enum is matched by itself: the label `in-progress` belongs to the enumerator
/// `in_progress`, since every character that cannot stand in a name of C++ reads as `_`. In other columns the
/// text is the described name.
template <class E>
struct EnumLabels {};

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_COLUMN_TRAITS_HPP
