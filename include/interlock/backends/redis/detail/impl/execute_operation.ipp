// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_IMPL_EXECUTE_OPERATION_IPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_IMPL_EXECUTE_OPERATION_IPP

#include <interlock/backends/redis/detail/error.hpp>
#include <interlock/backends/redis/detail/execute_operation.hpp>
#include <interlock/backends/redis/detail/pipeline.hpp>
#include <interlock/separate_compilation.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

INTERLOCK_DECL bool fits_shared_connection(std::string_view name, std::string_view second) noexcept
{
    auto const is = [](std::string_view text, std::string_view upper) {
        if (text.size() != upper.size())
            return false;
        for (std::size_t i = 0; i < text.size(); ++i)
            if ((text[i] >= 'a' && text[i] <= 'z' ? text[i] - 'a' + 'A' : text[i]) != upper[i])
                return false;
        return true;
    };
    constexpr std::string_view unfit[]{
        "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE", "MONITOR",
        "SYNC",      "PSYNC",      "REPLCONF",   "HELLO",       "RESET",        "QUIT",         "AUTH",
        "SELECT",    "MULTI",      "EXEC",       "DISCARD",     "WATCH",        "UNWATCH"};
    for (auto const other : unfit)
        if (is(name, other))
            return false;
    return !(is(name, "CLIENT") && (is(second, "REPLY") || is(second, "TRACKING")));
}

template <class R>
ConnectionRuntime<R> runtime_of(Pipeline<R> const& pipeline)
{
    return {pipeline.runtime(), pipeline.executor()};
}

template <class R>
ExecutedCommand<R>::ExecutedCommand(ExecuteArguments<R>&& arguments)
    : ExecutedCommand(std::move(arguments), arguments.pipeline->runtime().now())
{}

template <class R>
ExecutedCommand<R>::ExecutedCommand(ExecuteArguments<R>&& arguments, TimePoint now)
    : QueuedCommand(arguments.access, arguments.deadline.at(now)), pipeline_(std::move(arguments.pipeline)),
      encoded_(std::move(arguments.encoded)), script_(std::move(arguments.script)),
      resender_(encoded_, script_ ? std::optional<std::string_view>{script_->text} : std::nullopt)
{
    if (!arguments.deadline.valid())
        refused_.emplace(Errc::invalid_argument, "the deadline is not a number");
    else if (!arguments.fits)
        refused_.emplace(Errc::invalid_argument, "redis: this command needs a connection of its own");
    else if (now >= deadline())
        refused_.emplace(Errc::deadline_exceeded, "the deadline came before anything was sent to redis");
}

template <class R>
void ExecutedCommand<R>::submit() noexcept
{
    pipeline_->submit(*this, encoded_.bytes());
}

template <class R>
bool ExecutedCommand<R>::advance(bool cancelled, Outcome<Reply>& result)
{
    if (refused_) {
        result = *std::move(refused_);
        return true;
    }
    auto* const outcome = pipeline_->take(*this);
    if (outcome == nullptr) {
        if (!cancelled)
            return false;
        result = pipeline_->cancel(*this);
        return true;
    }
    result = std::move(*outcome);
    if (!result)
        result = resender_.rule().explained(std::move(result).failure());
    if (!result || !result->root().is(ReplyType::error))
        return true;
    auto const text = result->root().text();
    if (!cancelled && resender_.again(*pipeline_, *this, deadline(), text))
        return false;
    auto failure = map_error(text, access());
    // What a script did before it raised this, or before one of its commands was refused, is not undone.
    if (script_ && access() != Access::read && raised_by_script(text, failure.errc()))
        failure = std::move(failure).in_doubt();
    result = Outcome<Reply>{std::move(failure)};
    return true;
}

template <class R>
Failure ExecutedCommand<R>::no_memory() const
{
    return access() == Access::read ? Failure{Errc::overloaded} : Failure::unknown(Errc::overloaded);
}

template <class R>
void ExecutedCommand<R>::forget() noexcept
{
    pipeline_->forget(*this);
}

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_IMPL_EXECUTE_OPERATION_IPP
