// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_PIPELINE_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_PIPELINE_HPP

// One connection that many asynchronous commands share.
//
// Commands may come from any thread: the mutex guards the queues and the phase. The socket belongs to the strand. A turn
// is posted to the strand by the first command after an idle time, so that it finds all that were issued before it ran;
// while a write is under way further commands gather for the next one. Nothing is read while no reply is due: then an
// idle connection is no work of its executor, and what the server did meanwhile is looked at before the next write.
//
// Order of mutexes: the pipeline's, then a request's operation's, then its context's list.

#include <interlock/backends/redis/detail/error.hpp>
#include <interlock/backends/redis/detail/greeting.hpp>
#include <interlock/backends/redis/detail/hiredis.hpp>
#include <interlock/backends/redis/detail/life.hpp>
#include <interlock/backends/redis/detail/scripts.hpp>
#include <interlock/backends/redis/detail/tls_session.hpp>
#include <interlock/backends/redis/options.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/runtime/runtime.hpp>
#include <interlock/core/runtime/socket.hpp>
#include <interlock/core/runtime/stream.hpp>
#include <interlock/core/runtime/thread.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/write.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace redis {

/// What a `Connection` has done so far.
struct ConnectionStatistics {
    /// System calls that sent commands; a large one may count twice.
    std::uint64_t writes{0};
    /// Commands that were handed to them.
    std::uint64_t commands{0};
    /// Connections made after the first.
    std::uint64_t reconnects{0};
};

namespace detail {

class Pipeline;

/// What a request sends: the bytes of a command, or a call that may leave together with others of its kind, as one command.
/// Refers to what it was made of.
class Payload {
public:
    Payload() = default;
    Payload(std::string_view bytes) noexcept : bytes_(bytes) {}  // NOLINT
    Payload(Command const& command) noexcept : bytes_(command.bytes()) {}  // NOLINT
    Payload(ScriptCall const& call) noexcept : call_(&call) {}  // NOLINT

    /// That of the command, or a little more.
    std::size_t size() const noexcept { return call_ != nullptr ? ScriptCall::room_for_head + call_->size() : bytes_.size(); }
    /// As a command.
    std::string text() const { return call_ != nullptr ? call_->text() : std::string(bytes_); }
    bool like(Payload const& other) const noexcept
    {
        return call_ != nullptr && other.call_ != nullptr && call_->like(*other.call_);
    }
    /// `requests`: one, or several that are all like the first one.
    template <class Requests, class Of>
    static void append(std::string& out, Requests const& requests, Of of)
    {
        if (Payload const& first = of(*requests.begin()); first.call_ == nullptr)
            out += first.bytes_;
        else
            ScriptCall::append(out, requests, [&](auto const& request) -> ScriptCall const& { return *of(request).call_; });
    }

private:
    std::string_view bytes_;
    ScriptCall const* call_{nullptr};
};

/// A command on its way. Lives until it is taken, cancelled or forgotten.
class PipelineRequest {
public:
    PipelineRequest(PipelineRequest const&) = delete;
    PipelineRequest& operator=(PipelineRequest const&) = delete;

protected:
    PipelineRequest(Access access, TimePoint deadline) : access_(access), deadline_(deadline) {}
    ~PipelineRequest() = default;
    Access access() const noexcept { return access_; }
    TimePoint deadline() const noexcept { return deadline_; }
    /// Its bytes hold two commands from now on, or one again: the result is the reply to the first, and `second` becomes that
    /// to the other before there is a result.
    void expect_second(Reply* second) noexcept { second_ = second; }
    /// Is to be sent in this life of the server only; see `Life`. 0: in any.
    void of_life(std::uint64_t life) noexcept { life_ = life; }

private:
    friend class Pipeline;
    friend class PipelineQueue;
    enum class State : unsigned char { idle, pending, in_flight, done };

    /// There is a result to be taken. Called with the pipeline's mutex held.
    virtual void finished() noexcept = 0;

    Payload payload_;
    Access access_;
    State state_{State::idle};
    TimePoint deadline_;
    PipelineRequest* before_{nullptr};  // while it is in a queue
    PipelineRequest* behind_{nullptr};
    std::uint64_t place_{0};  // while it is in flight
    std::uint64_t life_{0};
    std::uint64_t connection_{0};  // which of the pipeline's connections it went over last
    Outcome<Reply> result_;
    Reply* second_{nullptr};
    std::atomic<bool> finished_{false};
    bool submitted_{false};  // used by its owner only: the pipeline may know of it
};

/// Requests in a row. Each is a link of it, so that one that goes leaves no place behind, and joining takes no memory.
class PipelineQueue {
public:
    std::size_t size() const noexcept { return size_; }
    bool empty() const noexcept { return size_ == 0; }
    /// Null where there is none.
    PipelineRequest* front() const noexcept { return front_; }
    static PipelineRequest* behind(PipelineRequest const& request) noexcept { return request.behind_; }

    void push_back(PipelineRequest& request) noexcept { insert(request, back_, nullptr); }
    void push_front(PipelineRequest& request) noexcept { insert(request, nullptr, front_); }
    void remove(PipelineRequest& request) noexcept
    {
        (request.before_ != nullptr ? request.before_->behind_ : front_) = request.behind_;
        (request.behind_ != nullptr ? request.behind_->before_ : back_) = request.before_;
        request.before_ = nullptr;
        request.behind_ = nullptr;
        --size_;
    }

private:
    void insert(PipelineRequest& request, PipelineRequest* before, PipelineRequest* behind) noexcept
    {
        request.before_ = before;
        request.behind_ = behind;
        (before != nullptr ? before->behind_ : front_) = &request;
        (behind != nullptr ? behind->before_ : back_) = &request;
        ++size_;
    }

