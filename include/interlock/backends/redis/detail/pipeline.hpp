// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_PIPELINE_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_PIPELINE_HPP

// One connection that many asynchronous commands share: the driver of a `CommandQueue`, which decides
// everything.
//
// Commands may come from any thread: the mutex guards the queue. The socket belongs to the strand. The first
// command after an idle time posts a turn to the strand, so that the turn finds all that were issued before
// it ran; while a write is under way further commands gather for the next one. Nothing is read while no reply
// is due: an idle connection is no work of its executor. What the server did meanwhile is looked at before
// the next write.
//
// Order of mutexes: the pipeline's, then that of a command's operation, then that of its context's list.

#include <interlock/backends/redis/connection_statistics.hpp>
#include <interlock/backends/redis/detail/command_queue.hpp>
#include <interlock/backends/redis/detail/connector.hpp>
#include <interlock/backends/redis/detail/error.hpp>
#include <interlock/backends/redis/detail/life.hpp>
#include <interlock/backends/redis/detail/pipeline_service.hpp>
#include <interlock/backends/redis/detail/queued_command.hpp>
#include <interlock/backends/redis/detail/wire.hpp>
#include <interlock/backends/redis/options.hpp>
#include <interlock/backends/redis/reply.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/kit/assertion.hpp>
#include <interlock/core/observer.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/runtime/alarm.hpp>
#include <interlock/core/runtime/runtime.hpp>
#include <interlock/core/runtime/socket.hpp>
#include <interlock/core/runtime/without_cancellation.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/system/error_code.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// Asio writes to a descriptor where it wakes a thread, so that it may throw the cancellation of the thread
/// that asks for something (`pthread_cancel`).
using Whole = interlock::detail::WithoutCancellation;

/// `R`: the runtime, whose clock, alarms and random bits it uses.
///
/// **Thread safety.** `submit`, `take`, `cancel`, `forget`, `close`, `statistics`: safe.
template <class R>
class Pipeline final : public Alarm, public PipelineMember, public std::enable_shared_from_this<Pipeline<R>> {
public:
    /// `life`: null where nobody cares which server it is.
    [[gnu::cold]] static std::shared_ptr<Pipeline> make(
        R runtime, boost::asio::any_io_executor executor, Options const& options, std::shared_ptr<Life> life)
    {
        Whole const whole;
        std::shared_ptr<Pipeline> pipeline(
            new Pipeline(std::move(runtime), std::move(executor), options, std::move(life)));
        pipeline->service_list_->add(pipeline);
        return pipeline;
    }
    Pipeline(Pipeline const&) = delete;
    Pipeline& operator=(Pipeline const&) = delete;
    [[gnu::cold]] ~Pipeline() override;

    Options const& options() const noexcept { return options_; }
    R const& runtime() const noexcept { return runtime_; }
    boost::asio::any_io_executor const& executor() const noexcept { return executor_; }
    bool forked() const noexcept { return runtime_.generation() != generation_; }
    ConnectionStatistics statistics() const
    {
        std::lock_guard lock(mutex_);
        return queue_.statistics();
    }

    // ---- For those who send commands: see the members of `CommandQueue` with the same names
    void submit(QueuedCommand& command, Payload payload) noexcept
    {
        if (forked())  // the mutex may be one that nobody here will unlock
            return command.refuse(Failure{
                Errc::misconfigured,
                "this redis connection was made before a fork; make a new one in the child"});
        std::lock_guard lock(mutex_);
        arrange(command, queue_.submit(command, payload));
    }
    void submit_at(QueuedCommand& command, Payload payload, TimePoint at) noexcept
    {
        std::lock_guard lock(mutex_);
        arrange(command, queue_.submit_at(command, payload, at));
    }
    void submit_elsewhere(QueuedCommand& command, Payload payload) noexcept
    {
        std::lock_guard lock(mutex_);
        arrange(command, queue_.submit_elsewhere(command, payload));
    }
    /// The outcome, once there is one, which stays where it is until the command is submitted again; it is
    /// idle from now on.
    Outcome<Reply>* take(QueuedCommand& command) noexcept
    {
        if (!command.has_outcome())
            return nullptr;
        std::lock_guard lock(mutex_);  // `finished()` may not have returned yet
        return command.take();
    }
    [[gnu::cold]] Outcome<Reply> cancel(QueuedCommand& command)
    {
        std::lock_guard lock(mutex_);
        auto outcome = queue_.cancel(command);
        settle_work();
        return outcome;
    }
    [[gnu::cold]] Failure reason(QueuedCommand const& command)
    {
        std::lock_guard lock(mutex_);
        return command.reason(queue_.reason());
    }
    void forget(QueuedCommand& command) noexcept
    {
        if (!command.is_submitted())
            return;
        std::lock_guard lock(mutex_);
        queue_.forget(command);
        settle_work();
    }

