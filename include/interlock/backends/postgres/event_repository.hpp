// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_EVENT_REPOSITORY_HPP
#define INTERLOCK_BACKENDS_POSTGRES_EVENT_REPOSITORY_HPP

/// @file
/// Events in a PostgreSQL server, stored in the transactions of `postgres::StateRepository`.
///
///     interlock::postgres::EventRepository const events{pool};  // its tables: events.create_schema()
///     interlock::postgres::StateRepository<Stock> const stock{pool, {.table = "stock", .key = "sku",
///                                                                    .events = events}};
///     interlock::TransactionService const sales{interlock::PessimisticRowLock{}, stock};
///     sales.do_in_transaction("sku-1", [](Stock& s, interlock::Recorder& record) {
///         --s.quantity;
///         record(Sold{s.sku, 1});
///     });

#include <interlock/backends/postgres/detail/event_reading.hpp>
#include <interlock/backends/postgres/detail/event_table.hpp>
#include <interlock/backends/postgres/detail/pool_state.hpp>
#include <interlock/backends/postgres/pool.hpp>
#include <interlock/backends/postgres/repository_options.hpp>
#include <interlock/core/contracts/event_repository.hpp>
#include <interlock/core/kit/event_members.hpp>
#include <interlock/core/runtime/runtime.hpp>

#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {

/// A log of events in a PostgreSQL server. Models `EventRepository` and `SubscribableEvents`.
///
/// **Guarantee.** An event is there when, and only when, the transaction that it came with was committed: a
/// prepared one (PREPARE TRANSACTION) when it is. A reader that goes on at `next` misses nothing, however
/// transactions overlap: a missing position is passed over only once every transaction that could have
/// stored an event there has ended. That is asked of the server; no clock and no time-out decides it, and
/// transactions that append nothing hold no reader up. No writer waits for another one, but for one that
/// writes into the same stream.
/// **Does not guarantee.** Anything after the server has lost commits: in a failover to an asynchronous
/// replica, or in a crash with `synchronous_commit = off`. Then a reader's position may be beyond the log
/// (`corrupt_state`), or events may be stored behind it. Anything against statements that are not this
/// library's and insert into the table, change a sequence of it, or store events with a trigger. Wake-ups: a
/// lost one costs time only.
/// **Outcomes.** As `StateRepository`; those of the verbs besides. A log whose tables are not as
/// `schema_sql` makes them is `misconfigured`, as is one whose sequences have a cache: that is asked once. A
/// replica is not read (`unavailable`), since the locks that prove a hole are not seen there.
/// **Lifetimes.** A shared handle; it keeps its pool alive, and the repositories that were given it keep the
/// log.
/// **Thread safety.** Every member may be called from several threads at once.
/// **Cost.** To append with a commit: no round trip. `append`, `read`: one; where the events that come next
/// are behind a missing position, a read costs one more. Wake-ups for other processes leave by the pool's
/// connection for them, 5 ms apart at least, and never in a transaction that stores something, since NOTIFY
/// would let all commits of the server wait for each other.
///
/// `EventRepository` is the one of the system's runtime.
template <class Runtime>
class BasicEventRepository : public EventMembers<BasicEventRepository<Runtime>> {
public:
    using runtime_type = Runtime;
    static constexpr std::string_view name = "postgres";

    /// Does not connect. Throws `Error` (`invalid_argument`) for options out of range.
    explicit BasicEventRepository(BasicPool<Runtime> const& pool, EventRepositoryOptions options = {});

    Runtime const& runtime() const noexcept;
    /// Equal for all logs of this process with the same server address, database, user, settings of the
    /// session in the URL (`options`), name space and table.
    void const* identity() const noexcept;
    /// What messages call this log. Names no server.
    std::string place() const;
    unsigned partitions() const noexcept;
    /// The pool that it was made with: that of the states whose events it keeps.
    BasicPool<Runtime> pool() const noexcept { return PoolAccess::handle(shared_->pool); }
    /// Calls block, as many at a time as the pool has connections.
    Capabilities capabilities() const noexcept;

    /// The DDL of the log as a text: to be read, put into a migration, or run by hand. Running it again
    /// changes nothing. Besides USAGE on the schema the role that uses the log needs SELECT, INSERT, UPDATE
    /// and DELETE on the tables, and USAGE on the sequences.
    std::string schema_sql() const;
    /// Runs it, in one transaction; as `postgres::create_schema` does.
    Outcome<void> create_schema(Deadline deadline = std::chrono::seconds{30}) const;

    Outcome<EventPage> carry_out(verb::ReadEvents const& read, Deadline deadline) const;
    Outcome<std::vector<Event>> carry_out(verb::ReadStream const& read, Deadline deadline) const;
    /// An event whose id was stored before, by another append, is `constraint_violated`.
    Outcome<Appended> carry_out(verb::AppendEvents const& append, Deadline deadline) const;
    Outcome<LogExtent> carry_out(verb::ExtentOfLog const& extent, Deadline deadline) const;
    Outcome<void> carry_out(verb::NoteConsumer const& note, Deadline deadline) const;
    Outcome<void> carry_out(verb::ForgetConsumer const& forget, Deadline deadline) const;
    /// Removes at most 100,000 events at once: call it again until it returns what was asked for, or twice
    /// the same.
    Outcome<Position> carry_out(verb::TrimEvents const& trim, Deadline deadline) const;

    void subscribe(unsigned partition, Waiter& waiter) const;
    void unsubscribe(unsigned partition, Waiter& waiter) const noexcept;

    /// For `RepositoryOptions::events`: the log, whatever the runtime.
    operator EventLogHandle() const noexcept;  // NOLINT: meant to be implicit

private:
    // What all copies of the handle share.
    struct Shared {
        Shared(std::shared_ptr<detail::PoolState<Runtime>> p, EventRepositoryOptions options);

        std::shared_ptr<detail::PoolState<Runtime>> pool;
        std::shared_ptr<detail::EventTable> log;
        std::shared_ptr<std::string const> identity;  // of the log, see `intern_store`
        std::deque<detail::ReadingPlace> places;      // of each partition

        /// Of each partition; to be asked for once the log is known, since it decides how it is named.
        detail::PartitionStatements const& statements(unsigned partition);

    private:
        std::once_flag made_;
        std::vector<detail::PartitionStatements> statements_;
    };

    // Whether the log is as it must be; asks the server once.
    Outcome<void> know(Deadline until) const;
    detail::PartitionStatements const& statements_for(std::string_view stream) const;
    Failure no_partition(unsigned partition) const;
    Outcome<Appended> append_nothing(verb::AppendEvents const& append, Deadline until) const;

    std::shared_ptr<Shared> shared_;
};

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/impl/event_repository.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_EVENT_REPOSITORY_HPP
