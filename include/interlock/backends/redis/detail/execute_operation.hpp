// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_EXECUTE_OPERATION_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_EXECUTE_OPERATION_HPP

// One command of a `Connection`, from its start to its handler. What does not depend on the handler is
// `ExecutedCommand`.

#include <interlock/backends/redis/access.hpp>
#include <interlock/backends/redis/detail/command.hpp>
#include <interlock/backends/redis/detail/queued_command.hpp>
#include <interlock/backends/redis/detail/resender.hpp>
#include <interlock/backends/redis/detail/script_call.hpp>
#include <interlock/backends/redis/reply.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/kit/async_operation.hpp>
#include <interlock/core/outcome.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <concepts>
#include <exception>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

template <class R>
class Pipeline;
template <class R>
class PipelineHandle;

template <class W>
concept Number = std::integral<W> && !std::same_as<W, bool> && !std::same_as<W, char>;

/// What a command is made of.
template <class W>
concept CommandWord = std::convertible_to<W const&, std::string_view> || Number<W>;

/// Whether a command has one reply at once and leaves nothing behind in the connection, which others share.
bool fits_shared_connection(std::string_view name, std::string_view second) noexcept;

/// The runtime of a connection, whose handlers without an executor of their own run on the connection's.
template <class R>
class ConnectionRuntime : public R {
public:
    ConnectionRuntime(R runtime, boost::asio::any_io_executor executor)
        : R(std::move(runtime)), executor_(std::move(executor))
    {}
    boost::asio::any_io_executor const& executor() const noexcept { return executor_; }

private:
    boost::asio::any_io_executor executor_;
};
template <class R>
ConnectionRuntime<R> runtime_of(Pipeline<R> const& pipeline);

/// What an operation is made of. A class with a constructor: an aggregate would be destroyed twice by g++ 12
/// in a `co_await` expression.
template <class R>
struct ExecuteArguments {
    ExecuteArguments(
        std::shared_ptr<Pipeline<R>> with, Command command, std::shared_ptr<Script const> called, Access what,
        Deadline until, bool good)
        : pipeline(std::move(with)), encoded(std::move(command)), script(std::move(called)), access(what),
          deadline(until), fits(good)
    {}
    std::shared_ptr<Pipeline<R>> pipeline;
    Command encoded;
    std::shared_ptr<Script const> script;  // what the command calls; null where it calls none
    Access access;
    Deadline deadline;
    bool fits;  // the command leaves nothing behind in the connection
};

/// A command and what its replies come to, for whatever handler.
template <class R>
class ExecutedCommand : protected QueuedCommand {
protected:
    explicit ExecutedCommand(ExecuteArguments<R>&& arguments);
    ~ExecutedCommand() = default;

    /// Nothing is to be submitted: `advance` says why.
    bool refused() const noexcept { return refused_.has_value(); }
    /// Into the queue.
    void submit() noexcept;
    /// True: `result` is the outcome. `cancelled`: the command is given up unless it has one. May throw for
    /// want of memory.
    bool advance(bool cancelled, Outcome<Reply>& result);
    /// The outcome of a command that there was no memory for.
    Failure no_memory() const;
    void forget() noexcept;

private:
    ExecutedCommand(ExecuteArguments<R>&& arguments, TimePoint now);

    std::shared_ptr<Pipeline<R>> pipeline_;
    Command encoded_;
    std::shared_ptr<Script const> script_;
    Resender resender_;
    std::optional<Failure> refused_;  // before anything was submitted
};

/// A command that completes `Handler`.
template <class Handler, class R>
class ExecuteOperation final : public interlock::detail::AsyncOperation<Handler, ConnectionRuntime<R>>,
                               private ExecutedCommand<R> {
    using Base = interlock::detail::AsyncOperation<Handler, ConnectionRuntime<R>>;

public:
    ExecuteOperation(Handler handler, std::unique_ptr<ExecuteArguments<R>> arguments)
        : Base(std::move(handler), runtime_of(*arguments->pipeline)),
          ExecutedCommand<R>(std::move(*arguments))
    {}

    /// Into the queue at once: its step comes with the result.
    void start()
    {
        interlock::detail::Ref<Base> const alive{this};
        this->join();
        if (this->refused())
            this->schedule();
        else
            this->submit();
    }

private:
    void finished() noexcept override { this->wake(); }
    bool step() override { return this->advance(this->cancel_requested(), result_); }
    void failed(std::exception_ptr) noexcept override { result_ = this->no_memory(); }

    void complete(interlock::detail::Ref<Base> self) override
    {
        auto handler = std::move(this->handler());
        auto result = std::move(result_);
        {
            interlock::detail::Ref<Base> const last = std::move(self);
        }
        std::move(handler)(std::move(result));
    }

    void leave() noexcept override { this->forget(); }
    void destroy() noexcept override { interlock::detail::destroy_operation(this, this->allocator()); }

    Outcome<Reply> result_;  // for the handler
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/redis/detail/impl/execute_operation.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_EXECUTE_OPERATION_HPP
