// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_CONNECTION_HPP
#define INTERLOCK_BACKENDS_REDIS_CONNECTION_HPP

/// @file
/// One asynchronous connection to a Redis server, shared by many coroutines and threads: for a program that
/// sends commands and scripts of its own.
///
///     interlock::redis::Connection const redis{context, "redis://localhost"};
///     interlock::redis::Command const get{"GET", "greeting"};
///     auto const reply = co_await redis.async_execute(get, interlock::redis::Access::read, asio::deferred);
///     if (reply && !reply->root().is(interlock::redis::ReplyType::nil))
///         std::cout << reply->root().text();

#include <interlock/backends/redis/access.hpp>
#include <interlock/backends/redis/connection_statistics.hpp>
#include <interlock/backends/redis/detail/command.hpp>
#include <interlock/backends/redis/detail/execute_operation.hpp>
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
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {

/// A command and its arguments, ready to be sent: `Command{"SET", key, value, "PX", 1000}`. Any byte may be
/// in an argument; numbers are written in decimal.
///
/// **Lifetimes.** Keeps a copy: nothing that the command was made from need outlive it.
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
    bool fits_;  // the command has one reply at once, and leaves nothing behind in the connection
};

/// A Lua script and the name by which the server knows it.
///
/// **Lifetimes.** A shared handle. Make it once, and keep it: its name takes a hash of the whole text.
/// **Thread safety.** Everything: safe.
class Script {
public:
    /// Computes the name of the script, its SHA-1, once.
    explicit Script(std::string_view lua);
    /// The Lua text that the script was made from.
    std::string_view text() const noexcept { return state_->text; }
    /// SHA-1 of the text, 40 digits.
    std::string_view name() const noexcept { return state_->name; }

private:
    template <class>
    friend class BasicConnection;
    std::shared_ptr<detail::Script const> state_;  // the text and the name: all copies have the same
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
    BasicConnection(boost::asio::any_io_executor executor, Options options);
    /// As `Options::parse`; throws `Error` (`invalid_argument`, without the URL's text).
    BasicConnection(boost::asio::any_io_executor executor, std::string_view url);
    /// With a runtime that is not the system's: for tests.
    BasicConnection(Runtime runtime, boost::asio::any_io_executor executor, Options options);
    /// On the executor of an execution context; `where` is options or a URL.
    template <class Context, class Where>
        requires std::derived_from<Context, boost::asio::execution_context> &&
                 (std::same_as<std::remove_cvref_t<Where>, Options> ||
                  std::convertible_to<Where, std::string_view>)
    BasicConnection(Context& context, Where&& where)
        : BasicConnection(context.get_executor(), std::forward<Where>(where))
    {}

    /// Where the I/O is done, and where handlers without an executor of their own run.
    executor_type const& get_executor() const noexcept;
    /// The options that the connection was made with.
    Options const& options() const noexcept;
    /// What the connection has done so far.
    ConnectionStatistics statistics() const;

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
    /// | deadline | `deadline_exceeded`, or why it has no connection | `deadline_exceeded` |
    /// `outcome_unknown` |
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
        return initiate(std::move(command.encoded_), nullptr, access, deadline, command.fits_, token);
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
            std::move(evaluation.encoded_), std::move(evaluation.script_.state_), access, deadline, true,
            token);
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
        detail::Command encoded, std::shared_ptr<detail::Script const> script, Access access,
        Deadline deadline, bool fits, CompletionToken& token) const
    {
        using Arguments = detail::ExecuteArguments<Runtime>;
        // Behind a pointer: Asio's use_awaitable keeps what it is given for as long as the call lasts.
        return boost::asio::async_initiate<CompletionToken, void(Outcome<Reply>)>(
            [](auto handler, std::unique_ptr<Arguments> arguments) {
                using Operation = detail::ExecuteOperation<decltype(handler), Runtime>;
                interlock::detail::start_operation<Operation>(std::move(handler), std::move(arguments));
            },
            token,
            std::make_unique<Arguments>(
                pipeline(), std::move(encoded), std::move(script), access, deadline, fits));
    }
    std::shared_ptr<detail::Pipeline<Runtime>> const& pipeline() const noexcept;

    // The connection itself, which ends with the last handle.
    std::shared_ptr<detail::PipelineHandle<Runtime>> handle_;
};

}  // namespace redis
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/redis/impl/connection.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_REDIS_CONNECTION_HPP
