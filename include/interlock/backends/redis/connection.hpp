// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_CONNECTION_HPP
#define INTERLOCK_BACKENDS_REDIS_CONNECTION_HPP

/// @file
/// One asynchronous connection to a Redis server, shared by many coroutines and threads.

#include <interlock/backends/redis/access.hpp>
#include <interlock/backends/redis/connection_statistics.hpp>
#include <interlock/backends/redis/detail/command.hpp>
#include <interlock/backends/redis/detail/error.hpp>
#include <interlock/backends/redis/detail/pipeline.hpp>
#include <interlock/backends/redis/detail/pipeline_handle.hpp>
#include <interlock/backends/redis/detail/queued_command.hpp>
#include <interlock/backends/redis/detail/resender.hpp>
#include <interlock/backends/redis/detail/script_call.hpp>
#include <interlock/backends/redis/fwd.hpp>
#include <interlock/backends/redis/options.hpp>
#include <interlock/backends/redis/reply.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/kit/async_operation.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/runtime/runtime.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/execution_context.hpp>

#include <concepts>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {

namespace detail {

template <class W>
concept Number = std::integral<W> && !std::same_as<W, bool> && !std::same_as<W, char>;

/// Whether a command has one reply at once and leaves nothing behind in the connection, which others share.
inline bool fits_shared_connection(std::string_view name, std::string_view second) noexcept
{
    auto const is = [](std::string_view text, std::string_view upper) {
        if (text.size() != upper.size())
            return false;
        for (std::size_t i = 0; i < text.size(); ++i)
            if ((text[i] >= 'a' && text[i] <= 'z' ? text[i] - 'a' + 'A' : text[i]) != upper[i])
                return false;
        return true;
    };
    auto const any = [&](auto... names) { return (is(name, names) || ...); };
    return !any(
               "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE",
               "MONITOR", "SYNC", "PSYNC", "REPLCONF", "HELLO", "RESET", "QUIT", "AUTH", "SELECT", "MULTI",
               "EXEC", "DISCARD", "WATCH", "UNWATCH") &&
           !(is(name, "CLIENT") && (is(second, "REPLY") || is(second, "TRACKING")));
}

/// What a command is made of.
template <class W>
concept CommandWord = std::convertible_to<W const&, std::string_view> || Number<W>;

}  // namespace detail

/// A command and its arguments, ready to be sent. Any byte may be in an argument; numbers are written in
/// decimal.
///
/// `Command{"SET", key, value, "PX", 1000}`. Keeps a copy: nothing that it was made from need outlive it.
/// **Thread safety.** Distinct objects: safe.
/// **Cost.** No allocation up to 300 bytes, then one.
class Command {
public:
    /// The command `name` with its arguments, each a text or a number; a text may have any bytes.
    template <detail::CommandWord... W>
    explicit Command(std::string_view name, W const&... words)
        : encoded_(name, words...), fits_(detail::fits_shared_connection(name, second_of(words...)))
    {}

private:
    template <class>
    friend class BasicConnection;
    static std::string_view second_of() noexcept { return {}; }
    template <class First, class... Rest>
    static std::string_view second_of(First const& first, Rest const&...) noexcept
    {
        if constexpr (std::convertible_to<First const&, std::string_view>)
            return first;
        else
            return {};
    }

    detail::Command encoded_;
    bool fits_;
};

/// A Lua script and the name by which the server knows it. A shared handle; make it once.
class Script {
public:
    /// Computes the name of the script, its SHA-1, once.
    explicit Script(std::string_view lua) : state_(std::make_shared<detail::Script const>(lua)) {}
    /// The Lua text that the script was made from.
    std::string_view text() const noexcept { return state_->text; }
    /// SHA-1 of the text, 40 digits.
    std::string_view name() const noexcept { return state_->name; }

private:
    std::shared_ptr<detail::Script const> state_;
};

