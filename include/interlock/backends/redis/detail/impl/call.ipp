// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_IMPL_CALL_IPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_IMPL_CALL_IPP

#include <interlock/backends/redis/detail/call.hpp>
#include <interlock/backends/redis/detail/client_state.hpp>
#include <interlock/backends/redis/detail/error.hpp>
#include <interlock/backends/redis/detail/pipeline.hpp>
#include <interlock/backends/redis/detail/scripts.hpp>
#include <interlock/separate_compilation.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// Why a call with this deadline sends nothing, if it does not.
INTERLOCK_DECL std::optional<Failure> too_late(Deadline deadline, TimePoint now)
{
    if (!deadline.valid())
        return Failure{Errc::invalid_argument, "the deadline is not a number"};
    if (now >= deadline.at(now))
        return Failure{Errc::deadline_exceeded, "the deadline came before anything was sent to redis"};
    return std::nullopt;
}

// ---- Replicas

INTERLOCK_DECL std::string Replicas::together(std::string_view write, TimePoint now, TimePoint until) const
{
    auto const left = std::chrono::ceil<std::chrono::milliseconds>((until - now) / 2);
    Command const wait(
        "WAIT", replicas, std::max(std::min(timeout, left), std::chrono::milliseconds{1}).count());
    return std::string(write).append(wait.bytes());
}

INTERLOCK_DECL bool Replicas::enough(ReplyView waited) const noexcept
{
    return waited.is(ReplyType::integer) && waited.integer() >= static_cast<std::int64_t>(replicas);
}

INTERLOCK_DECL Failure Replicas::missing(ReplyView waited, std::string_view what) const
{
    if (waited.is(ReplyType::error))
        return map_error(waited.text(), Access::read)
            .with_detail("redis: WAIT: " + std::string(waited.text()));
    return Failure{
        Errc::unavailable, "redis: " + std::to_string(waited.integer()) + " of " + std::to_string(replicas) +
                               " replicas have the " + std::string(what)};
}

INTERLOCK_DECL Failure Replication::not_granted(ReplyView waited, bool undone) const
{
    auto failure = missing(
        waited,
        undone ? "grant; it was taken back" : "grant; it was to be taken back, or ends with its lease");
    return undone ? std::move(failure) : std::move(failure).in_doubt();
}

// ---- On the calling thread

template <class R, class What>
std::optional<Failure> exchange(
    ClientState<R>& client, Request<What> const& request, Deadline deadline, TakeReply take)
{
    if (request.refused)
        return request.refused;
    std::string text;
    std::string_view bytes;
    if constexpr (std::is_same_v<What, Command>)
        bytes = request.what.bytes();
    else
        bytes = text = request.what.text();
    auto exchanged = client.execute(bytes, request.script, request.access, deadline, nullptr, request.life);
    if (!exchanged)
        return std::move(exchanged).failure();
    take(exchanged->reply());
    return std::nullopt;
}

template <class R>
std::optional<Failure> exchange_replicated(
    ClientState<R>& client, Request<ScriptCall> const& request, Deadline deadline,
    Replication const& replication, TakeReply take)
{
    if (request.refused)
        return request.refused;
    auto const now = client.runtime().now();
    if (auto late = too_late(deadline, now))
        return late;
    auto const until = deadline.at(now);
    Reply waited;
    {
        auto exchanged = client.execute(
            replication.together(request.what.text(), now, until), request.script, Access::write,
            Deadline{until}, &waited);
        if (!exchanged)
            return std::move(exchanged).failure();
        if (!take(exchanged->reply()) || replication.enough(waited.root()))
            return std::nullopt;
    }
    auto const undone = client.execute(
        replication.undo.text(), &replication.undo.script(), Access::write, Deadline{until}, nullptr);
    return replication.not_granted(waited.root(), static_cast<bool>(undone));
}

// ---- Over the shared connection

template <class R, class What>
void set_time(ClientState<R>& client, Request<What>& request, Deadline deadline)
{
    if (request.refused)
        return;
    auto const now = client.runtime().now();
    request.refused = too_late(deadline, now);
    request.until = deadline.at(now);
}

