// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_IMPL_EVENT_REPOSITORY_IPP
#define INTERLOCK_BACKENDS_POSTGRES_IMPL_EVENT_REPOSITORY_IPP

#include <interlock/backends/postgres/detail/batch.hpp>
#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/hidden_tables.hpp>
#include <interlock/backends/postgres/detail/names.hpp>
#include <interlock/backends/postgres/detail/subscriber.hpp>
#include <interlock/backends/postgres/detail/utf8.hpp>
#include <interlock/backends/postgres/event_repository.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/kit/recorded_events.hpp>
#include <interlock/core/kit/store_identity.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {

namespace detail {

/// As many rows as a page has at most, however many were asked for.
inline constexpr std::size_t largest_page = 100'000;

/// A read of at most `limit` events behind `after`; one more row tells whether there are more.
INTERLOCK_DECL Params read_params(Position after, std::size_t limit)
{
    Params params;
    params.number(after);
    params.number(static_cast<std::int64_t>(limit + 1));
    return params;
}

}  // namespace detail

template <class R>
BasicEventRepository<R>::Shared::Shared(
    std::shared_ptr<detail::PoolState<R>> p, EventRepositoryOptions options)
    : pool(std::move(p)),
      log(std::make_shared<detail::EventTable>(pool.get(), pool->tables(), std::move(options))),
      identity(intern_store(pool->identity() + "/events of " + log->name())), places(log->partitions())
{}

template <class R>
detail::PartitionStatements const& BasicEventRepository<R>::Shared::statements(unsigned partition)
{
    std::call_once(made_, [this] {
        std::vector<detail::PartitionStatements> all;
        for (unsigned i = 0; i < log->partitions(); ++i)
            all.emplace_back(*log, i);
        statements_ = std::move(all);
    });
    return statements_[partition];
}

template <class R>
BasicEventRepository<R>::BasicEventRepository(BasicPool<R> const& pool, EventRepositoryOptions options)
    : shared_(std::make_shared<Shared>(PoolAccess::state(pool), std::move(options)))
{}

template <class R>
R const& BasicEventRepository<R>::runtime() const noexcept
{
    return shared_->pool->runtime();
}

template <class R>
void const* BasicEventRepository<R>::identity() const noexcept
{
    return shared_->identity.get();
}

template <class R>
std::string BasicEventRepository<R>::place() const
{
    return detail::place_of_table(shared_->log->name());
}

template <class R>
unsigned BasicEventRepository<R>::partitions() const noexcept
{
    return shared_->log->partitions();
}

template <class R>
Capabilities BasicEventRepository<R>::capabilities() const noexcept
{
    return {.blocking_calls = shared_->pool->options().max_connections};
}

template <class R>
BasicEventRepository<R>::operator EventLogHandle() const noexcept
{
    return EventLogHandle{shared_->log};
}

template <class R>
std::string BasicEventRepository<R>::schema_sql() const
{
    return shared_->log->schema();
}

template <class R>
Outcome<void> BasicEventRepository<R>::create_schema(Deadline deadline) const
{
    auto const batch = detail::creation_of(schema_sql(), detail::stable_hash("schema", "events"));
    return detail::tables_made(shared_->pool->run(batch, detail::Access::commit, deadline));
}

template <class R>
Outcome<void> BasicEventRepository<R>::know(Deadline until) const
{
    if (!until.valid())
        return detail::failed(Errc::invalid_argument, "the deadline is not a number");
    if (shared_->log->is_known())
        return success();
    detail::Batch batch;
    shared_->log->add_check(batch);
    auto replies = shared_->pool->execute(batch, detail::Access::read, until);
    if (!replies)
        return shared_->log->explained(std::move(replies).failure());
    return shared_->log->judge_check((*replies)[0]);
}

template <class R>
Failure BasicEventRepository<R>::no_partition(unsigned partition) const
{
    return detail::failed(
        Errc::misconfigured,
        {"postgres: the log ", shared_->log->name(), " has lost its partition ", std::to_string(partition)});
}

template <class R>
detail::PartitionStatements const& BasicEventRepository<R>::statements_for(std::string_view stream) const
{
    return shared_->statements(shared_->log->partition(stream));
}

// ---- reading ------------------------------------------------------------------------------------