/// A call of a script: `Evaluation{script, 1, key, argument, argument}`, where the number says how many of
/// the words are keys. As `Command` in everything else.
class Evaluation {
public:
    /// A call of `script` with its keys first, as many as `keys` says, and then its other arguments.
    template <detail::CommandWord... W>
    Evaluation(Script script, std::size_t keys, W const&... words)
        : encoded_("EVALSHA", script.name(), keys, words...), script_(std::move(script))
    {}

private:
    template <class>
    friend class BasicConnection;
    detail::Command encoded_;
    Script script_;
};

namespace detail {

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
struct ExecuteArguments {
    ExecuteArguments(
        std::shared_ptr<Pipeline<R>> with, Command command, std::optional<redis::Script> called, Access what,
        Deadline until, bool good)
        : pipeline(std::move(with)), encoded(std::move(command)), script(std::move(called)), access(what),
          deadline(until), fits(good)
    {}
    std::shared_ptr<Pipeline<R>> pipeline;
    Command encoded;
    std::optional<redis::Script> script;
    Access access;
    Deadline deadline;
    bool fits;  // the command leaves nothing behind in the connection
};

/// One command of a connection, from its start to its handler.
template <class Handler, class R>
class ExecuteOperation final : public interlock::detail::AsyncOperation<Handler, ConnectionRuntime<R>>,
                               private QueuedCommand {
    using Base = interlock::detail::AsyncOperation<Handler, ConnectionRuntime<R>>;

public:
    ExecuteOperation(Handler handler, std::unique_ptr<ExecuteArguments<R>> arguments)
        : ExecuteOperation(std::move(handler), std::move(arguments), arguments->pipeline->runtime().now())
    {}

    /// Into the queue at once: its step comes with the result.
    void start()
    {
        interlock::detail::Ref<Base> const alive{this};
        this->join();
        if (refused_)
            this->schedule();
        else
            pipeline_->submit(*this, encoded_.bytes());
    }

private:
    ExecuteOperation(Handler handler, std::unique_ptr<ExecuteArguments<R>>&& arguments, TimePoint now)
        : Base(
              std::move(handler),
              ConnectionRuntime<R>{arguments->pipeline->runtime(), arguments->pipeline->executor()}),
          QueuedCommand(arguments->access, arguments->deadline.at(now)),
          pipeline_(std::move(arguments->pipeline)), encoded_(std::move(arguments->encoded)),
          script_(std::move(arguments->script))
    {
        if (!arguments->deadline.valid())
            refused_.emplace(Errc::invalid_argument, "the deadline is not a number");
        else if (!arguments->fits)
            refused_.emplace(Errc::invalid_argument, "redis: this command needs a connection of its own");
        else if (now >= deadline())
            refused_.emplace(Errc::deadline_exceeded, "the deadline came before anything was sent to redis");
    }

    void finished() noexcept override { this->wake(); }

    bool step() override
    {
        if (refused_) {
            result_ = *std::move(refused_);
            return true;
        }
        auto* const result = pipeline_->take(*this);
        if (result == nullptr) {
            if (!this->cancel_requested())
                return false;
            result_ = pipeline_->cancel(*this);
            return true;
        }
        result_ = std::move(*result);
        if (!result_ || !result_->root().is(ReplyType::error))
            return true;
        auto const text = result_->root().text();
        if (!this->cancel_requested() && resender_.again(*pipeline_, *this, deadline(), text))
            return false;
        auto failure = map_error(text, access());
        // What a script did before it raised this, or before one of its commands was refused, is not undone.
        if (script_ && access() != Access::read && raised_by_script(text, failure.errc()))
            failure = Failure::unknown(failure.errc(), std::string(failure.detail()));
        result_ = Outcome<Reply>{std::move(failure)};
        return true;
    }

    void failed(std::exception_ptr) noexcept override
    {
        result_ = access() == Access::read ? Failure{Errc::overloaded} : Failure::unknown(Errc::overloaded);
    }

    void complete(interlock::detail::Ref<Base> self) override
    {
        auto handler = std::move(this->handler());
        auto result = std::move(result_);
        {
            interlock::detail::Ref<Base> const last = std::move(self);
        }
        std::move(handler)(std::move(result));
    }

    void leave() noexcept override { pipeline_->forget(*this); }
    void destroy() noexcept override { interlock::detail::destroy_operation(this, this->allocator()); }

    std::shared_ptr<Pipeline<R>> pipeline_;
    Command encoded_;
    std::optional<redis::Script> script_;
    Resender resender_{encoded_, script_ ? std::optional{script_->text()} : std::nullopt};
    std::optional<Failure> refused_;  // before anything was submitted
    Outcome<Reply> result_;           // for the handler
};

}  // namespace detail