    /// Nobody will ask for more: all commands end as cancelled.
    [[gnu::cold]] void close() noexcept;
    /// The execution context goes away.
    [[gnu::cold]] void abandon() noexcept override;
    [[gnu::cold]] void ring() noexcept override;

private:
    using Error = boost::system::error_code;
    using Lock = std::unique_lock<std::mutex>;
    using Self = std::shared_ptr<Pipeline>;

    // One type of handler for each kind of operation: Asio's part of an operation is compiled for each type.
    struct Turn {
        void operator()() const { (*self.*take)(); }
        Self self;
        void (Pipeline::*take)();
    };
    struct Transfer {
        void operator()(Error error, std::size_t size) { then(std::move(self), error, size); }
        Self self;
        void (*then)(Self, Error, std::size_t);
    };

    [[gnu::cold]] Pipeline(
        R runtime, boost::asio::any_io_executor executor, Options const& options, std::shared_ptr<Life> life)
        : options_(options), life_(std::move(life)), runtime_(std::move(runtime)),
          executor_(std::move(executor)), generation_(runtime_.generation()),
          service_list_(PipelineService::of(executor_)), wire_(std::make_unique<Wire>(executor_))
    {}

    /// False: that was done before.
    [[gnu::cold]] bool end() noexcept
    {
        bool first = false;
        {
            std::lock_guard lock(mutex_);
            first = !std::exchange(closed_, true);
        }
        runtime_.cancel(*this);
        std::lock_guard lock(mutex_);
        queue_.close();
        settle_work();
        return first;
    }

    /// The mutex is held, as in everything down to the strand's functions.
    void arrange(QueuedCommand& command, bool submitted) noexcept
    {
        INTERLOCK_ASSERT(interlock::detail::is_locked(mutex_), "the mutex guards the queue");
        if (!submitted)
            return;
        Whole const whole;
        try {
            arm(command.deadline());
            if (!turn_posted_ && queue_.wanted()) {
                boost::asio::post(wire_->strand, Turn{this->shared_from_this(), &Pipeline::turn});
                turn_posted_ = true;
            }
        } catch (...) {
            queue_.refuse(command);  // no memory, or no thread for the alarm
        }
    }
    void arm(TimePoint at)
    {
        if (at >= alarm_at_ || closed_)
            return;
        runtime_.arm(*this, at);
        alarm_at_ = at;
    }
    /// No work is kept for the executor, unless commands wait for time.
    void settle_work() noexcept
    {
        if (!work_ || queue_.waits())
            return;
        Whole const whole;
        work_ = {};
    }

    // ---- From here on: on the strand.
    void turn()
    {
        Lock lock(mutex_);
        turn_posted_ = false;
        advance(lock);
    }

