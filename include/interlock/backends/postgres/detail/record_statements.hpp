// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_RECORD_STATEMENTS_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_RECORD_STATEMENTS_HPP

/// @file
/// The SQL of idempotency records and of counters. Times are read anew under the lock of a record, because
/// what stands in VALUES was read before the statement waited for that lock.

#include <interlock/backends/postgres/detail/batch.hpp>
#include <interlock/backends/postgres/detail/reply.hpp>
#include <interlock/core/contracts/requests.hpp>

#include <cstddef>
#include <optional>
#include <string>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// The statements of the `IdempotencyStore` of one name space.
struct ClaimStatements {
    explicit ClaimStatements(std::string const& ns);

    Statement claim;
    Statement find;
    Statement complete;
    Statement give_back;
};

/// The statements of the `TransactionalIdempotencyStore` of one name space.
struct RecordStatements {
    explicit RecordStatements(std::string const& ns);

    Statement lock;
    Statement lock_or_fail;  ///< fails as a race (`is_race`) while somebody executes the request
    Statement look;
    Statement claim;
    Statement forget;
    Statement insert;
    Statement insert_if_none;
};

/// The failure of a claim (see `ClaimFirst`) for which somebody else executes the request. Nothing: that is
/// not why the server has refused it.
std::optional<Failure> claim_refused(SqlError const& error);

/// The claim of a request in the first trip of a transaction: while somebody executes the request, no row is
/// waited for.
struct ClaimFirst : verb::BeforeLocks {
    Statement const* lock{nullptr};
    Params number{};
    Statement const* claim{nullptr};
    Params name{};
    std::optional<Reply> found{};  ///< the record; nothing: it was not asked for

    void add_to(Batch& batch)
    {
        found.reset();
        batch.add(*lock, Params(number));
        batch.add(*claim, Params(name));
    }
};

/// The statements of the counters of one name space.
struct CounterStatements {
    explicit CounterStatements(std::string const& ns);

    Statement make;
    Statement lock;
    Statement change;
    Statement load;
};

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/record_statements.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_RECORD_STATEMENTS_HPP