    PipelineRequest* front_{nullptr};
    PipelineRequest* back_{nullptr};
    std::size_t size_{0};
};

/// The pipelines of one execution context. When it is destroyed they let go of everything that belongs to it.
class PipelineService final : public boost::asio::execution_context::service {
public:
    struct List {
        std::mutex mutex;
        std::map<Pipeline*, std::weak_ptr<Pipeline>> members;
    };

    using key_type = PipelineService;
    inline static boost::asio::execution_context::id id;

    explicit PipelineService(boost::asio::execution_context& context) : service(context) {}
    std::shared_ptr<List> const& list() const noexcept { return list_; }

private:
    inline void shutdown() noexcept override;

    std::shared_ptr<List> list_{std::make_shared<List>()};
};

class Pipeline final : public Alarm, public std::enable_shared_from_this<Pipeline> {
public:
    /// `life`: null where nobody cares which server it is.
    static std::shared_ptr<Pipeline> make(
        boost::asio::any_io_executor executor, Options options, std::shared_ptr<Life> life)
    {
        auto pipeline =
            std::shared_ptr<Pipeline>(new Pipeline(std::move(executor), std::move(options), std::move(life)));
        std::lock_guard lock(pipeline->list_->mutex);
        pipeline->list_->members.emplace(pipeline.get(), pipeline);
        return pipeline;
    }
    Pipeline(Pipeline const&) = delete;
    Pipeline& operator=(Pipeline const&) = delete;
    ~Pipeline()
    {
        SystemRuntime::cancel(*this);
        std::lock_guard lock(list_->mutex);
        list_->members.erase(this);
    }

    Options const& options() const noexcept { return options_; }
    boost::asio::any_io_executor const& executor() const noexcept { return executor_; }
    bool forked() const noexcept { return SystemRuntime::generation() != generation_; }
    ConnectionStatistics statistics() const
    {
        std::lock_guard lock(mutex_);
        return statistics_;
    }

    /// Queues an idle request. What `payload` refers to stays valid until its result was taken or it was cancelled or
    /// forgotten.
    void submit(PipelineRequest& request, Payload payload) noexcept
    {
        if (forked())  // the mutex may be one that nobody here will unlock
            return finish(
                request,
                Failure{Errc::misconfigured, "this redis connection was made before a fork; make a new one in the child"});
        std::lock_guard lock(mutex_);
        queue(request, payload);
    }

    /// Queues again what a server that is still loading has not executed. Nothing is sent to it before `at`.
    void submit_at(PipelineRequest& request, Payload payload, TimePoint at) noexcept
    {
        std::lock_guard lock(mutex_);
        if (request.connection_ == connections_)
            pause_until_ = std::max(pause_until_, at);
        queue(request, payload);
    }

    /// Queues again what a replica has not executed, for another connection than the one that led there. That one is
    /// ended when all replies that are due on it have come.
    void submit_elsewhere(PipelineRequest& request, Payload payload) noexcept
    {
        std::lock_guard lock(mutex_);
        if (request.connection_ == connections_)
            leaving_ = true;
        queue(request, payload);
    }

    /// The result, once there is one, which stays where it is until the request is queued again; it is idle from now on.
    Outcome<Reply>* take(PipelineRequest& request) noexcept
    {
        if (!request.finished_.load(std::memory_order_acquire))
            return nullptr;
        std::lock_guard lock(mutex_);  // `finished()` may not have returned yet
        settled(request);
        return &request.result_;
    }

    /// Gives it up, unless it is done. A reply that comes later is dropped.
    Outcome<Reply> cancel(PipelineRequest& request)
    {
        std::lock_guard lock(mutex_);
        auto const before = detach(request);
        settled(request);
        if (before == State::done)
            return std::move(request.result_);
        return given_up(before, request.access_, Errc::cancelled, {});
    }

    /// It goes away.
    void forget(PipelineRequest& request) noexcept
    {
        if (!request.submitted_)
            return;
        std::lock_guard lock(mutex_);
        detach(request);
        settled(request);
    }

    /// Nobody will ask for more: all requests end as cancelled.
    void close() noexcept
    {
        {
            std::lock_guard lock(mutex_);
            if (std::exchange(closed_, true))
                return;
        }
        SystemRuntime::cancel(*this);
        std::lock_guard lock(mutex_);
        give_up_all();
        if (io_)
            boost::asio::post(io_->strand, [self = shared_from_this()] { self->drop_socket(); });
    }

    /// The execution context goes away.
    void abandon() noexcept
    {
        {
            std::lock_guard lock(mutex_);
            closed_ = true;
        }
        SystemRuntime::cancel(*this);
        std::unique_ptr<Io> dropped;
        std::lock_guard lock(mutex_);
        give_up_all();
        dropped = std::move(io_);
    }

    void ring() noexcept override
    {
        auto const self = weak_from_this().lock();
        if (!self)
            return;
        std::lock_guard lock(mutex_);
        alarm_at_ = TimePoint::max();
        if (!closed_ && io_)
            boost::asio::post(io_->strand, [self] { self->tick(); });
    }

private:
    using State = PipelineRequest::State;
    using Error = boost::system::error_code;

