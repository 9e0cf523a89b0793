// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_RESENDER_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_RESENDER_HPP

// Commands of a pipeline that are sent again. What may be sent again is `RetryRule`'s to say.

#include <interlock/backends/redis/detail/queued_command.hpp>
#include <interlock/backends/redis/detail/retry_rule.hpp>
#include <interlock/backends/redis/detail/script_call.hpp>
#include <interlock/core/deadline.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// What one command of a pipeline needs to be sent again.
class Resender {
public:
    /// `script`: the text of what `payload` calls by its name, if it does. Both outlive this.
    Resender(Payload payload, std::optional<std::string_view> script)
        : payload_(payload), script_(script), rule_(script.has_value())
    {}
    Resender(Resender const&) = delete;
    Resender& operator=(Resender const&) = delete;

    /// Submits the command again, to leave alone. `payload` was a call of a script that left with others.
    template <class Pipeline>
    [[gnu::cold]] void alone(Pipeline& pipeline, QueuedCommand& command)
    {
        spelled_out_ = payload_.text();
        payload_ = std::string_view{spelled_out_};
        pipeline.submit(command, payload_);
    }

    /// After the server's `error`, which was taken: true, the command was submitted again; false, the error
    /// is the answer.
    template <class Pipeline>
    [[gnu::cold]] bool again(
        Pipeline& pipeline, QueuedCommand& command, TimePoint deadline, std::string_view error)
    {
        auto const& runtime = pipeline.runtime();
        auto const verdict = rule_.after_error(error, runtime.now(), deadline, runtime.random_bits());
        switch (verdict.next) {
        case RetryRule::Next::give_up: return false;
        case RetryRule::Next::later: pipeline.submit_at(command, payload_, verdict.at); return true;
        case RetryRule::Next::elsewhere: pipeline.submit_elsewhere(command, payload_); return true;
        case RetryRule::Next::spell_out: break;
        }
        spelled_out_ = spell_out(payload_.text(), *script_);
        payload_ = std::string_view{spelled_out_};
        pipeline.submit(command, payload_);
        return true;
    }

    RetryRule const& rule() const noexcept { return rule_; }

private:
    Payload payload_;
    std::optional<std::string_view> script_;
    std::string spelled_out_;  // what `payload_` refers to, once it is not what was given
    RetryRule rule_;
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_RESENDER_HPP
