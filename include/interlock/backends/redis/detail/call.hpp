// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_CALL_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_CALL_HPP

// The two ways in which a repository sends a command: on the calling thread (`Blocking`), or over the shared
// connection, where nobody is blocked (`Starting`). Each member of a repository is written once, for both: it
// makes a command, and says what the reply means.

#include <interlock/backends/redis/access.hpp>
#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/detail/command.hpp>
#include <interlock/backends/redis/detail/error.hpp>
#include <interlock/backends/redis/detail/pipeline.hpp>
#include <interlock/backends/redis/detail/queued_command.hpp>
#include <interlock/backends/redis/detail/resender.hpp>
#include <interlock/backends/redis/detail/scripts.hpp>
#include <interlock/backends/redis/reply.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/deadline.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// Why a call with this deadline sends nothing, if it does not.
inline std::optional<Failure> too_late(Deadline deadline, TimePoint now)
{
    if (!deadline.valid())
        return Failure{Errc::invalid_argument, "the deadline is not a number"};
    if (now >= deadline.at(now))
        return Failure{Errc::deadline_exceeded, "the deadline came before anything was sent to redis"};
    return std::nullopt;
}

/// For a write that counts only once `replicas` replicas have it, and is taken back otherwise.
struct Replication {
    std::size_t replicas;
    std::chrono::milliseconds timeout;  // how long the replicas may take
    ScriptCall undo;                    // takes the write back

    /// The write and the question to the replicas (WAIT), as they leave together: WAIT is about what its own
    /// connection wrote last. Half of the time is left for taking the write back.
    std::string together(ScriptCall const& call, TimePoint now, TimePoint until) const
    {
        auto const left = std::chrono::ceil<std::chrono::milliseconds>((until - now) / 2);
        Command const wait(
            "WAIT", replicas, std::max(std::min(timeout, left), std::chrono::milliseconds{1}).count());
        return call.text().append(wait.bytes());
    }
    bool enough(ReplyView waited) const noexcept
    {
        return waited.is(ReplyType::integer) && waited.integer() >= static_cast<std::int64_t>(replicas);
    }
    /// Why the write does not count. `undone`: it is known to have been taken back.
    Failure missing(ReplyView waited, bool undone) const
    {
        Failure failure{
            Errc::unavailable, "redis: " + std::to_string(waited.integer()) + " of " +
                                   std::to_string(replicas) + " replicas have the grant; it was " +
                                   (undone ? "taken back" : "to be taken back, or ends with its lease")};
        if (waited.is(ReplyType::error))
            failure = Failure{
                map_error(waited.text(), Access::read).errc(), "redis: WAIT: " + std::string(waited.text())};
        return undone ? failure : Failure::unknown(failure.errc(), std::string(failure.detail()));
    }
};

/// On the calling thread, over a pooled connection.
template <class R>
class Blocking {
public:
    template <class X>
    using result = Outcome<X>;

    explicit Blocking(ClientState<R>& client) noexcept : client_(client) {}