    /// Carries out what the queue decides. The last thing of a handler: may let go of the lock.
    void advance(Lock& lock)
    {
        for (;;) {
            settle_work();
            if (closed_ || queue_.nothing_to_send())
                return;
            auto const action = queue_.next(runtime_.now(), life_ ? life_->number() : 0);
            if (action.alarm != TimePoint::max())
                arm(action.alarm);
            switch (action.step) {
            case QueueStep::rest: return;
            case QueueStep::look: queue_.looked(interlock::detail::quiet(wire_->socket)); break;
            case QueueStep::close:
                close_connection();
                queue_.closed(runtime_.now(), runtime_.random_bits());
                lock.unlock();
                observe_connection(options_, ConnectionEvent::Kind::lost, Errc::unavailable);
                lock.lock();
                break;
            case QueueStep::connect: lock.unlock(); return connector_.start(this->shared_from_this());
            case QueueStep::wait:
                work_ = boost::asio::prefer(executor_, boost::asio::execution::outstanding_work.tracked);
                return;
            case QueueStep::write: return write(lock, false);
            case QueueStep::write_and_read: return write(lock, true);
            }
        }
    }

    // ---- Writing
    void write(Lock& lock, bool read)
    {
        lock.unlock();
        if (!wire_->begin_to_write(queue_.batch())) {
            lock.lock();
            queue_.write_ended();
            if (read)
                queue_.read_ended();
            return lose(lock, Errc::unavailable, std::string(wire_->tls->session().failure().detail()));
        }
        write_some();
        if (read)
            read_some();
    }
    void write_some()
    {
        auto const bytes = wire_->unwritten();
        wire_->socket.async_write_some(
            boost::asio::buffer(bytes.data(), bytes.size()),
            Transfer{this->shared_from_this(), [](Self self, Error error, std::size_t size) {
                         self->on_written(error, size);
                     }});
    }
    void on_written(Error error, std::size_t size)
    {
        Lock lock(mutex_);
        if (closed_)
            return;
        queue_.wrote(wire_->wrote(size));
        if (!queue_.closing() && !error && !wire_->unwritten().empty()) {
            lock.unlock();
            return write_some();
        }
        queue_.write_ended();
        if (wire_->tls)
            wire_->tls->shrink(write_bound);
        if (queue_.closing())
            return settle(lock);
        if (error)
            return lose(lock, Errc::unavailable, "redis: the connection was lost: " + error.message());
        advance(lock);
    }

    // ---- Reading
    void read_some()
    {
        wire_->socket.async_read_some(
            boost::asio::buffer(wire_->buffer),
            Transfer{this->shared_from_this(), [](Self self, Error error, std::size_t size) {
                         self->on_read(error, size);
                     }});
    }

    void on_read(Error error, std::size_t size)
    {
        std::optional<Failure> wrong;
        if (!error)
            wrong = take_in({wire_->buffer.data(), size});
        Lock lock(mutex_);
        if (closed_)
            return;
        if (queue_.closing()) {
            queue_.read_ended();
            return settle(lock);
        }
        if (error && !wrong)
            wrong = Failure{Errc::unavailable, "redis: the connection was lost: " + why_lost(error)};
        if (wrong) {
            queue_.read_ended();
            return lose(lock, wrong->errc(), std::string(wrong->detail()));
        }
        queue_.heard(runtime_.now());
        if (queue_.nothing_in_flight()) {
            queue_.read_ended();
            if (!wire_->nothing_left())
                return lose(lock, Errc::corrupt_state, "redis: the server sent what nobody asked for");
            return advance(lock);  // more may have waited for room in flight
        }
        lock.unlock();
        read_some();
        lock.lock();
        advance(lock);
    }

    /// Returns what is wrong with it, if anything.
    std::optional<Failure> take_in(std::string_view bytes)
    {
        return wire_->take_in(bytes, [this](Reply* reply) {
            std::lock_guard lock(mutex_);
            return reply != nullptr ? queue_.replied(*reply) : queue_.replied_too_much();
        });
    }

    // ---- Losing the connection

