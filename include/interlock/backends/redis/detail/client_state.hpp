// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_CLIENT_STATE_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_CLIENT_STATE_HPP

// The engine of a `Client`: the pool of connections for blocking calls, the one connection of all
// asynchronous calls, and the one for wake-ups.

#include <interlock/backends/redis/access.hpp>
#include <interlock/backends/redis/detail/connection.hpp>
#include <interlock/backends/redis/detail/life.hpp>
#include <interlock/backends/redis/detail/number.hpp>
#include <interlock/backends/redis/detail/pipeline.hpp>
#include <interlock/backends/redis/detail/pipeline_handle.hpp>
#include <interlock/backends/redis/detail/retry_rule.hpp>
#include <interlock/backends/redis/detail/script_call.hpp>
#include <interlock/backends/redis/detail/subscriber.hpp>
#include <interlock/backends/redis/options.hpp>
#include <interlock/backends/redis/reply.hpp>
#include <interlock/backends/redis/server_check.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/kit/connection_pool.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/runtime/runtime.hpp>
#include <interlock/core/runtime/stream.hpp>
#include <interlock/core/runtime/without_cancellation.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <algorithm>
#include <atomic>
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

/// How a server deletes a key if its value is still the expected one.
enum class CompareAndDelete : unsigned char {
    unknown,  ///< it was not asked yet
    script,   ///< only so
    delex,    ///< `DELEX key IFEQ value`: Redis 8.4
    delifeq,  ///< `DELIFEQ key value`: Valkey 9
};

/// What all handles of one client share. `R`: the runtime.
template <class R>
class ClientState {
public:
    using Pool = ConnectionPool<Connection, R>;

    ClientState(R runtime, Options options, boost::asio::any_io_executor executor, bool own_threads)
        : runtime_(std::move(runtime)), options_(std::move(options)), executor_(std::move(executor)),
          own_threads_(own_threads), generation_(runtime_.generation()),
          subscriber_(std::make_shared<Subscriber>(options_))
    {}
    ClientState(ClientState const&) = delete;
    ClientState& operator=(ClientState const&) = delete;
    ~ClientState()
    {
        if (!forked())
            subscriber_->stop();
    }

    R const& runtime() const noexcept { return runtime_; }
    /// The options that the client was made with.
    Options const& options() const noexcept { return options_; }
    /// The one connection of all asynchronous calls. Made by the first.
    std::shared_ptr<Pipeline<R>> pipeline()
    {
        interlock::detail::WithoutCancellation const whole;
        std::call_once(shared_made_, [&] {
            shared_ = std::make_unique<PipelineHandle<R>>(runtime_, executor_, options_, life_);
        });
        return shared_->pipeline;
    }
    bool own_threads() const noexcept { return own_threads_; }
    Subscriber& subscriber() const noexcept { return *subscriber_; }
    bool forked() const noexcept { return runtime_.generation() != generation_; }

    /// A connection borrowed for one exchange, with its reply.
    class Exchange {
    public:
        Exchange() = default;
        explicit Exchange(typename Pool::Lease lease) noexcept : lease_(std::move(lease)) {}

        /// Valid until this ends.
        ReplyView reply() const noexcept { return lease_->reply(); }
        Connection& connection() const noexcept { return *lease_; }
        void release() noexcept { lease_.release(); }

    private:
        typename Pool::Lease lease_;
    };