    enum class Phase : unsigned char {
        idle,        ///< not connected, nothing to do
        waiting,     ///< not connected, the next attempt comes later
        connecting,
        ready,
        closing,     ///< lost, and a read or write has not come back yet
    };

    /// Belongs to the execution context.
    struct Io {
        explicit Io(boost::asio::any_io_executor const& executor) : strand(executor), socket(strand), resolver(strand) {}
        interlock::detail::IoStrand strand;
        interlock::detail::AsyncSocket socket;
        interlock::detail::AsyncResolver resolver;
    };

    /// A command whose reply is due; nobody waits for it when there is no request.
    struct Slot {
        PipelineRequest* request;
        std::uint64_t begin;  // of its bytes in what this connection sends
        std::size_t folded;   // that many slots from here on have one reply
        bool first_of_two;    // the next slot's request has this reply, too
    };

    /// What a connection has in addition when it goes through TLS.
    struct Tls {
        struct Record {
            std::size_t begin;  // in `out`
            std::size_t plain;  // bytes of the batch in it
        };
        std::unique_ptr<TlsSession> session;
        bool shaking_hands{true};
        std::string out;  // on its way
        std::size_t out_at{0};
        std::deque<Record> records;  // of the batch, as far as nothing of them was written
        std::array<char, std::size_t{16} << 10> plain;
    };

    static constexpr std::size_t write_bound = std::size_t{1} << 20;
    static constexpr std::size_t fold_bound = 128;  // half a millisecond of the server's time
    static constexpr std::size_t feed_size = std::size_t{4} << 10;  // hiredis moves the rest after each kilobyte

    Pipeline(boost::asio::any_io_executor executor, Options options, std::shared_ptr<Life> life)
        : options_(std::move(options)), life_(std::move(life)), executor_(std::move(executor)), generation_(SystemRuntime::generation()),
          list_(boost::asio::use_service<PipelineService>(
                    boost::asio::query(executor_, boost::asio::execution::context))
                    .list()),
          io_(std::make_unique<Io>(executor_))
    {}

    std::optional<Failure> refusal(std::size_t bytes)
    {
        if (closed_)
            return Failure{Errc::cancelled};
        if (options_.tls && !options_.tls_context)
            return no_tls();
        auto const room = options_.max_pending_bytes - std::min(pending_bytes_, options_.max_pending_bytes);
        if (pending_.size() >= options_.max_pending || bytes > room)
            return Failure{Errc::overloaded, "redis: too many commands wait to be written"};
        return std::nullopt;
    }

    void queue(PipelineRequest& request, Payload payload) noexcept
    {
        request.submitted_ = true;
        if (auto failure = refusal(payload.size()))
            return finish(request, *std::move(failure));
        try {
            request.payload_ = payload;
            enqueue(request, &PipelineQueue::push_back);
            arm(request.deadline_);
            post_turn();
        } catch (...) {
            detach(request);
            finish(request, Failure{Errc::overloaded});  // no memory, or no thread for the alarm
        }
    }

    static void finish(PipelineRequest& request, Outcome<Reply>&& result) noexcept
    {
        request.result_ = std::move(result);
        request.state_ = State::done;
        request.finished_.store(true, std::memory_order_release);
        request.finished();
    }
    /// Its owner's alone again.
    static void settled(PipelineRequest& request) noexcept
    {
        request.state_ = State::idle;
        request.submitted_ = false;
        request.finished_.store(false, std::memory_order_relaxed);
    }

    static Failure given_up(State state, Access access, Errc cause, std::string detail)
    {
        if (state == State::in_flight && access != Access::read)
            return Failure::unknown(cause, std::move(detail));
        return Failure{cause, std::move(detail)};
    }

    /// Out of its queue; says where it was.
    State detach(PipelineRequest& request) noexcept
    {
        auto const before = request.state_;
        if (before == State::in_flight)
            in_flight_[request.place_ - in_flight_base_].request = nullptr;
        if (before == State::pending) {
            unqueue(request);
            if (pending_.empty() && phase_ == Phase::waiting)
                stop_waiting();
            if (pending_.empty() && pausing_)
                stop_pausing();
        }
        return before;
    }
    void enqueue(PipelineRequest& request, void (PipelineQueue::*push)(PipelineRequest&) noexcept) noexcept
    {
        (pending_.*push)(request);
        request.state_ = State::pending;
        pending_bytes_ += request.payload_.size();
    }
    void unqueue(PipelineRequest& request) noexcept
    {
        pending_.remove(request);
        pending_bytes_ -= request.payload_.size();
    }
    void stop_waiting() noexcept
    {
        phase_ = Phase::idle;
        work_ = {};
    }

    void stop_pausing() noexcept
    {
        pausing_ = false;
        if (phase_ != Phase::waiting)
            work_ = {};
    }

    void give_up_all() noexcept
    {
        for (auto& slot : in_flight_)
            if (auto* const request = std::exchange(slot.request, nullptr))
                finish(*request, given_up(State::in_flight, request->access_, Errc::cancelled, {}));
        give_up_pending(Failure{Errc::cancelled});
        work_ = {};
    }
    void give_up_pending(Failure const& failure) noexcept
    {
        while (auto* const request = pending_.front()) {
            unqueue(*request);
            finish(*request, failure);
        }
    }