    template <class X>
    Outcome<X> refuse(Failure failure) const
    {
        return failure;
    }
    /// There is nothing to be done.
    template <class X>
    Outcome<X> nothing() const
    {
        return X{};
    }
    /// `script`: what `command` calls, if it does. `read(ReplyView)` is an `Outcome<X>`. `life`: as
    /// `ClientState::execute`.
    template <class X, class Read>
    Outcome<X> send(
        Command&& command, Script const* script, Access access, Deadline deadline, Read read,
        std::uint64_t life = 0) const
    {
        return send<X>(command.bytes(), script, access, deadline, std::move(read), nullptr, life);
    }
    template <class X, class Read>
    Outcome<X> send(ScriptCall&& call, Access access, Deadline deadline, Read read) const
    {
        return send<X>(call.text(), &call.script(), access, deadline, std::move(read));
    }
    template <class X, class Read>
    Outcome<X> send_replicated(
        ScriptCall&& call, Deadline deadline, Read read, Replication&& replication) const
    {
        auto const now = client_.runtime().now();
        if (auto late = too_late(deadline, now))
            return *std::move(late);
        auto const until = deadline.at(now);
        Reply waited;
        auto outcome = send<X>(
            replication.together(call, now, until), &call.script(), Access::write, Deadline{until},
            std::move(read), &waited);
        if (!outcome || replication.enough(waited.root()))
            return outcome;
        auto const undone = client_.execute(
            replication.undo.text(), &replication.undo.script(), Access::write, Deadline{until}, nullptr);
        return replication.missing(waited.root(), static_cast<bool>(undone));
    }

private:
    template <class X, class Read>
    Outcome<X> send(
        std::string_view bytes, Script const* script, Access access, Deadline deadline, Read read,
        Reply* second = nullptr, std::uint64_t life = 0) const
    {
        auto exchange = client_.execute(bytes, script, access, deadline, second, life);
        if (!exchange)
            return std::move(exchange).failure();
        return read(exchange->reply());
    }

    ClientState<R>& client_;
};

/// A call whose outcome was known at once: nothing was sent.
template <class X>
class KnownCall final : public StoreCall<X> {
public:
    explicit KnownCall(Outcome<X> outcome) : outcome_(std::move(outcome)) {}
    std::optional<Outcome<X>> poll() override { return std::move(outcome_); }

private:
    Outcome<X> outcome_;
};

/// One command of the shared connection. `What` is a `Command` or a `ScriptCall`.
template <class X, class R, class What, class Read>
class PipelinedCall final : public StoreCall<X>, private QueuedCommand {
public:
    PipelinedCall(
        std::shared_ptr<Pipeline<R>> pipeline, What&& what, Script const* script, Access access,
        TimePoint until, Waiter& waiter, Read read)
        : QueuedCommand(access, until), pipeline_(std::move(pipeline)), what_(std::move(what)),
          resender_(what_, script != nullptr ? std::optional<std::string_view>{script->text} : std::nullopt),
          waiter_(waiter), read_(std::move(read))
    {}
    ~PipelinedCall() override { pipeline_->forget(*this); }

    void start(std::uint64_t life) noexcept
    {
        of_life(life);
        pipeline_->submit(*this, what_);
    }

    std::optional<Outcome<X>> poll() override
    {
        auto* const result = pipeline_->take(*this);
        if (result == nullptr)
            return std::nullopt;
        if (!*result)
            return Outcome<X>{std::move(*result).failure()};
        auto const reply = (*result)->root();
        if (asks_for_one(reply)) {
            resender_.alone(*pipeline_, *this);
            return std::nullopt;
        }
        if (!reply.is(ReplyType::error))
            return read_(reply);
        if (resender_.again(*pipeline_, *this, deadline(), reply.text()))
            return std::nullopt;
        return Outcome<X>{map_error(reply.text(), access())};
    }

private:
    void finished() noexcept override { waiter_.wake(); }

    std::shared_ptr<Pipeline<R>> pipeline_;
    What what_;
    Resender resender_;
    Waiter& waiter_;
    Read read_;
};

/// A write that counts only once replicas have it: one command of the shared connection, and, where they do
/// not have it in time, a second one that takes it back.
template <class X, class R, class Read>
class ReplicatedCall final : public StoreCall<X>, private QueuedCommand {
public:
    ReplicatedCall(
        std::shared_ptr<Pipeline<R>> pipeline, std::string bytes, Script const& script, TimePoint until,
        Waiter& waiter, Read read, Replication&& replication)
        : QueuedCommand(Access::write, until), pipeline_(std::move(pipeline)), bytes_(std::move(bytes)),
          replication_(std::move(replication)), resender_(std::string_view{bytes_}, script.text),
          undo_resender_(replication_.undo, replication_.undo.script().text), waiter_(waiter),
          read_(std::move(read))
    {}
    ~ReplicatedCall() override { pipeline_->forget(*this); }

