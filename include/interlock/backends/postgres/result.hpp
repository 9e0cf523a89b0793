// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_RESULT_HPP
#define INTERLOCK_BACKENDS_POSTGRES_RESULT_HPP

/// @file
/// What a statement of the user's own answers, and bytes as a parameter of one. `Pool::query` and
/// `Transaction::exec` return it:
///
///     auto const rows = pool.query("SELECT id, note FROM orders WHERE product = $1", 17);
///     if (!rows.empty())
///         print(rows[0]["id"].as<int>());

#include <interlock/backends/postgres/detail/reply.hpp>
#include <interlock/backends/postgres/detail/values.hpp>
#include <interlock/core/state_traits.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace postgres {

/// A parameter of type `bytea`, with any bytes, NUL included. It refers to the bytes, which must live until
/// the statement is executed.
struct Bytes {
    std::string_view value;
};

/// What a statement answered. The object owns its rows.
///
///     auto const rows = tx.exec("SELECT id, note FROM orders WHERE product = $1", 17);
///     for (auto const row : rows)
///         print(row["id"].as<int>(), row["note"].as<std::optional<std::string>>());
///     auto const first = rows.get<int>(0, "id");  // the same as rows[0]["id"].as<int>()
///
/// **Thread safety.** Several threads may read one object at once. **Cost.** Nothing here asks the server.
class Result {
public:
    /// An answer without rows.
    Result() = default;
    /// For the library.
    explicit Result(detail::Reply reply) noexcept : reply_(std::move(reply)) {}

    /// How many rows the statement returned.
    std::size_t size() const noexcept { return reply_.rows(); }
    bool empty() const noexcept { return size() == 0; }
    /// How many rows an INSERT, UPDATE, DELETE or MERGE changed.
    std::size_t affected_rows() const noexcept { return reply_.affected(); }

    /// Is the field NULL? Rows and columns count from 0.
    bool is_null(std::size_t row, std::size_t column) const noexcept { return reply_.null(row, column); }
    /// The value as the server writes it, valid as long as this object.
    std::string_view text(std::size_t row, std::size_t column) const noexcept
    {
        return reply_.text(row, column);
    }

    /// The value at a place, as a `T`: a number, `bool`, `std::string`, an optional of those (empty for a
    /// null), or any other type that `pqxx::string_traits` knows. Throws `Error` (`invalid_argument`) for a
    /// place that does not exist, for a null where `T` is no optional, and for a text that is no `T`.
    template <class T>
    T get(std::size_t row, std::size_t column) const
    {
        detail::check_place(reply_, row, column);
        if constexpr (interlock::detail::is_optional<T>::value) {
            if (reply_.null(row, column))
                return std::nullopt;
            return get<typename T::value_type>(row, column);
        } else {
            return detail::value_of<T>(detail::text_at(reply_, row, column));
        }
    }
    /// The same for a column that is named.
    template <class T>
    T get(std::size_t row, std::string const& column) const
    {
        return get<T>(row, detail::place_of(reply_, column));
    }
    /// The only value of the only row. Throws `Error` (`invalid_argument`) if there are more or fewer.
    template <class T>
    T value() const
    {
        detail::check_single(reply_);
        return get<T>(0, 0);
    }

    /// One value. It refers to its `Result`, which must live as long.
    class Field {
    public:
        /// As `Result::get`.
        template <class T>
        T as() const
        {
            return result_->get<T>(row_, column_);
        }
        bool is_null() const noexcept { return result_->is_null(row_, column_); }
        /// The value as the server writes it.
        std::string_view text() const noexcept { return result_->text(row_, column_); }

    private:
        friend class Result;
        Field(Result const& result, std::size_t row, std::size_t column) noexcept
            : result_(&result), row_(row), column_(column)
        {}
        Result const* result_;
        std::size_t row_;
        std::size_t column_;
    };

    /// One row. It refers to its `Result`, which must live as long: of a temporary result, take the values,
    /// and not a row.
    ///
    ///     auto const total = pool.query("SELECT sum(price) FROM orders")[0][0].as<int>();  // good
    ///     auto const row = pool.query("SELECT id FROM orders")[0];  // refers to a result that is gone
    class Row {
    public:
        /// A column by its place, or by its name in its exact case. Throws `Error` (`invalid_argument`) for
        /// one that does not exist.
        Field operator[](std::size_t column) const
        {
            detail::check_place(result_->reply_, row_, column);
            return Field{*result_, row_, column};
        }
        Field operator[](std::string_view column) const
        {
            return (*this)[detail::place_of(result_->reply_, std::string(column))];
        }

    private:
        friend class Result;
        Row(Result const& result, std::size_t row) noexcept : result_(&result), row_(row) {}
        Result const* result_;
        std::size_t row_;
    };

    /// Goes from row to row: `for (auto const row : rows)`. It refers to its `Result`, as its rows do.
    class Iterator {
    public:
        using value_type = Row;
        using difference_type = std::ptrdiff_t;
        Row operator*() const noexcept { return Row{*result_, row_}; }
        Iterator& operator++() noexcept
        {
            ++row_;
            return *this;
        }
        void operator++(int) noexcept { ++row_; }
        friend bool operator==(Iterator const& a, Iterator const& b) noexcept { return a.row_ == b.row_; }

    private:
        friend class Result;
        Iterator(Result const& result, std::size_t row) noexcept : result_(&result), row_(row) {}
        Result const* result_;
        std::size_t row_;
    };

    /// A row by its place. Throws `Error` (`invalid_argument`) for one that does not exist.
    Row operator[](std::size_t row) const
    {
        detail::check_row(reply_, row);
        return Row{*this, row};
    }
    Iterator begin() const noexcept { return Iterator{*this, 0}; }
    Iterator end() const noexcept { return Iterator{*this, size()}; }

private:
    detail::Reply reply_;
};

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_RESULT_HPP