    void arm(TimePoint at)
    {
        if (at >= alarm_at_ || closed_)
            return;
        SystemRuntime::arm(*this, at);
        alarm_at_ = at;
    }

    /// Nothing to post when something under way will look at the queue anyhow.
    void post_turn()
    {
        if (turn_posted_ || writing_ || (phase_ != Phase::idle && phase_ != Phase::ready))
            return;
        boost::asio::post(io_->strand, [self = shared_from_this()] { self->turn(); });
        turn_posted_ = true;
    }

    // ---- From here on: on the strand.

    using Lock = std::unique_lock<std::mutex>;

    void turn()
    {
        Lock lock(mutex_);
        turn_posted_ = false;
        advance(lock);
    }

    /// Does what is to be done next. The last thing of a handler: may let go of the lock.
    void advance(Lock& lock)
    {
        if (closed_ || pending_.empty())
            return;
        // One that the server has ended, or where it says what nobody asked for: better now than with a command lost.
        if (phase_ == Phase::ready && in_flight_.empty() && !reading_ && !writing_ &&
            !interlock::detail::quiet(io_->socket)) {
            close_socket();
            if (stream_end_ == 0)  // at once, after letting us in: not to be tried again without a pause
                return failed(lock, Failure{Errc::unavailable, "redis: the server closed the connection"});
            phase_ = Phase::idle;
        }
        if (phase_ == Phase::ready && leaving_) {
            if (writing_ || reading_ || !in_flight_.empty())
                return;
            close_socket();
            phase_ = Phase::idle;
            retry_at_ = interlock::detail::add(
                SystemRuntime::now(), options_.reconnect.delay(++departures_, SystemRuntime::random_bits()));
        }
        if (phase_ == Phase::idle) {
            auto const now = SystemRuntime::now();
            if (now >= retry_at_)
                return connect(lock, now);
            phase_ = Phase::waiting;
            keep_working();
            return arm(retry_at_);
        }
        if (phase_ != Phase::ready || writing_)
            return;
        if (pause_until_ != TimePoint::min() && SystemRuntime::now() < pause_until_) {
            pausing_ = true;
            keep_working();
            return arm(pause_until_);
        }
        gather();
        if (batch_.empty())
            return;
        writing_ = true;
        bool const read = !std::exchange(reading_, true);
        if (read) {
            progress_ = SystemRuntime::now();
            arm(interlock::detail::add(progress_, options_.reply_timeout));
        }
        lock.unlock();
        if (tls_ && !seal()) {
            lock.lock();
            writing_ = false;
            reading_ = !read;
            return lose(lock, Errc::unavailable, tls_->session->failure().detail());
        }
        write_some();
        if (read)
            read_some();
    }

    /// No I/O is under way, but the context must not run out of work.
    void keep_working() { work_ = boost::asio::prefer(executor_, boost::asio::execution::outstanding_work.tracked); }

    /// All that waits, into one batch.
    void gather()
    {
        batch_.clear();
        batch_at_ = 0;
        while (!pending_.empty() && in_flight_.size() < options_.max_in_flight && batch_.size() < write_bound) {
            together_.clear();
            while (!pending_.empty() && together_.size() < fold_bound &&
                   in_flight_.size() + together_.size() < options_.max_in_flight) {
                auto* const request = pending_.front();
                if (request->life_ != 0 && request->life_ != life_->number()) {
                    unqueue(*request);
                    finish(*request, another_life());
                    continue;
                }
                if (!together_.empty() && !together_.front()->payload_.like(request->payload_))
                    break;
                together_.push_back(request);
                unqueue(*request);
            }
            if (together_.empty())
                return;
            auto const begin = stream_end_ - batch_.size();
            std::size_t folded = together_.size();
            for (auto* const request : together_) {
                if (request->second_ != nullptr)
                    in_flight_.push_back({nullptr, stream_end_, 1, true});
                in_flight_.push_back({request, stream_end_, std::exchange(folded, 1), false});
                request->place_ = in_flight_base_ + in_flight_.size() - 1;
                request->state_ = State::in_flight;
                request->connection_ = connections_;
            }
            Payload::append(
                batch_, together_, [](PipelineRequest const* request) -> Payload const& { return request->payload_; });
            stream_end_ = begin + batch_.size();
            ++statistics_.commands;
        }
    }

    /// The batch, made into records.
    bool seal()
    {
        tls_->out.clear();
        tls_->out_at = 0;
        tls_->records.clear();
        for (std::string_view plain = batch_; !plain.empty();) {
            auto const part = plain.substr(0, TlsSession::record_size);
            plain.remove_prefix(part.size());
            tls_->records.push_back({tls_->out.size(), part.size()});
            if (tls_->session->encrypt(part) != TlsStatus::ok)
                return false;
            tls_->session->drain(tls_->out);
        }
        return true;
    }

    /// What is left of the batch, as it goes over the wire.
    std::string_view unwritten() const noexcept
    {
        return tls_ ? std::string_view{tls_->out}.substr(tls_->out_at) : std::string_view{batch_}.substr(batch_at_);
    }

    void write_some()
    {
        auto const bytes = unwritten();
        io_->socket.async_write_some(
            boost::asio::buffer(bytes.data(), bytes.size()),
            [self = shared_from_this()](Error error, std::size_t size) { self->on_written(error, size); });
    }