template <class R>
SentCommand<R>::SentCommand(
    ClientState<R>& client, Payload payload, Script const* script, Access access, TimePoint until,
    std::uint64_t life, Waiter& waiter)
    : QueuedCommand(access, until), pipeline_(client.pipeline()), payload_(payload),
      resender_(payload, script != nullptr ? std::optional<std::string_view>{script->text} : std::nullopt),
      waiter_(waiter)
{
    of_life(life);
}

template <class R>
void SentCommand<R>::forget() noexcept
{
    pipeline_->forget(*this);
}

template <class R>
void SentCommand<R>::start() noexcept
{
    pipeline_->submit(*this, payload_);
}

template <class R>
std::optional<Outcome<ReplyView>> SentCommand<R>::poll()
{
    auto* const result = pipeline_->take(*this);
    if (result == nullptr)
        return std::nullopt;
    if (!*result)
        return Outcome<ReplyView>{resender_.rule().explained(std::move(*result).failure())};
    auto const reply = (*result)->root();
    if (asks_for_one(reply)) {
        resender_.alone(*pipeline_, *this);
        return std::nullopt;
    }
    if (!reply.is(ReplyType::error))
        return Outcome<ReplyView>{reply};
    // One key that the user may not touch refuses a command as a whole, and nothing of it was carried out.
    if (answered_with_others() && error_word(reply.text()) == "NOPERM") {
        resender_.alone(*pipeline_, *this);
        return std::nullopt;
    }
    if (resender_.again(*pipeline_, *this, deadline(), reply.text()))
        return std::nullopt;
    return Outcome<ReplyView>{map_error(reply.text(), access())};
}

template <class R>
Failure SentCommand<R>::reason()
{
    auto reason = pipeline_->reason(*this);
    return reason.errc() != Errc::ok ? reason : resender_.rule().refused();
}

template <class R>
void SentCommand<R>::finished() noexcept
{
    waiter_.wake();
}

template <class R>
ReplicatedCommand<R>::ReplicatedCommand(
    ClientState<R>& client, Request<ScriptCall>&& request, Waiter& waiter, Replication&& replication)
    : QueuedCommand(Access::write, request.until), pipeline_(client.pipeline()),
      replication_(std::move(replication)),
      bytes_(replication_.together(request.what.text(), client.runtime().now(), request.until)),
      resender_(std::string_view{bytes_}, request.script->text),
      undo_resender_(replication_.undo, replication_.undo.script().text), waiter_(waiter)
{}

template <class R>
void ReplicatedCommand<R>::forget() noexcept
{
    pipeline_->forget(*this);
}

template <class R>
void ReplicatedCommand<R>::start() noexcept
{
    expect_second(&waited_);
    pipeline_->submit(*this, std::string_view{bytes_});
}

template <class R>
std::optional<Outcome<ReplyView>> ReplicatedCommand<R>::poll()
{
    auto* const result = pipeline_->take(*this);
    if (result == nullptr)
        return std::nullopt;
    if (!*result)
        return Outcome<ReplyView>{
            undoing_ ? replication_.not_granted(waited_.root(), false)
                     : resender_.rule().explained(std::move(*result).failure())};
    auto const reply = (*result)->root();
    bool const refused = reply.is(ReplyType::error);
    if (refused && (undoing_ ? undo_resender_ : resender_).again(*pipeline_, *this, deadline(), reply.text()))
        return std::nullopt;
    if (undoing_)
        return Outcome<ReplyView>{replication_.not_granted(waited_.root(), !refused)};
    if (refused)
        return Outcome<ReplyView>{map_error(reply.text(), Access::write)};
    return Outcome<ReplyView>{reply};
}

template <class R>
Failure ReplicatedCommand<R>::reason()
{
    auto reason = pipeline_->reason(*this);
    return reason.errc() != Errc::ok ? reason : resender_.rule().refused();
}

/// False: too few replicas have the write, and it is being taken back.
template <class R>
bool ReplicatedCommand<R>::settled() noexcept
{
    if (replication_.enough(waited_.root()))
        return true;
    undoing_ = true;
    expect_second(nullptr);
    pipeline_->submit(*this, replication_.undo);
    return false;
}

template <class R>
void ReplicatedCommand<R>::finished() noexcept
{
    waiter_.wake();
}

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_IMPL_CALL_IPP