    void start() noexcept
    {
        expect_second(&waited_);
        pipeline_->submit(*this, std::string_view{bytes_});
    }

    std::optional<Outcome<X>> poll() override
    {
        auto* const result = pipeline_->take(*this);
        if (result == nullptr)
            return std::nullopt;
        if (!*result)
            return Outcome<X>{
                undoing_ ? replication_.missing(waited_.root(), false) : std::move(*result).failure()};
        auto const reply = (*result)->root();
        bool const refused = reply.is(ReplyType::error);
        if (refused &&
            (undoing_ ? undo_resender_ : resender_).again(*pipeline_, *this, deadline(), reply.text()))
            return std::nullopt;
        if (undoing_)
            return Outcome<X>{replication_.missing(waited_.root(), !refused)};
        if (refused)
            return Outcome<X>{map_error(reply.text(), Access::write)};
        auto outcome = read_(reply);
        if (!outcome || replication_.enough(waited_.root()))
            return outcome;
        undoing_ = true;
        expect_second(nullptr);
        pipeline_->submit(*this, replication_.undo);
        return std::nullopt;
    }

private:
    void finished() noexcept override { waiter_.wake(); }

    std::shared_ptr<Pipeline<R>> pipeline_;
    std::string bytes_;
    Replication replication_;
    Reply waited_;
    Resender resender_;
    Resender undo_resender_;
    Waiter& waiter_;
    Read read_;
    bool undoing_{false};
};

/// Over the shared connection. Nobody is blocked: `waiter` is woken when there is an outcome.
template <class R>
class Starting {
public:
    template <class X>
    using result = StartedCall<X>;

    Starting(ClientState<R>& client, Waiter& waiter) noexcept : client_(client), waiter_(waiter) {}

    template <class X>
    StartedCall<X> refuse(Failure failure) const
    {
        return std::make_unique<KnownCall<X>>(std::move(failure));
    }
    template <class X>
    StartedCall<X> nothing() const
    {
        return std::make_unique<KnownCall<X>>(X{});
    }
    template <class X, class Read>
    StartedCall<X> send(
        Command&& command, Script const* script, Access access, Deadline deadline, Read read,
        std::uint64_t life = 0) const
    {
        return start<X>(std::move(command), script, access, deadline, std::move(read), life);
    }
    template <class X, class Read>
    StartedCall<X> send(ScriptCall&& call, Access access, Deadline deadline, Read read) const
    {
        auto const* const script = &call.script();
        return start<X>(std::move(call), script, access, deadline, std::move(read));
    }
    template <class X, class Read>
    StartedCall<X> send_replicated(
        ScriptCall&& script_call, Deadline deadline, Read read, Replication&& replication) const
    {
        auto const now = client_.runtime().now();
        if (auto late = too_late(deadline, now))
            return refuse<X>(*std::move(late));
        auto bytes = replication.together(script_call, now, deadline.at(now));
        auto call = std::make_unique<ReplicatedCall<X, R, Read>>(
            client_.pipeline(), std::move(bytes), script_call.script(), deadline.at(now), waiter_,
            std::move(read), std::move(replication));
        call->start();
        return call;
    }

private:
    template <class X, class What, class Read>
    StartedCall<X> start(
        What&& what, Script const* script, Access access, Deadline deadline, Read read,
        std::uint64_t life = 0) const
    {
        auto const now = client_.runtime().now();
        if (auto late = too_late(deadline, now))
            return refuse<X>(*std::move(late));
        auto call = std::make_unique<PipelinedCall<X, R, What, Read>>(
            client_.pipeline(), std::move(what), script, access, deadline.at(now), waiter_, std::move(read));
        call->start(life);
        return call;
    }

    ClientState<R>& client_;
    Waiter& waiter_;
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_CALL_HPP