    void on_written(Error error, std::size_t size)
    {
        Lock lock(mutex_);
        if (closed_)
            return;
        ++statistics_.writes;
        if (tls_) {
            tls_->out_at += size;
            for (auto& records = tls_->records; !records.empty() && records.front().begin < tls_->out_at;) {
                stream_sent_ += records.front().plain;
                records.pop_front();
            }
        } else {
            stream_sent_ += size;
            batch_at_ += size;
        }
        if (phase_ == Phase::ready && !error && !unwritten().empty()) {
            lock.unlock();
            return write_some();
        }
        writing_ = false;
        if (batch_.capacity() > write_bound)
            batch_ = {};
        if (tls_ && tls_->out.capacity() > write_bound)
            tls_->out = {};
        if (phase_ == Phase::closing)
            return settle(lock);
        if (error)
            return lose(lock, Errc::unavailable, "redis: the connection was lost: " + error.message());
        advance(lock);
    }

    void read_some()
    {
        io_->socket.async_read_some(
            boost::asio::buffer(buffer_),
            [self = shared_from_this()](Error error, std::size_t size) { self->on_read(error, size); });
    }

    void on_read(Error error, std::size_t size)
    {
        std::optional<Failure> wrong;
        if (!error)
            wrong = take_in({buffer_.data(), size});
        Lock lock(mutex_);
        if (closed_)
            return;
        if (phase_ == Phase::closing) {
            reading_ = false;
            return settle(lock);
        }
        if (error || wrong) {
            reading_ = false;
            if (wrong)
                return lose(lock, wrong->code(), wrong->detail());
            return lose(
                lock, Errc::unavailable,
                "redis: the connection was lost: " +
                    (error == boost::asio::error::eof ? std::string("the server closed it") : error.message()));
        }
        progress_ = SystemRuntime::now();
        if (in_flight_.empty()) {
            reading_ = false;
            if (!reader_->empty() || (tls_ && !tls_->session->empty()))
                return lose(lock, Errc::corrupt_state, "redis: the server sent what nobody asked for");
            return advance(lock);  // more may have waited for room in flight
        }
        lock.unlock();
        read_some();
        lock.lock();
        advance(lock);
    }

    /// Through TLS, where there is TLS. What is wrong with it, if anything.
    std::optional<Failure> take_in(std::string_view bytes)
    {
        char const* wrong = nullptr;
        if (!tls_) {
            wrong = take_replies(bytes);
        } else {
            if (!tls_->session->feed(bytes))
                return Failure{Errc::unavailable, "redis: TLS: no memory"};
            while (wrong == nullptr) {
                std::size_t got = 0;
                switch (tls_->session->decrypt(tls_->plain.data(), tls_->plain.size(), got)) {
                case TlsStatus::ok: wrong = take_replies({tls_->plain.data(), got}); continue;
                case TlsStatus::more: return std::nullopt;
                case TlsStatus::closed:
                    return Failure{Errc::unavailable, "redis: the connection was lost: the server closed it"};
                case TlsStatus::failed: break;
                }
                return Failure{Errc::unavailable, tls_->session->failure().detail()};
            }
        }
        if (wrong == nullptr)
            return std::nullopt;
        return Failure{Errc::corrupt_state, wrong};
    }

    /// What is wrong with them, if anything.
    char const* take_replies(std::string_view bytes)
    {
        while (!bytes.empty()) {
            auto const part = bytes.substr(0, feed_size);
            bytes.remove_prefix(part.size());
            reader_->feed(part);
            for (;;) {
                auto const status = reader_->next(reply_);
                if (status == ReplyReader::Status::more)
                    break;
                if (status == ReplyReader::Status::broken)
                    return reader_->too_large() ? large_reply.data() : "redis: what the server sent is no reply";
                std::lock_guard lock(mutex_);
                if (closed_ || phase_ != Phase::ready)
                    return nullptr;
                if (in_flight_.empty())
                    return "redis: the server sent what nobody asked for";
                failures_ = 0;
                auto const folded = in_flight_.front().folded;
                if (status == ReplyReader::Status::large) {  // of these calls only
                    for (std::size_t i = 0; i < folded; ++i)
                        answer(Failure{Errc::corrupt_state, std::string(large_reply)});
                } else if (folded == 1) {
                    answer(std::exchange(reply_, {}));
                } else if (!reply_.root().is(ReplyType::array)) {  // the same for all
                    for (std::size_t i = 0; i < folded; ++i)
                        answer(reply_);
                } else if (reply_.root().size() == folded) {
                    reply_.split([this](Reply reply) { answer(std::move(reply)); });
                } else {
                    return "redis: what the server sent is no reply to what was asked";
                }
            }
        }
        return nullptr;
    }

    /// To the command whose turn it is.
    void answer(Outcome<Reply>&& reply)
    {
        auto const slot = in_flight_.front();
        auto* const request = slot.request;
        in_flight_.pop_front();
        ++in_flight_base_;
        if (slot.first_of_two && in_flight_.front().request != nullptr)
            in_flight_.front().request->result_ = std::move(reply);
        if (request == nullptr)
            return;
        if (request->second_ != nullptr && reply)
            *request->second_ = *std::exchange(reply, std::move(request->result_));
        if (!reply)
            reply = given_up(State::in_flight, request->access_, reply.error(), std::string(reply.detail()));
        else if (request->access_ != Access::read && !reply->root().is(ReplyType::error))
            departures_ = 0;
        finish(*request, std::move(reply));
    }

