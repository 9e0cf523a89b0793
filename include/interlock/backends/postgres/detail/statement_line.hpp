// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_STATEMENT_LINE_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_STATEMENT_LINE_HPP

/// @file
/// The statements of one asynchronous operation: one at a time, and none once the transaction is gone.

#include <interlock/core/outcome.hpp>
#include <interlock/separate_compilation.hpp>

#include <condition_variable>
#include <memory>
#include <mutex>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// What the statements of one asynchronous operation know of their transaction. A statement that was not
/// awaited may outlive the transaction, so the line is shared.
struct StatementLine {
    std::mutex mutex;
    std::condition_variable ended;  // a statement has ended
    bool taken{false};              // a statement has the connection
    bool running{false};            // and it runs, on its thread
    bool gone{false};               // the transaction is gone

    /// Whether all statements have ended.
    bool idle();
    /// From now on no statement begins. Waits for the end of the one that runs.
    void close();
};

/// The right to use the connection, which ends with the object.
class StatementTurn {
public:
    /// Takes no right when somebody has it.
    explicit StatementTurn(std::shared_ptr<StatementLine> line);
    StatementTurn(StatementTurn&&) noexcept = default;
    StatementTurn& operator=(StatementTurn&&) = delete;
    ~StatementTurn();

    explicit operator bool() const noexcept { return line_ != nullptr; }
    /// The statement is about to run. False: the transaction is gone.
    bool begin() const;

private:
    std::shared_ptr<StatementLine> line_;
};

/// The failure of a statement that was not awaited.
Failure not_awaited();

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/statement_line.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_STATEMENT_LINE_HPP