    /// Sends `command` and gives back its reply, which is no error. `script`: what `command` calls, if it
    /// does. What surely had no effect is sent again within the deadline where that may help; see
    /// `RetryRule`.
    Outcome<Exchange> execute(Command const& command, Script const* script, Access access, Deadline deadline)
    {
        return execute(command.bytes(), script, access, deadline, nullptr);
    }
    /// `bytes`: a command, or two; then `second` becomes the reply to the other. `life`: not 0: in this one
    /// only.
    Outcome<Exchange> execute(
        std::string_view bytes, Script const* script, Access access, Deadline deadline, Reply* second,
        std::uint64_t life = 0)
    {
        if (!deadline.valid())
            return Failure{Errc::invalid_argument, "the deadline is not a number"};
        if (forked())
            return Failure{
                Errc::misconfigured, "this redis client was made before a fork; make a new one in the child"};
        auto const until = deadline.at(runtime_.now());
        RetryRule rule{script != nullptr};
        std::string spelled_out;
        for (;;) {
            bool fresh = false;
            auto taken = take(until, fresh);
            if (!taken)
                return rule.explained(std::move(taken).failure());
            if (life != 0 && life != life_->number())
                return another_life();
            auto exchange = *std::move(taken);
            auto& connection = exchange.connection();
            auto const socket_until = interlock::detail::socket_deadline(runtime_, until);
            auto done = connection.exchange(spelled_out.empty() ? bytes : spelled_out, access, socket_until);
            if (done && second != nullptr)
                done = connection.receive(*second, access, socket_until);
            if (!done && connection.unsent() && RetryRule::after_unsent(fresh))
                continue;
            if (!done)
                return rule.explained(std::move(done).failure());
            if (!exchange.reply().is(ReplyType::error))
                return exchange;
            auto const text = exchange.reply().text();
            auto const verdict = rule.after_error(text, runtime_.now(), until, runtime_.random_bits());
            switch (verdict.next) {
            case RetryRule::Next::give_up: return map_error(text, access);
            case RetryRule::Next::spell_out: spelled_out = spell_out(bytes, script->text); break;
            case RetryRule::Next::elsewhere:
                connection.close();
                exchange.release();
                pool_.drop_idle();  // they lead to the same former primary
                break;
            case RetryRule::Next::later:
                exchange.release();
                runtime_.sleep_until(verdict.at);
                break;
            }
        }
    }

    [[gnu::cold]] Outcome<ServerCheck> server_check(Deadline deadline)
    {
        {
            std::lock_guard lock(mutex_);
            if (check_)
                return *check_;
        }
        auto exchange = execute(Command{"INFO"}, nullptr, Access::read, deadline);
        ServerCheck check;
        if (exchange) {
            auto const info = exchange->reply().text();
            check.verified = true;
            check.version = std::string(info_field(info, "redis_version"));
            check.role = std::string(info_field(info, "role"));
            check.eviction_policy = std::string(info_field(info, "maxmemory_policy"));
            parse_number<std::uint64_t>(info_field(info, "maxmemory"), 0, UINT64_MAX, check.max_memory);
            parse_number<std::uint64_t>(info_field(info, "connected_slaves"), 0, UINT64_MAX, check.replicas);
            check.append_only = info_field(info, "aof_enabled") == "1";
            compare_and_delete_.store(compare_and_delete(info), std::memory_order_relaxed);
            if (auto refused = unfit(check, info_field(info, "cluster_enabled") == "1"))
                return *std::move(refused);
        } else if (!denied(exchange.failure()) && !has_no_such_command(exchange.failure())) {
            return std::move(exchange).failure();
        }
        std::lock_guard lock(mutex_);
        check_ = check;
        return check;
    }

    /// Whether the server is known to do without a script what `delete_if_equal` does. Asks it once, in a
    /// part of the time.
    bool compares_and_deletes(TimePoint until)
    {
        if (compare_and_delete_.load(std::memory_order_relaxed) == CompareAndDelete::unknown) {
            auto const now = runtime_.now();
            auto const check = server_check(Deadline{now + (until - now) / 4});
            // A server that has answered and not named such a command will not name it later.
            if (check || check.errc() == Errc::misconfigured) {
                auto unknown = CompareAndDelete::unknown;
                compare_and_delete_.compare_exchange_strong(
                    unknown, CompareAndDelete::script, std::memory_order_relaxed);
            }
        }
        return compare_and_delete_.load(std::memory_order_relaxed) > CompareAndDelete::script;
    }
    /// Deletes the key called `name` if it still holds `value`. False: it does not.
    template <class N>
    Outcome<bool> delete_if_equal(N const& name, std::string_view value, Deadline deadline)
    {
        auto const command = compare_and_delete_.load(std::memory_order_relaxed) == CompareAndDelete::delex
                                 ? Command("DELEX", name, "IFEQ", value)
                                 : Command("DELIFEQ", name, value);
        auto const exchange = execute(command, nullptr, Access::write, deadline);
        if (!exchange && exchange.errc() == Errc::misconfigured)  // no right to it, or another server by now
            compare_and_delete_.store(CompareAndDelete::script, std::memory_order_relaxed);
        if (!exchange)
            return exchange.failure();
        return exchange->reply().integer() == 1;
    }

