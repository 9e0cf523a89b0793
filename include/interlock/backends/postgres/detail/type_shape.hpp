// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_TYPE_SHAPE_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_TYPE_SHAPE_HPP

/// @file
/// Which table a repository has, by its options and by what its types are.

#include <interlock/backends/postgres/detail/column_text.hpp>
#include <interlock/backends/postgres/detail/statements.hpp>
#include <interlock/backends/postgres/repository_options.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// What a part of a key is in the program.
enum class KeyPartKind : unsigned char {
    number,   ///< a signed integer
    natural,  ///< an unsigned one
    text,
    other,
};

/// What the types of a repository are, as far as its table depends on them.
struct TypeShape {
    bool storable{false};              // `StateTraits` can encode the state, for the library's own table
    bool is_row{false};                // the state is a struct of columns, for a user's table
    std::vector<std::string> columns;  // the names of those
    std::vector<MemberKind> kinds;     // what each of those is in the program
    std::vector<std::string> unfit;    // the names of members that are no columns
    bool is_key{false};                // the key is a column, or is made of columns
    bool key_is_struct{false};         // those have names, which must be the table's
    std::vector<std::string> key_columns;
    std::size_t key_parts{1};            // how many columns a key has
    std::vector<KeyPartKind> key_kinds;  // of each of those
};

/// The table that `options` ask for: the user's, or the library's own in the name space `ns`. Throws `Error`
/// (`invalid_argument`) for names that cannot stand in a statement, and for types that do not fit the table.
Table table_of(RepositoryOptions const& options, std::string const& ns, TypeShape const& shape);

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/type_shape.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_TYPE_SHAPE_HPP