    void close_socket()
    {
        Error ignored;
        io_->socket.close(ignored);
        reader_.reset();
    }

    /// The connection is of no use any more. Which commands were sent is known when the write has come back.
    void lose(Lock& lock, Errc code, std::string detail)
    {
        lost_.emplace(code, std::move(detail));
        phase_ = Phase::closing;
        Error ignored;
        io_->socket.close(ignored);
        settle(lock);
    }

    void settle(Lock& lock)
    {
        if (writing_ || reading_)
            return;
        auto const lost = *std::exchange(lost_, std::nullopt);
        reader_.reset();
        while (!in_flight_.empty()) {  // from the last, so that what was not sent keeps its order
            auto const slot = in_flight_.back();
            in_flight_.pop_back();
            if (slot.request == nullptr)
                continue;
            if (slot.begin < stream_sent_) {
                finish(*slot.request, given_up(State::in_flight, slot.request->access_, lost.code(), lost.detail()));
                continue;
            }
            enqueue(*slot.request, &PipelineQueue::push_front);
        }
        failed(lock, Failure{Errc::unavailable, lost.detail()});
    }

    /// Neither connected nor connecting. What was not sent waits for the next attempt, where that makes sense.
    void failed(Lock& lock, Failure failure)
    {
        phase_ = Phase::idle;
        if (pausing_)
            stop_pausing();
        ++failures_;
        retry_at_ = interlock::detail::add(
            SystemRuntime::now(), options_.reconnect.delay(failures_, SystemRuntime::random_bits()));
        if (failure.code() == Errc::misconfigured)
            give_up_pending(failure);
        reason_ = std::move(failure);
        advance(lock);
    }

    // ---- Connecting

    void connect(Lock& lock, TimePoint now)
    {
        phase_ = Phase::connecting;
        timed_out_ = false;
        connect_until_ = interlock::detail::add(now, options_.connect_timeout);
        arm(connect_until_);
        endpoints_.clear();
        next_endpoint_ = 0;
        tls_.reset();
        lock.unlock();
        if (options_.unix_path.empty())
            return io_->resolver.resolve(
                options_.host, options_.port,
                [self = shared_from_this()](Error error, std::vector<interlock::detail::AsyncEndpoint> found) {
                    self->endpoints_ = std::move(found);
                    self->connect_next(error);
                });
        interlock::detail::AsyncEndpoint endpoint;
        if (!interlock::detail::unix_endpoint(options_.unix_path, endpoint))
            return cannot_connect("the path is too long");
        endpoints_.push_back(endpoint);
        connect_next({});
    }

    void connect_next(Error error)
    {
        if (!connecting())
            return;
        if (timed_out_ || next_endpoint_ == endpoints_.size())
            return cannot_connect(error.message());
        Error ignored;
        io_->socket.close(ignored);
        io_->socket.async_connect(endpoints_[next_endpoint_++], [self = shared_from_this()](Error result) {
            if (result)
                return self->connect_next(result);
            self->secure();
        });
    }

    void secure()
    {
        if (!connecting())
            return;
        if (timed_out_)
            return cannot_connect({});
        if (options_.unix_path.empty())
            interlock::detail::set_no_delay(io_->socket);
        if (!options_.tls)
            return greet();
        auto session = options_.tls_context->session(options_.host);
        if (!session)
            return refuse(no_tls_session());
        tls_ = std::make_unique<Tls>();
        tls_->session = std::move(session);
        shake_hands();
    }

    void shake_hands()
    {
        auto const status = tls_->session->handshake();
        tls_->out.clear();
        tls_->session->drain(tls_->out);
        if (tls_->out.empty())
            return shaken(status);
        boost::asio::async_write(
            io_->socket, boost::asio::buffer(tls_->out), [self = shared_from_this(), status](Error error, std::size_t) {
                if (!self->connecting())
                    return;
                if (error && status != TlsStatus::failed)
                    return self->cannot_connect(cut_off(error));
                self->shaken(status);
            });
    }

    void shaken(TlsStatus status)
    {
        if (status == TlsStatus::ok) {
            tls_->shaking_hands = false;
            return greet();
        }
        if (status != TlsStatus::more)
            return cannot_connect("the server ended the TLS handshake");
        io_->socket.async_read_some(
            boost::asio::buffer(buffer_), [self = shared_from_this()](Error error, std::size_t size) {
                if (!self->connecting())
                    return;
                if (error)
                    return self->cannot_connect(cut_off(error));
                if (!self->tls_->session->feed({self->buffer_.data(), size}))
                    return self->cannot_connect("no memory for TLS");
                self->shake_hands();
            });
    }

    static std::string cut_off(Error error) { return "the TLS handshake was cut off: " + closed_or(error); }
    static std::string closed_or(Error error)
    {
        return error == boost::asio::error::eof ? std::string("the server closed it") : error.message();
    }

    void greet()
    {
        reader_.emplace(ReplyLimits{options_.max_reply_bytes});
        greeted_ = 0;
        greeting_ = std::make_unique<Greeting>(options_, life_.get());
        if (greeting_->replies() == 0)
            return connected();
        auto bytes = greeting_->bytes();
        if (tls_) {
            tls_->out.clear();
            for (auto plain = bytes; !plain.empty();) {
                auto const part = plain.substr(0, TlsSession::record_size);
                plain.remove_prefix(part.size());
                if (tls_->session->encrypt(part) != TlsStatus::ok)
                    return cannot_connect({});
            }
            tls_->session->drain(tls_->out);
            bytes = tls_->out;
        }
        boost::asio::async_write(
            io_->socket, boost::asio::buffer(bytes.data(), bytes.size()),
            [self = shared_from_this()](Error error, std::size_t) {
                self->greeting_->forget();
                if (!self->connecting())
                    return;
                if (error)
                    return self->cannot_connect(error.message());
                self->read_greeting();
            });
    }

