// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_PIPELINE_HANDLE_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_PIPELINE_HANDLE_HPP

// Who owns a pipeline.

#include <interlock/backends/redis/detail/life.hpp>
#include <interlock/backends/redis/detail/pipeline.hpp>
#include <interlock/backends/redis/options.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <memory>
#include <new>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// Closes its pipeline when it goes.
template <class R>
class PipelineHandle {
public:
    [[gnu::cold]] PipelineHandle(
        R runtime, boost::asio::any_io_executor executor, Options const& options,
        std::shared_ptr<Life> life = nullptr)
    {
        options.validate().value();
        pipeline = Pipeline<R>::make(std::move(runtime), std::move(executor), options, std::move(life));
    }
    PipelineHandle(PipelineHandle const&) = delete;
    PipelineHandle& operator=(PipelineHandle const&) = delete;
    [[gnu::cold]] ~PipelineHandle()
    {
        if (!pipeline)
            return;
        // In a forked child it is kept for ever: what polls the socket is shared with the parent, whose
        // connection must not be taken out of it.
        if (pipeline->forked())
            static_cast<void>(new (std::nothrow) std::shared_ptr<Pipeline<R>>(pipeline));
        else
            pipeline->close();
    }
    std::shared_ptr<Pipeline<R>> pipeline;
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_PIPELINE_HANDLE_HPP