/// A connection to a Redis server (7.0 or later) or Valkey (8 or later), on any Asio executor.
///
/// All commands that are issued before the executor gets to it leave in one write, whoever issued them; while
/// a write is under way the next ones gather. Replies are matched in order. The connection is made by the
/// first command and, when it was lost, by the next: with full jitter and a cap (`Options::reconnect`)
/// between attempts.
///
/// **Guarantee.** Each command completes exactly once, by its deadline, as one of *applied*, *not applied*,
/// *unknown*. Nothing is sent again after a byte of it may have left, unless the server said that it did not
/// run it: a script that it does not have; anything while it is loading its data (until the deadline, with a
/// backoff during which nothing else is sent either); a write that met a replica (once, over a new
/// connection, which is made when all replies due on the old one have come, and with backoff when that leads
/// to a replica again). A late reply is never taken for another command's. Passwords are in no error.
/// **Does not guarantee.** An order between commands issued on different threads, or between one that is sent
/// again and those behind it. Anything in a cluster. A bound on looking up the host's name, which is the
/// system's, beyond `connect_timeout`: the commands go on, but destroying the execution context waits for it.
/// **Lifetimes.** A shared handle. When the last one goes, what is pending ends as `cancelled`: not applied
/// when it was not written or only reads, else `outcome_unknown`; nothing is waited for. Handles may outlive
/// the execution context: when that is destroyed, the handlers that belong to it are destroyed, not called.
/// While nothing is pending, a connection is no work of its executor: `io_context::run` returns. After a
/// `fork` every command is `misconfigured` in the child: make a new one there.
/// **Thread safety.** Everything: safe, also on an executor with many threads.
/// **Bounds.** `Options::max_in_flight`, `max_pending`, `max_pending_bytes`, `max_reply_bytes`,
/// `reply_timeout`.
/// **Cost.** No thread of its own beyond the process's one for alarms, which keeps the deadlines; one alarm
/// per connection.
template <class Runtime>
class BasicConnection {
public:
    using executor_type = boost::asio::any_io_executor;

    /// Throws `Error` (`invalid_argument`) for options out of range. Does not connect.
    BasicConnection(boost::asio::any_io_executor executor, Options options)
        : BasicConnection(Runtime{}, std::move(executor), std::move(options))
    {}
    /// As `Options::parse`; throws `Error` (`invalid_argument`, without the URL's text).
    BasicConnection(boost::asio::any_io_executor executor, std::string_view url)
        : BasicConnection(std::move(executor), Options::parse(url).value())
    {}
    /// With a runtime that is not the system's: for tests.
    BasicConnection(Runtime runtime, boost::asio::any_io_executor executor, Options options)
        : handle_(std::make_shared<detail::PipelineHandle<Runtime>>(
              std::move(runtime), std::move(executor), std::move(options)))
    {}
    /// On the executor of an execution context.
    template <class Context, class Where>
        requires std::derived_from<Context, boost::asio::execution_context> &&
                 (std::same_as<std::remove_cvref_t<Where>, Options> ||
                  std::convertible_to<Where, std::string_view>)
    BasicConnection(Context& context, Where&& where)
        : BasicConnection(context.get_executor(), std::forward<Where>(where))
    {}

    executor_type const& get_executor() const noexcept { return handle_->pipeline->executor(); }
    Options const& options() const noexcept { return handle_->pipeline->options(); }
    ConnectionStatistics statistics() const { return handle_->pipeline->statistics(); }

