// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_CALL_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_CALL_HPP

// The two ways in which a member of a repository is carried out. Each member is written once, for either: it makes a
// command, and says what the reply means.

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/detail/error.hpp>
#include <interlock/backends/redis/detail/hiredis.hpp>
#include <interlock/backends/redis/detail/pipeline.hpp>
#include <interlock/backends/redis/detail/scripts.hpp>
#include <interlock/core/concepts.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/runtime.hpp>

#include <memory>
#include <optional>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// On the calling thread, over a pooled connection.
class Blocking {
public:
    template <class X>
    using result = Outcome<X>;

    explicit Blocking(ClientState& client) noexcept : client_(client) {}

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
    /// `script`: what `command` calls, if it does. `read(ReplyView)` is an `Outcome<X>`. Nothing else is under way that the
    /// command could be folded with.
    template <class X, class Read>
    Outcome<X> send(
        Command&& command, Script const* script, Access access, Deadline deadline, Read read, Folding = {}) const
    {
        auto exchange = client_.execute(command, script, access, deadline);
        if (!exchange)
            return std::move(exchange).failure();
        return read(exchange->reply());
    }

private:
    ClientState& client_;
};

/// One whose outcome was known at once.
template <class X>
class KnownCall final : public StoreCall<X> {
public:
    explicit KnownCall(Outcome<X> outcome) : outcome_(std::move(outcome)) {}
    std::optional<Outcome<X>> poll() override { return std::move(outcome_); }

private:
    Outcome<X> outcome_;
};

/// One request of the shared connection.
template <class X, class Read>
class PipelinedCall final : public StoreCall<X>, private PipelineRequest {
public:
    PipelinedCall(
        std::shared_ptr<Pipeline> pipeline, Command&& command, Script const* script, Access access, TimePoint until,
        Waiter& waiter, Read read)
        : PipelineRequest(access, until), pipeline_(std::move(pipeline)), command_(std::move(command)),
          resender_(command_.bytes(), script != nullptr ? std::optional<std::string_view>{script->text} : std::nullopt),
          waiter_(waiter), read_(std::move(read))
    {}
    ~PipelinedCall() override { pipeline_->forget(*this); }

    void start(Folding folding) noexcept
    {
        auto const bytes = command_.bytes();
        pipeline_->submit(*this, bytes, folding.own_keys != 0 ? Foldable{bytes, folding} : Foldable{});
    }

    std::optional<Outcome<X>> poll() override
    {
        auto result = pipeline_->take(*this);
        if (!result)
            return std::nullopt;
        if (!*result)
            return Outcome<X>{std::move(*result).failure()};
        auto const reply = (*result)->root();
        if (!reply.is(ReplyType::error))
            return read_(reply);
        if (resender_.again(*pipeline_, *this, deadline(), reply.text()))
            return std::nullopt;
        return Outcome<X>{map_error(reply.text(), access())};
    }

private:
    void finished() noexcept override { waiter_.wake(); }

    std::shared_ptr<Pipeline> pipeline_;
    Command command_;
    Resender resender_;
    Waiter& waiter_;
    Read read_;
};

/// Started on the shared connection; blocks nobody.
class Starting {
public:
    template <class X>
    using result = StartedCall<X>;

    Starting(ClientState& client, Waiter& waiter) noexcept : client_(client), waiter_(waiter) {}

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
        Command&& command, Script const* script, Access access, Deadline deadline, Read read, Folding folding = {}) const
    {
        if (!deadline.valid())
            return refuse<X>(Failure{Errc::invalid_argument, "the deadline is not a number"});
        auto const now = SystemRuntime::now();
        auto const until = deadline.at(now);
        if (now >= until)
            return refuse<X>(Failure{Errc::deadline_exceeded, "the deadline came before anything was sent to redis"});
        auto call = std::make_unique<PipelinedCall<X, Read>>(
            client_.pipeline(), std::move(command), script, access, until, waiter_, std::move(read));
        call->start(folding);
        return call;
    }

private:
    ClientState& client_;
    Waiter& waiter_;
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_CALL_HPP