template <class R>
Outcome<EventPage> BasicEventRepository<R>::carry_out(verb::ReadEvents const& read, Deadline deadline) const
{
    if (auto valid = interlock::detail::validate_read(read.partition, partitions(), read.after, read.limit);
        !valid)
        return std::move(valid).failure();
    Deadline const until{deadline.valid() ? Deadline{deadline.at(runtime().now())} : deadline};
    if (auto known = know(until); !known)
        return std::move(known).failure();
    auto const limit = std::min(read.limit, detail::largest_page);
    auto& place = shared_->places[read.partition];
    auto const& statements = shared_->statements(read.partition);
    for (bool again = true, asks = false;;) {
        auto const before = place.before();
        asks = asks || before.waits;
        detail::Batch batch;
        if (asks)  // first, so that the snapshot of the rows comes behind it
            batch.add(statements.appenders);
        batch.add(statements.read(limit + 1), detail::read_params(read.after, limit));
        auto replies = shared_->pool->execute(batch, detail::Access::read, until);
        if (!replies)
            return shared_->log->explained(std::move(replies).failure());
        auto const& rows = replies->back();
        if (rows.rows() == 0)
            return no_partition(read.partition);
        auto const log = rows.number(0, detail::log_sequence).value_or(0);
        if (!place.is_of(before, log, rows.number(0, detail::log_last).value_or(0)))
            continue;
        auto const settled = asks ? place.look(before, detail::appenders_of((*replies)[0])) : before.settled;
        auto judged = detail::judge_page(rows, read.partition, read.after, limit, settled);
        if (!judged)
            return std::move(judged).failure();
        place.saw(log, judged->last);
        if (!judged->hole || !judged->page.events.empty() || !again)
            return std::move(judged->page);
        again = false;
        asks = true;
    }
}

template <class R>
Outcome<std::vector<Event>> BasicEventRepository<R>::carry_out(
    verb::ReadStream const& read, Deadline deadline) const
{
    if (auto valid = read.stream.validate(); !valid)
        return std::move(valid).failure();
    auto const partition = shared_->log->partition(read.stream.bytes());
    if (auto valid = interlock::detail::validate_read(partition, partitions(), read.after, read.limit);
        !valid)
        return std::move(valid).failure();
    Deadline const until{deadline.valid() ? Deadline{deadline.at(runtime().now())} : deadline};
    if (auto known = know(until); !known)
        return std::move(known).failure();
    detail::Params params;
    params.bytes(read.stream.bytes());
    params.number(read.after);
    params.number(static_cast<std::int64_t>(std::min(read.limit, detail::largest_page)));
    auto reply = shared_->pool->execute(
        shared_->statements(partition).read_stream, std::move(params), detail::Access::read, until);
    if (!reply)
        return shared_->log->explained(std::move(reply).failure());
    std::vector<Event> events;
    for (std::size_t row = 0; row < reply->rows(); ++row) {
        auto event = detail::event_of(*reply, row, partition, 0);
        if (!event)
            return std::move(event).failure();
        events.push_back(*std::move(event));
    }
    return events;
}

template <class R>
Outcome<LogExtent> BasicEventRepository<R>::carry_out(
    verb::ExtentOfLog const& extent, Deadline deadline) const
{
    if (auto valid = interlock::detail::validate_read(extent.partition, partitions(), 0, 1); !valid)
        return std::move(valid).failure();
    Deadline const until{deadline.valid() ? Deadline{deadline.at(runtime().now())} : deadline};
    if (auto known = know(until); !known)
        return std::move(known).failure();
    auto reply =
        shared_->pool->execute(shared_->statements(extent.partition).extent, {}, detail::Access::read, until);
    if (!reply)
        return shared_->log->explained(std::move(reply).failure());
    if (reply->rows() == 0)
        return no_partition(extent.partition);
    return LogExtent{reply->number(0, 0).value_or(0), reply->number(0, 1).value_or(0)};
}

// ---- appending ----------------------------------------------------------------------------------

template <class R>
Outcome<Appended> BasicEventRepository<R>::carry_out(
    verb::AppendEvents const& append, Deadline deadline) const
{
    if (auto valid = interlock::detail::validate_append(append); !valid)
        return std::move(valid).failure();
    if (auto valid = shared_->log->validate_texts(append.events); !valid)
        return std::move(valid).failure();
    Deadline const until{deadline.valid() ? Deadline{deadline.at(runtime().now())} : deadline};
    if (auto known = know(until); !known)
        return std::move(known).failure();
    if (append.events.empty())
        return append_nothing(append, until);
    auto const& log = *shared_->log;
    auto const events = interlock::detail::with_ids(append.events, runtime());
    verb::AppendEvents const asked{append.stream, append.expected, events, append.id};
    for (bool locks_first = log.contended(append.stream.bytes());; locks_first = true) {
        detail::Batch batch;
        log.add_append(batch, asked, locks_first);
        auto exchange = shared_->pool->run(batch, detail::Access::commit, until);
        if (!exchange)
            return std::move(exchange).failure();
        if (exchange->error) {
            // Of what is there already an older snapshot says nothing: neither a number, nor this append.
            bool const raced = log.lost_race(*exchange->error, append.stream.bytes());
            if (!locks_first && (raced || exchange->error->state == "23505"))
                continue;
            return log.append_failed(*exchange->error, detail::Access::commit);
        }
        auto appended = log.judge_append(asked, locks_first, exchange->replies);
        if (appended && !appended->duplicate)
            shared_->pool->subscriber().announce(log.wake_hash_of(append.stream.bytes()));
        return appended;
    }
}

