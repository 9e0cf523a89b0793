// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_POOL_STATE_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_POOL_STATE_IPP

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/greeting.hpp>
#include <interlock/backends/postgres/detail/names.hpp>
#include <interlock/backends/postgres/detail/pool_state.hpp>
#include <interlock/backends/postgres/detail/settings.hpp>
#include <interlock/backends/postgres/detail/statement_text.hpp>
#include <interlock/backends/postgres/detail/transaction_settings.hpp>
#include <interlock/core/runtime/stream.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

INTERLOCK_DECL Settings settings_of(Options const& options)
{
    auto settings = parse_settings(options.url).value_or(Settings{});
    auto const add = [&](char const* keyword, std::string value) {
        if (setting(settings, keyword).empty())
            settings.emplace_back(keyword, std::move(value));
    };
    // The statements of this library are UTF-8, whatever the URL says.
    std::erase_if(settings, [](auto const& entry) { return entry.first == "client_encoding"; });
    settings.emplace_back("client_encoding", "UTF8");
    add("application_name", options.application_name);
    add("keepalives_idle", "10");
    add("keepalives_interval", "3");
    add("keepalives_count", "3");
    add("tcp_user_timeout", std::to_string(options.tcp_user_timeout.count()));
    auto const host = host_of(settings);
    if (!local_host(host) || !local_host(setting(settings, "hostaddr")))
        add("sslmode", "verify-full");
    if (host.find(',') != std::string::npos)
        add("target_session_attrs", "read-write");
    return settings;
}

template <class R>
PoolState<R>::PoolState(R runtime, Options options)
    : runtime_(std::move(runtime)), options_(std::move(options)), settings_(settings_of(options_)),
      endpoint_(endpoint_of(settings_)), tables_(tables_of(options_.name_space, options_.schema)),
      generation_(runtime_.generation()), subscriber_(std::make_shared<Subscriber<R>>(
                                              runtime_, settings_, endpoint_, options_.name_space + "_wake"))
{}

template <class R>
std::string PoolState<R>::identity() const
{
    return endpoint_ + "/" + names_of_session(settings_) + "/" + tables_;
}

template <class R>
PoolState<R>::~PoolState()
{
    if (!forked())  // a forked child must leave its parent's thread and sessions alone
        subscriber_->stop();
}

template <class R>
std::string PoolState<R>::custom_settings() const
{
    auto const named = setting(settings_, "options");
    return detail::custom_settings(named.empty() ? default_setting("options") : named);
}

template <class R>
Outcome<typename PoolState<R>::Session> PoolState<R>::take(TimePoint until, bool& fresh)
{
    if (forked())
        return failed(
            Errc::misconfigured, "this postgres pool was made before a fork; make a new one in the child");
    for (;;) {
        auto session = pool_.take(until, fresh, [&]() -> Outcome<std::unique_ptr<Connection>> {
            auto connection = std::make_unique<Connection>();
            connection->set_schema(schema());
            if (auto connected = connect(*connection, until); !connected)
                return std::move(connected).failure();
            return connection;
        });
        if (!session || fresh || (*session)->schema() == schema())
            return session;
        (*session)->mark_unusable();  // its plans are too old; the next one is tried, or made
    }
}

template <class R>
Outcome<typename PoolState<R>::Session> PoolState<R>::take(TimePoint until)
{
    bool fresh = false;
    return take(until, fresh);
}

template <class R>
Outcome<Exchange> PoolState<R>::run(Batch const& batch, Access access, Deadline deadline, bool again)
{
    if (!deadline.valid())
        return failed(Errc::invalid_argument, "the deadline is not a number");
    auto const until = deadline.at(runtime_.now());
    for (bool first = true;; first = false) {
        bool fresh = false;
        auto session = take(until, fresh);
        if (!session)
            return std::move(session).failure();
        auto const socket_until = interlock::detail::socket_deadline(runtime_, until);
        auto exchange = (*session)->run(batch, socket_until, Connection::Bounded::by_session, access);
        if (exchange.progress == Progress::answered && !exchange.error && !exchange.unconfirmed)
            return exchange;
        name_deadline(exchange, socket_until);
        // The server had ended the session while it lay in the pool. What was only to be read, or was not
        // sent, may be sent again on another one; a fresh session shows that the server itself is the
        // reason.
        bool const stale = exchange.progress == Progress::unsent ||
                           (exchange.progress == Progress::lost && access == Access::read);
        if (stale && !fresh)
            continue;
        bool const elsewhere = exchange.error && exchange.error->state == "25006";
        if (exchange.error && heal(**session, *exchange.error) && first && (again || elsewhere))
            continue;
        if (exchange.progress == Progress::answered && exchange.error)
            return exchange;
        return failure_of(exchange, access);
    }
}