    [[gnu::cold]] void close_connection()
    {
        wire_->close_socket();
        wire_->reader.reset();
    }
    [[gnu::cold]] void lose(Lock& lock, Errc code, std::string detail)
    {
        queue_.lost(code, std::move(detail));
        wire_->close_socket();
        settle(lock);
        lock = Lock{};  // whatever has become of it: nobody is told under a mutex
        observe_connection(options_, ConnectionEvent::Kind::lost, code);
    }
    [[gnu::cold]] void settle(Lock& lock)
    {
        if (!queue_.settle(runtime_.now(), runtime_.random_bits()))
            return;
        wire_->reader.reset();
        advance(lock);
    }
    /// After `close`: whatever is under way comes back and finds that nobody is there.
    [[gnu::cold]] void drop_socket()
    {
        if (!wire_)
            return;
        wire_->resolver.cancel();
        wire_->close_socket();
    }

    // ---- Connecting; see `Connector`

    friend class Connector<Pipeline>;
    Wire& wire() noexcept { return *wire_; }
    Connector<Pipeline>& connector() noexcept { return connector_; }
    Life* life() const noexcept { return life_.get(); }
    bool connecting() const
    {
        std::lock_guard lock(mutex_);
        return queue_.connecting();
    }
    [[gnu::cold]] void connected()
    {
        observe_connection(options_, ConnectionEvent::Kind::opened, Errc::ok);
        Lock lock(mutex_);
        queue_.connected();
        advance(lock);
    }
    [[gnu::cold]] void connect_failed(Failure failure)
    {
        observe_connection(options_, ConnectionEvent::Kind::failed, failure.errc());
        Lock lock(mutex_);
        close_connection();
        queue_.connect_failed(std::move(failure), runtime_.now(), runtime_.random_bits());
        advance(lock);
    }

    // ---- Time

    [[gnu::cold]] void tick()
    {
        Lock lock(mutex_);
        if (closed_)
            return;
        auto const tick = queue_.tick(runtime_.now());
        if (tick.stop_connecting)
            connector_.stop();
        if (tick.alarm != TimePoint::max())
            arm(tick.alarm);
        if (tick.stalled)
            return lose(lock, Errc::unavailable, "redis: the server has stopped answering");
        advance(lock);
    }

    Options const options_;
    std::shared_ptr<Life> life_;
    [[no_unique_address]] R runtime_;
    boost::asio::any_io_executor executor_;
    std::uint64_t generation_;  // of the process that made it: a forked child is another one
    std::shared_ptr<PipelineService::List> service_list_;
    std::unique_ptr<Wire> wire_;  // null once the context is gone

    mutable std::mutex mutex_;
    CommandQueue queue_{options_};
    bool closed_{
        false};  // before the queue is: no alarm is armed, and no handler does anything, from then on
    bool turn_posted_{false};               // and has not run yet
    TimePoint alarm_at_{TimePoint::max()};  // for when the alarm is armed
    boost::asio::any_io_executor
        work_;  // while commands wait for time, or else empty: keeps the executor at work

    // Used on the strand only, with `wire_`.
    Connector<Pipeline> connector_{*this};
};

template <class R>
Pipeline<R>::~Pipeline()
{
    Whole const whole;
    runtime_.cancel(*this);
    service_list_->remove(*this);
    wire_.reset();
}

template <class R>
void Pipeline<R>::close() noexcept
{
    Whole const whole;
    if (!end())
        return;
    std::lock_guard lock(mutex_);
    if (wire_)
        boost::asio::post(wire_->strand, Turn{this->shared_from_this(), &Pipeline::drop_socket});
}

template <class R>
void Pipeline<R>::abandon() noexcept
{
    Whole const whole;
    end();
    std::unique_ptr<Wire> dropped;
    std::lock_guard lock(mutex_);
    dropped = std::move(wire_);
}

template <class R>
void Pipeline<R>::ring() noexcept
{
    auto const self = this->weak_from_this().lock();
    if (!self)
        return;
    Whole const whole;
    std::lock_guard lock(mutex_);
    alarm_at_ = TimePoint::max();
    if (!closed_ && wire_)
        boost::asio::post(wire_->strand, Turn{self, &Pipeline::tick});
}

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_PIPELINE_HPP
