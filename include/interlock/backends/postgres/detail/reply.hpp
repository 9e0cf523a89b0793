// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_REPLY_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_REPLY_HPP

/// @file
/// What a PostgreSQL server answered. The bodies, which call libpq, stand in `impl/reply.ipp`, so that a
/// program in the compiled form reads no header of libpq for them.

#include <interlock/backends/postgres/detail/batch.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// `PGresult` of libpq-fe.h.
struct pg_result;

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// The rows that one statement answered, or none.
class Reply {
public:
    Reply() = default;
    explicit Reply(pg_result* result) noexcept : result_(result) {}
    explicit operator bool() const noexcept { return result_ != nullptr; }

    std::size_t rows() const noexcept;
    std::size_t columns() const noexcept;
    bool null(std::size_t row, std::size_t column) const noexcept;
    /// The value as the server writes it, valid as long as this object. Empty for a null, and for a place
    /// that does not exist.
    std::string_view text(std::size_t row, std::size_t column) const noexcept;
    /// The value as a number; nothing when it is no number, or a null.
    std::optional<std::int64_t> number(std::size_t row, std::size_t column) const noexcept;
    bool boolean(std::size_t row, std::size_t column) const noexcept { return text(row, column) == "t"; }
    /// The oid of the column's type, which for a domain is the type under it.
    std::uint32_t type(std::size_t column) const noexcept;
    /// The value of a `bytea`; nothing when the value is not one.
    std::optional<std::string> bytes(std::size_t row, std::size_t column) const;
    /// The place of the column with this name, in its exact case.
    std::optional<std::size_t> column(std::string const& name) const noexcept;
    /// What the server says that it did: "COMMIT", or "ROLLBACK" for the COMMIT of a transaction that had
    /// failed before.
    std::string_view tag() const noexcept;
    /// How many rows an INSERT, UPDATE, DELETE or MERGE changed.
    std::size_t affected() const noexcept;

private:
    friend class Connection;
    struct Clear {
        void operator()(pg_result* result) const noexcept;
    };
    std::unique_ptr<pg_result, Clear> result_;
};

/// How a batch went.
struct Exchange {
    Progress progress{Progress::unsent};
    std::vector<Reply> replies;  ///< one for each statement of the batch; empty for those that were not run
    /// The first error that the server reported.
    std::optional<SqlError> error;
    /// True for a commit that the server answered as made although a synchronous standby has not, or perhaps
    /// has not, confirmed it. Perhaps: a cancel request ends the server's wait for the standby, too.
    bool unconfirmed{false};
};

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/reply.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_REPLY_HPP