    void read_greeting()
    {
        io_->socket.async_read_some(
            boost::asio::buffer(buffer_), [self = shared_from_this()](Error error, std::size_t size) {
                if (!self->connecting())
                    return;
                if (error)
                    return self->cannot_connect(closed_or(error));
                if (!self->hear_greeting({self->buffer_.data(), size}))
                    return self->cannot_connect("the server closed it");
                self->judge_greeting();
            });
    }

    bool hear_greeting(std::string_view bytes)
    {
        if (!tls_) {
            reader_->feed(bytes);
            return true;
        }
        if (!tls_->session->feed(bytes))
            return false;
        for (;;) {
            std::size_t got = 0;
            auto const status = tls_->session->decrypt(tls_->plain.data(), tls_->plain.size(), got);
            if (status != TlsStatus::ok)
                return status == TlsStatus::more;
            reader_->feed({tls_->plain.data(), got});
        }
    }

    void judge_greeting()
    {
        for (;;) {
            auto const status = reader_->next(reply_);
            if (status == ReplyReader::Status::more)
                return read_greeting();
            if (status == ReplyReader::Status::broken)
                return cannot_connect("what the server sent is no reply");
            if (auto refused = greeting_->refused(++greeted_, reply_.root()))
                return refuse(*std::move(refused));
            if (greeted_ < greeting_->replies())
                continue;
            if (reader_->empty() && (!tls_ || tls_->session->empty()))
                return connected();
            return cannot_connect("the server sent what nobody asked for");
        }
    }

    void connected()
    {
        greeting_.reset();
        Lock lock(mutex_);
        phase_ = Phase::ready;
        ++connections_;
        leaving_ = false;
        pause_until_ = TimePoint::min();
        if (pausing_)
            stop_pausing();
        reason_.reset();
        stream_end_ = 0;
        stream_sent_ = 0;
        if (connected_before_)
            ++statistics_.reconnects;
        connected_before_ = true;
        advance(lock);
    }

    void cannot_connect(std::string const& why)
    {
        if (tls_ && !timed_out_)
            if (auto failure = tls_->session->failure(); !failure.detail().empty())
                return refuse(std::move(failure));
        refuse(
            Failure{
                Errc::unavailable, "redis: cannot connect to " + options_.endpoint() + ": " +
                                       (!timed_out_                    ? why
                                        : tls_ && tls_->shaking_hands ? handshake_late
                                                                       : "timed out")});
    }
    void refuse(Failure failure)
    {
        Lock lock(mutex_);
        close_socket();
        failed(lock, std::move(failure));
    }

    bool connecting() const
    {
        std::lock_guard lock(mutex_);
        return !closed_ && phase_ == Phase::connecting;
    }

    // ---- Time

    void tick()
    {
        Lock lock(mutex_);
        if (closed_)
            return;
        auto const now = SystemRuntime::now();
        // Later alarms within this time ring together, however many deadlines there are.
        auto const soonest = interlock::detail::add(now, std::chrono::milliseconds{1});
        auto next = TimePoint::max();
        for (auto& slot : in_flight_) {
            if (slot.request == nullptr)
                continue;
            if (slot.request->deadline_ > now) {
                next = std::min(next, slot.request->deadline_);
                continue;
            }
            auto& request = *std::exchange(slot.request, nullptr);
            finish(
                request,
                given_up(State::in_flight, request.access_, Errc::deadline_exceeded, "redis: no reply within the deadline"));
        }
        for (auto* waiting = pending_.front(); waiting != nullptr;) {
            auto& request = *std::exchange(waiting, PipelineQueue::behind(*waiting));
            if (request.deadline_ > now) {
                next = std::min(next, request.deadline_);
                continue;
            }
            unqueue(request);
            finish(
                request,
                reason_ ? *reason_
                        : Failure{Errc::deadline_exceeded, "the deadline came before anything was sent to redis"});
        }
        next = std::max(next, soonest);

        if (phase_ == Phase::waiting && (pending_.empty() || now >= retry_at_))
            stop_waiting();
        if (phase_ == Phase::waiting)
            next = std::min(next, retry_at_);
        if (pausing_ && (pending_.empty() || now >= pause_until_))
            stop_pausing();
        if (pausing_)
            next = std::min(next, pause_until_);
        if (phase_ == Phase::connecting && now >= connect_until_ && !timed_out_) {
            timed_out_ = true;
            io_->resolver.cancel();
            Error ignored;
            io_->socket.close(ignored);
        }
        if (phase_ == Phase::connecting && !timed_out_)
            next = std::min(next, connect_until_);
        auto const stalled_at = interlock::detail::add(progress_, options_.reply_timeout);
        bool const due = phase_ == Phase::ready && !in_flight_.empty();
        bool const stalled = due && now >= stalled_at;
        if (due && !stalled)
            next = std::min(next, stalled_at);
        if (next != TimePoint::max())
            arm(next);
        if (stalled)
            return lose(lock, Errc::unavailable, "redis: the server has stopped answering");
        advance(lock);
    }

