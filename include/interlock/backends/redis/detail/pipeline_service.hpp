// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_PIPELINE_SERVICE_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_PIPELINE_SERVICE_HPP

// What tells the pipelines of an execution context that the context goes away.

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/query.hpp>

#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// A pipeline, as its execution context knows it.
class PipelineMember {
public:
    PipelineMember() = default;
    PipelineMember(PipelineMember const&) = delete;
    PipelineMember& operator=(PipelineMember const&) = delete;
    virtual ~PipelineMember() = default;
    /// The execution context goes away: lets go of everything that belongs to it.
    virtual void abandon() noexcept = 0;
};

/// The pipelines of one execution context.
class PipelineService final : public boost::asio::execution_context::service {
public:
    /// Outlives the context in the pipelines that do.
    ///
    /// **Thread safety.** Everything: safe.
    class List {
    public:
        [[gnu::cold]] void add(std::shared_ptr<PipelineMember> const& member)
        {
            std::lock_guard lock(mutex_);
            members_.emplace(member.get(), member);
        }
        [[gnu::cold]] void remove(PipelineMember& member) noexcept
        {
            std::lock_guard lock(mutex_);
            members_.erase(&member);
        }
        [[gnu::cold]] void abandon()
        {
            std::vector<std::shared_ptr<PipelineMember>> alive;
            {
                std::lock_guard lock(mutex_);
                for (auto const& entry : members_)
                    if (auto member = entry.second.lock())
                        alive.push_back(std::move(member));
            }
            for (auto const& member : alive)
                member->abandon();
        }

    private:
        std::mutex mutex_;
        std::map<PipelineMember*, std::weak_ptr<PipelineMember>> members_;
    };

    using key_type = PipelineService;
    inline static boost::asio::execution_context::id id;

    explicit PipelineService(boost::asio::execution_context& context) : service(context) {}

    [[gnu::cold]] static std::shared_ptr<List> of(boost::asio::any_io_executor const& executor)
    {
        auto& context = boost::asio::query(executor, boost::asio::execution::context);
        return boost::asio::use_service<PipelineService>(context).list_;
    }

private:
    void shutdown() noexcept override { list_->abandon(); }

    std::shared_ptr<List> list_{std::make_shared<List>()};
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_PIPELINE_SERVICE_HPP
