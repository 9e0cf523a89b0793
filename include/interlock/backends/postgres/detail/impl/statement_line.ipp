// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_STATEMENT_LINE_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_STATEMENT_LINE_IPP

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/statement_line.hpp>
#include <interlock/core/errc.hpp>

#include <memory>
#include <mutex>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

INTERLOCK_DECL bool StatementLine::idle()
{
    std::lock_guard lock(mutex);
    return !taken;
}

INTERLOCK_DECL void StatementLine::close()
{
    std::unique_lock lock(mutex);
    gone = true;
    ended.wait(lock, [&] { return !running; });
}

INTERLOCK_DECL StatementTurn::StatementTurn(std::shared_ptr<StatementLine> line)
{
    std::lock_guard lock(line->mutex);
    if (!std::exchange(line->taken, true))
        line_ = std::move(line);
}

INTERLOCK_DECL StatementTurn::~StatementTurn()
{
    if (!line_)
        return;
    std::lock_guard lock(line_->mutex);
    line_->taken = line_->running = false;
    line_->ended.notify_all();
}

INTERLOCK_DECL bool StatementTurn::begin() const
{
    std::lock_guard lock(line_->mutex);
    return line_->running = !line_->gone;
}

INTERLOCK_DECL Failure not_awaited()
{
    return failed(Errc::invalid_argument, "postgres: a statement of the operation was not awaited");
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_STATEMENT_LINE_IPP