template <class R>
void PoolState<R>::name_deadline(Exchange& exchange, TimePoint socket_until) noexcept
{
    if (exchange.error && exchange.error->state == "55P03" && !exchange.error->raised &&
        interlock::detail::socket_now() >= socket_until)
        exchange.error->state = "57014";
}

template <class R>
Outcome<Reply> PoolState<R>::query(std::string const& sql, Params const& params, Deadline deadline)
{
    if (!deadline.valid())
        return failed(Errc::invalid_argument, "the deadline is not a number");
    auto const word = first_word(sql);
    if (auto refused = refusal_of(sql, word))
        return *std::move(refused);
    auto const leaves = leaves_in_session(sql, word);
    auto const until = deadline.at(runtime_.now());
    for (bool first = true;; first = false) {
        bool fresh = false;
        auto session = take(until, fresh);
        if (!session)
            return std::move(session).failure();
        if (leaves == Leaves::unknown)
            (*session)->mark_unusable();
        if (leaves == Leaves::undoable)
            (*session)->mark_changed();
        Batch batch;
        batch.add_settings(only_reads());
        batch.add(sql, Params(params));
        auto const socket_until = interlock::detail::socket_deadline(runtime_, until);
        auto exchange = (*session)->run(batch, socket_until, Connection::Bounded::by_session, Access::read);
        if (leaves != Leaves::nothing)
            (*session)->restore();
        if (exchange.progress == Progress::answered && !exchange.error)
            return std::move(exchange.replies[0]);
        name_deadline(exchange, socket_until);
        bool const stale = exchange.progress == Progress::unsent || exchange.progress == Progress::lost;
        if (stale && !fresh)
            continue;
        if (exchange.error && exchange.error->state == "25006" && !exchange.error->raised)
            return failed(
                Errc::invalid_argument,
                "postgres: a query only reads (25006), and this statement changes something; let an "
                "operation execute it, in its Transaction");
        if (exchange.error && heal(**session, *exchange.error) && first)
            continue;
        return failure_of(exchange, Access::read);
    }
}

template <class R>
Outcome<std::vector<Reply>> PoolState<R>::execute(Batch const& batch, Access access, Deadline deadline)
{
    auto exchange = run(batch, access, deadline);
    if (!exchange)
        return std::move(exchange).failure();
    if (exchange->error)
        return failure_of(*exchange->error, access);
    return std::move(exchange->replies);
}

template <class R>
Outcome<Reply> PoolState<R>::execute(
    Statement const& statement, Params params, Access access, Deadline deadline)
{
    Batch batch;
    batch.add(statement, std::move(params));
    auto replies = execute(batch, access, deadline);
    if (!replies)
        return std::move(replies).failure();
    return std::move((*replies)[0]);
}

template <class R>
bool PoolState<R>::heal(Connection& connection, SqlError const& error) noexcept
{
    if (error.raised)  // the words of a user's RAISE say nothing about the connection
        return false;
    // The server is a replica, perhaps a former primary. The idle connections lead there, too.
    if (error.state == "25006") {
        connection.mark_unusable();
        pool_.drop_idle();
        return true;
    }
    // Other sessions have such plans, too, so none of them is lent again.
    if (is_of_old_plan(error)) {
        if (!error.within)
            schema_has_changed(*error.planned_in);
        connection.mark_unusable();
        return true;
    }
    if (is_of_kept_plan(error.state)) {
        connection.mark_unusable();
        return error.state == "0A000";
    }
    return false;
}

template <class R>
Outcome<void> PoolState<R>::connect(Connection& connection, TimePoint until)
{
    auto const soon = interlock::detail::add(runtime_.now(), options_.connect_timeout);
    auto const by = std::min(until, soon);
    auto const socket_by = interlock::detail::socket_deadline(runtime_, by);
    if (auto opened = connection.open(settings_, endpoint_, socket_by); !opened) {
        if (by == until && runtime_.now() >= until)
            return Failure::because(Errc::deadline_exceeded, std::move(opened).failure());
        return opened;
    }
    return greet(connection, settings_, endpoint_, tables_, library_schema_, socket_by);
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_POOL_STATE_IPP