    /// See `Life`.
    std::uint64_t life() const noexcept { return life_->number(); }

    /// Connections now, in use or not.
    std::size_t connection_count() const { return pool_.count(); }

private:
    /// What an observer of the connections is told of the store.
    static StoreInfo info(Options const& options) noexcept { return {"redis", options.name_space, "redis"}; }

    [[gnu::cold]] static bool at_least(std::string_view version, int major, int minor) noexcept
    {
        auto const dot = std::min(version.find('.'), version.size());
        auto const rest = version.substr(std::min(dot + 1, version.size()));
        int is_major = 0;
        int is_minor = 0;
        parse_number(version.substr(0, dot), 0, 1000, is_major);
        parse_number(rest.substr(0, rest.find('.')), 0, 1000, is_minor);
        return is_major > major || (is_major == major && is_minor >= minor);
    }

    /// By what INFO says of the version; Valkey also says there which Redis it is like.
    [[gnu::cold]] static CompareAndDelete compare_and_delete(std::string_view info) noexcept
    {
        auto const valkey = info_field(info, "valkey_version");
        if (at_least(valkey, 9, 0))
            return CompareAndDelete::delifeq;
        if (valkey.empty() && at_least(info_field(info, "redis_version"), 8, 4))
            return CompareAndDelete::delex;
        return CompareAndDelete::script;
    }

    [[gnu::cold]] static std::optional<Failure> unfit(ServerCheck const& check, bool cluster)
    {
        if (!at_least(check.version, 7, 0))
            return Failure{
                Errc::misconfigured, "redis: the server's version is " + check.version + ", 7.0 is needed"};
        if (cluster)
            return Failure{
                Errc::misconfigured,
                "redis: the server is part of a cluster, which this backend does not support"};
        if (check.role != "master")
            return Failure{Errc::misconfigured, "redis: the server is a replica (role " + check.role + ")"};
        if (check.max_memory != 0 && check.eviction_policy != "noeviction")
            return Failure{
                Errc::misconfigured, "redis: maxmemory-policy is " + check.eviction_policy +
                                         ", which may evict locks and records; noeviction is needed"};
        return std::nullopt;
    }

    Outcome<Exchange> take(TimePoint until, bool& fresh)
    {
        auto lease = pool_.take(until, fresh, [&]() -> Outcome<std::unique_ptr<Connection>> {
            auto connection = std::make_unique<Connection>(options_);
            auto const latest = interlock::detail::add(runtime_.now(), options_.connect_timeout);
            auto connected = connection->connect(
                options_, interlock::detail::socket_deadline(runtime_, std::min(until, latest)), life_.get());
            if (!connected)
                return std::move(connected).failure();
            return connection;
        });
        if (!lease)
            return std::move(lease).failure();
        return Exchange{*std::move(lease)};
    }

    [[no_unique_address]] R runtime_;
    Options options_;
    boost::asio::any_io_executor executor_;  // of the asynchronous calls
    bool own_threads_;                       // that executor is the process's own
    std::uint64_t generation_;               // of the process that made it: a forked child is another one
    std::shared_ptr<Life> life_{std::make_shared<Life>()};
    std::once_flag shared_made_;
    std::unique_ptr<PipelineHandle<R>> shared_;  // of all asynchronous calls, once there was one
    std::shared_ptr<Subscriber> subscriber_;
    Pool pool_{"redis",  options_.max_connections, options_.max_waiting,
               runtime_, options_.observer,        info(options_)};  // of the blocking calls
    mutable std::mutex mutex_;                                       // of `check_`
    std::optional<ServerCheck> check_;  // what the server has said, once it was asked
    std::atomic<CompareAndDelete> compare_and_delete_{CompareAndDelete::unknown};
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_CLIENT_STATE_HPP