    /// After `close`: whatever is under way comes back and finds that nobody is there.
    void drop_socket()
    {
        if (!io_)
            return;
        io_->resolver.cancel();
        Error ignored;
        io_->socket.close(ignored);
    }

    Options const options_;
    std::shared_ptr<Life> life_;
    boost::asio::any_io_executor executor_;
    std::uint64_t generation_;
    std::shared_ptr<PipelineService::List> list_;
    std::unique_ptr<Io> io_;  // null once the context is gone

    mutable std::mutex mutex_;
    bool closed_{false};
    Phase phase_{Phase::idle};
    bool turn_posted_{false};
    bool writing_{false};
    bool reading_{false};
    PipelineQueue pending_;
    std::deque<Slot> in_flight_;
    std::uint64_t in_flight_base_{0};
    std::size_t pending_bytes_{0};
    TimePoint alarm_at_{TimePoint::max()};
    boost::asio::any_io_executor work_;
    std::uint64_t connections_{0};  // made so far
    bool leaving_{false};           // the present one led to a replica
    bool pausing_{false};           // the server is loading, and commands wait for it
    TimePoint pause_until_{TimePoint::min()};
    std::optional<Failure> lost_;    // why, while closing
    std::optional<Failure> reason_;  // why there is no connection
    ConnectionStatistics statistics_;

    // Used on the strand only.
    std::optional<ReplyReader> reader_;
    Reply reply_;
    std::string batch_;
    std::size_t batch_at_{0};
    std::uint64_t stream_end_{0};
    std::uint64_t stream_sent_{0};
    int failures_{0};
    int departures_{0};  // from replicas, since a write was last accepted
    bool timed_out_{false};
    bool connected_before_{false};
    int greeted_{0};
    TimePoint retry_at_{TimePoint::min()};
    TimePoint connect_until_{};
    TimePoint progress_{};
    std::vector<interlock::detail::AsyncEndpoint> endpoints_;
    std::size_t next_endpoint_{0};
    std::vector<PipelineRequest*> together_;  // while a batch is gathered
    std::unique_ptr<Greeting> greeting_;
    std::unique_ptr<Tls> tls_;  // from its handshake on, until the next connection
    std::array<char, std::size_t{64} << 10> buffer_;
};

/// Sends a command again when the server's error says that it was not run and another attempt may end better; the rule
/// of `ClientState::execute` for commands of a pipeline.
class Resender {
public:
    /// `script`: the text of what `payload` calls by its name, if it does. Both outlive this.
    Resender(Payload payload, std::optional<std::string_view> script) : payload_(payload), script_(script) {}
    Resender(Resender const&) = delete;
    Resender& operator=(Resender const&) = delete;

    /// Queues it again, to leave alone. `payload` was a call of a script that left with others.
    void alone(Pipeline& pipeline, PipelineRequest& request)
    {
        spelled_out_ = payload_.text();
        payload_ = std::string_view{spelled_out_};
        pipeline.submit(request, payload_);
    }

    /// Whether the request, whose result was taken, is queued again.
    bool again(Pipeline& pipeline, PipelineRequest& request, TimePoint deadline, std::string_view error)
    {
        auto const word = error_word(error);
        auto const now = SystemRuntime::now();
        if (now >= deadline)
            return false;
        if (word == "LOADING") {
            auto const at = interlock::detail::add(now, loading_backoff.delay(++loading_, SystemRuntime::random_bits()));
            if (at >= deadline)
                return false;
            pipeline.submit_at(request, payload_, at);
            return true;
        }
        if (word == "READONLY" && !std::exchange(moved_, true)) {
            pipeline.submit_elsewhere(request, payload_);
            return true;
        }
        if (word == "NOSCRIPT" && script_) {
            spelled_out_ = spell_out(payload_.text(), *std::exchange(script_, std::nullopt));
            payload_ = std::string_view{spelled_out_};
            pipeline.submit(request, payload_);
            return true;
        }
        return false;
    }

private:
    Payload payload_;
    std::optional<std::string_view> script_;
    std::string spelled_out_;
    bool moved_{false};
    int loading_{0};
};

/// Closes its pipeline when it goes.
class PipelineHandle {
public:
    PipelineHandle(boost::asio::any_io_executor executor, Options options, std::shared_ptr<Life> life = nullptr)
    {
        options.validate().value();
        pipeline = Pipeline::make(std::move(executor), std::move(options), std::move(life));
    }
    PipelineHandle(PipelineHandle const&) = delete;
    PipelineHandle& operator=(PipelineHandle const&) = delete;
    ~PipelineHandle()
    {
        if (!pipeline)
            return;
        // In a forked child it is kept for ever: what polls the socket is shared with the parent, whose connection must
        // not be taken out of it.
        if (pipeline->forked())
            static_cast<void>(new (std::nothrow) std::shared_ptr<Pipeline>(pipeline));
        else
            pipeline->close();
    }
    std::shared_ptr<Pipeline> pipeline;
};

inline void PipelineService::shutdown() noexcept
{
    std::vector<std::shared_ptr<Pipeline>> alive;
    {
        std::lock_guard lock(list_->mutex);
        for (auto const& member : list_->members)
            if (auto pipeline = member.second.lock())
                alive.push_back(std::move(pipeline));
    }
    for (auto const& pipeline : alive)
        pipeline->abandon();
}

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_PIPELINE_HPP