    /// Sends `command` and waits for its reply. `access` says what a lost reply means.
    ///
    /// **Completion.** `void(Outcome<Reply>)`, on the handler's associated executor, or else the
    /// connection's; exactly once, never from within this call.
    /// **Outcome.** The reply, in which an array may contain errors; an error that is the whole reply is a
    /// failure: `misconfigured` (login, rights, cluster, unknown command), `unavailable` (loading, replica,
    /// busy, full, …), `corrupt_state` (a value of another type), or, for other errors of a writing command,
    /// `outcome_unknown`. When there is no reply:
    ///
    /// | why | before it was written | written, `Access::read` | written, `write` or `record` |
    /// |---|---|---|---|
    /// | deadline | `deadline_exceeded`, or why it has no connection | `deadline_exceeded` | `outcome_unknown` |
    /// | connection lost | waits for the next one | `unavailable` at once | `outcome_unknown` at once |
    /// | what came is no reply | waits for the next one | `corrupt_state` | `outcome_unknown` |
    /// | its reply was too large; the others go on | | `corrupt_state` | `outcome_unknown` |
    /// | it was cancelled, or the last handle went | `cancelled` | `cancelled` | `outcome_unknown` |
    ///
    /// `cause()` of an `outcome_unknown` is what the third column says. `overloaded`: too many wait already.
    /// `misconfigured`: the server refuses the login. `invalid_argument`: the deadline is no number, or the
    /// command would change the connection for its other users (SUBSCRIBE, MULTI, SELECT, …); nothing was
    /// sent. A command that waits on the server (BLPOP, …) is allowed and keeps all behind it waiting.
    /// **Cancellation.** All types, as the table says. The other commands are not disturbed: a reply that
    /// comes too late is dropped.
    template <boost::asio::completion_token_for<void(Outcome<Reply>)> CompletionToken>
    auto async_execute(Command command, Access access, Deadline deadline, CompletionToken&& token) const
    {
        return initiate(std::move(command.encoded_), std::nullopt, access, deadline, command.fits_, token);
    }
    template <boost::asio::completion_token_for<void(Outcome<Reply>)> CompletionToken>
    auto async_execute(Command command, Access access, CompletionToken&& token) const
    {
        return async_execute(std::move(command), access, Deadline{}, std::forward<CompletionToken>(token));
    }

    /// Runs a script by its name, and once more by its text if the server does not have it. As
    /// `async_execute`, and the one deadline covers both. An error that the script itself raised, or one of
    /// its commands (a type, a right), is `outcome_unknown` unless it only reads: what it did before is not
    /// undone.
    template <boost::asio::completion_token_for<void(Outcome<Reply>)> CompletionToken>
    auto async_evaluate(
        Evaluation evaluation, Access access, Deadline deadline, CompletionToken&& token) const
    {
        return initiate(
            std::move(evaluation.encoded_), std::move(evaluation.script_), access, deadline, true, token);
    }
    template <boost::asio::completion_token_for<void(Outcome<Reply>)> CompletionToken>
    auto async_evaluate(Evaluation evaluation, Access access, CompletionToken&& token) const
    {
        return async_evaluate(
            std::move(evaluation), access, Deadline{}, std::forward<CompletionToken>(token));
    }

private:
    template <class CompletionToken>
    auto initiate(
        detail::Command encoded, std::optional<Script> script, Access access, Deadline deadline, bool fits,
        CompletionToken& token) const
    {
        // Behind a pointer: Asio's use_awaitable keeps what it is given for as long as the call lasts.
        return boost::asio::async_initiate<CompletionToken, void(Outcome<Reply>)>(
            [](auto handler, std::unique_ptr<detail::ExecuteArguments<Runtime>> arguments) {
                using Handler = decltype(handler);
                interlock::detail::start_operation<detail::ExecuteOperation<Handler, Runtime>>(
                    std::move(handler), std::move(arguments));
            },
            token,
            std::make_unique<detail::ExecuteArguments<Runtime>>(
                handle_->pipeline, std::move(encoded), std::move(script), access, deadline, fits));
    }

    std::shared_ptr<detail::PipelineHandle<Runtime>> handle_;
};

}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_CONNECTION_HPP