template <class R>
Outcome<Appended> BasicEventRepository<R>::append_nothing(
    verb::AppendEvents const& append, Deadline until) const
{
    detail::Params params;
    params.bytes(append.stream.bytes());
    if (append.id != nullptr)
        params.bytes(append.id->value());
    else
        params.null();
    auto const& statements = statements_for(append.stream.bytes());
    auto reply = shared_->pool->execute(
        shared_->log->keeps_ends_apart() ? statements.look_apart : statements.look, std::move(params),
        detail::Access::read, until);
    if (!reply)
        return shared_->log->explained(std::move(reply).failure());
    if (auto const number = reply->number(0, detail::known_number))
        return Appended{true, *number, reply->number(0, detail::known_position).value_or(0)};
    auto const last = reply->number(0, detail::stream_number).value_or(0);
    if (!append.expected.allows(last))
        return detail::failed(Errc::version_conflict, {"the stream is at number ", std::to_string(last)});
    return Appended{false, last, reply->number(0, 3).value_or(0)};
}

// ---- consumers ----------------------------------------------------------------------------------

template <class R>
Outcome<void> BasicEventRepository<R>::carry_out(verb::NoteConsumer const& note, Deadline deadline) const
{
    if (auto valid = interlock::detail::validate_read(note.partition, partitions(), note.position, 1); !valid)
        return valid;
    if (auto valid = interlock::detail::validate_consumer(note.consumer); !valid)
        return valid;
    if (!detail::is_utf8(note.consumer))
        return detail::failed(
            Errc::invalid_argument, "postgres: the name of a consumer must be UTF-8, without a NUL");
    Deadline const until{deadline.valid() ? Deadline{deadline.at(runtime().now())} : deadline};
    if (auto known = know(until); !known)
        return known;
    detail::Params params;
    params.text(std::string(note.consumer));
    params.number(note.position);
    params.number(note.goes_back ? 1 : 0);
    auto reply = shared_->pool->execute(
        shared_->statements(note.partition).note, std::move(params), detail::Access::commit, until);
    if (!reply)
        return shared_->log->explained(std::move(reply).failure());
    if (reply->rows() == 0)
        return no_partition(note.partition);
    if (auto const last = reply->number(0, 0).value_or(0); note.position > last)
        return interlock::detail::position_beyond_log(note.position, last);
    return success();
}

template <class R>
Outcome<void> BasicEventRepository<R>::carry_out(verb::ForgetConsumer const& forget, Deadline deadline) const
{
    if (auto valid = interlock::detail::validate_consumer(forget.consumer); !valid)
        return valid;
    if (!detail::is_utf8(forget.consumer))
        return success();  // nobody has such a name
    Deadline const until{deadline.valid() ? Deadline{deadline.at(runtime().now())} : deadline};
    if (auto known = know(until); !known)
        return known;
    detail::Params params;
    params.text(std::string(forget.consumer));
    detail::Batch batch;
    batch.add(shared_->log->line("DELETE FROM {consumers} WHERE consumer = $1::text"), std::move(params));
    auto done = shared_->pool->execute(batch, detail::Access::commit, until);
    return done ? success() : Outcome<void>{shared_->log->explained(std::move(done).failure())};
}

template <class R>
Outcome<Position> BasicEventRepository<R>::carry_out(verb::TrimEvents const& trim, Deadline deadline) const
{
    if (auto valid = interlock::detail::validate_read(trim.partition, partitions(), trim.up_to, 1); !valid)
        return std::move(valid).failure();
    Deadline const until{deadline.valid() ? Deadline{deadline.at(runtime().now())} : deadline};
    if (auto known = know(until); !known)
        return std::move(known).failure();
    auto const& statements = shared_->statements(trim.partition);
    detail::Params params;
    params.number(trim.up_to);
    detail::Batch batch;
    batch.add(statements.trim_mark, std::move(params));
    if (shared_->log->keeps_ends_apart()) {
        batch.add(statements.trim_apart);
    } else {
        batch.add(statements.rename_ends);
        batch.add(statements.trim);
    }
    auto replies = shared_->pool->execute(batch, detail::Access::commit, until);
    if (!replies)
        return shared_->log->explained(std::move(replies).failure());
    if ((*replies)[0].rows() == 0)
        return no_partition(trim.partition);
    return (*replies)[0].number(0, 0).value_or(0);
}

// ---- wake-ups -----------------------------------------------------------------------------------

template <class R>
void BasicEventRepository<R>::subscribe(unsigned partition, Waiter& waiter) const
{
    shared_->pool->subscriber().subscribe(shared_->log->wake_hash(partition), waiter);
}

template <class R>
void BasicEventRepository<R>::unsubscribe(unsigned partition, Waiter& waiter) const noexcept
{
    shared_->pool->subscriber().unsubscribe(shared_->log->wake_hash(partition), waiter);
}

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_IMPL_EVENT_REPOSITORY_IPP
