// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_EVENT_REPOSITORY_HPP
#define INTERLOCK_BACKENDS_REDIS_EVENT_REPOSITORY_HPP

/// @file
/// Events in a Redis server, stored by the script that stores the change which made them happen.
///
///     interlock::redis::Client const client{"redis://localhost?name_space=shop"};
///     interlock::redis::EventRepository const events{client, {.writer = "sales"}};
///     interlock::redis::StateRepository<Stock> const stock{client, {.events = events}};
///     interlock::TransactionService const sales{interlock::OptimisticVersioning{}, stock};
///     sales.do_in_transaction("sku-1", [](Stock& s, interlock::Recorder& record) {
///         --s.quantity;
///         record(Sold{s.sku, 1});
///     });
///     auto const page = events.read(0, 0).value();  // one event, number 1 of the stream "sku-1"

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/fwd.hpp>
#include <interlock/backends/redis/repository_options.hpp>
#include <interlock/core/contracts/event_repository.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/kit/event_members.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/runtime/runtime.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace redis {

/// A log of events in a Redis server: one partition for each shard of the states' name space, in the slot of
/// that shard. Models `EventRepository` and `SubscribableEvents`.
///
/// **Guarantee.** The laws of `EventRepository`, for as long as the server keeps its data. The server runs
/// one script at a time, so a log has no holes: what is read is all there was. Repositories of several types
/// that share a name space write into one log; `partition_of` says which partition a stream is in. Positions
/// are the server's time and a number within the millisecond, and never below the one before: a server that
/// has lost its last events in a failover goes on above them, so that no reader passes over a later event,
/// unless its clock is behind by more than the failover took.
/// **Does not guarantee.** That a restart or a failover keeps the last events: see the README. What is lost
/// is lost together with the changes that brought it. The numbers of lost events are given again.
/// **Failures.** As `StateRepository`; a full log or a full server is `overloaded`, and the commit that
/// brought the events is refused as a whole. `read` and `read_stream` skip nothing: a damaged entry is
/// `corrupt_state`. An append without an id whose reply was lost is `outcome_unknown`.
/// **Lifetimes.** A shared handle; it keeps its client alive.
/// **Thread safety.** Everything: safe.
/// **Wake-ups.** Readers in this process, on this client, hear of a commit at once. Those of other processes
/// hear of it by a message once any consumer of the partition was noted (`note_consumer`); a log that nobody
/// is known to read sends none.
/// **Cost.** No trip for events that come with a commit. One round trip per member; a page ends after 1 MiB
/// and goes on with the next call. `read_stream` takes another trip for each MiB, `forget_consumer` one for
/// each shard. Asynchronous appends of one event each, without an operation id, that are issued at once,
/// leave as one command for each shard. `async_append`, `async_read` and `async_extent` occupy no thread.
///
/// `Runtime`: see `core/runtime/runtime.hpp`. Users write `redis::EventRepository`.
template <class Runtime>
class BasicEventRepository : public EventMembers<BasicEventRepository<Runtime>> {
public:
    using runtime_type = Runtime;
    static constexpr std::string_view name = "redis";

    /// Throws `Error` (`invalid_argument`) for options out of range, and for a client whose `max_reply_bytes`
    /// is below 4 MiB: the largest event must fit. Does not connect.
    explicit BasicEventRepository(BasicClient<Runtime> client, EventRepositoryOptions options = {});

    Runtime const& runtime() const noexcept;
    /// Equal for all handles of this process with the same server address, database and name space, and the
    /// same as that of the repositories of states there.
    void const* identity() const noexcept;
    /// For messages. Names no server: its address may hold a password.
    std::string place() const;
    /// The number of shards.
    unsigned partitions() const noexcept;
    /// Asynchronous calls are started, but for `read_stream`.
    Capabilities capabilities() const noexcept;

    Outcome<EventPage> carry_out(verb::ReadEvents const& read, Deadline deadline) const;
    Outcome<std::vector<Event>> carry_out(verb::ReadStream const& read, Deadline deadline) const;
    Outcome<Appended> carry_out(verb::AppendEvents const& append, Deadline deadline) const;
    Outcome<LogExtent> carry_out(verb::ExtentOfLog const& extent, Deadline deadline) const;
    Outcome<void> carry_out(verb::NoteConsumer const& note, Deadline deadline) const;
    Outcome<void> carry_out(verb::ForgetConsumer const& forget, Deadline deadline) const;
    Outcome<Position> carry_out(verb::TrimEvents const& trim, Deadline deadline) const;

    StartedCall<EventPage> start(verb::ReadEvents const& read, Deadline deadline, Waiter& waiter) const;
    StartedCall<Appended> start(verb::AppendEvents const& append, Deadline deadline, Waiter& waiter) const;
    StartedCall<LogExtent> start(verb::ExtentOfLog const& extent, Deadline deadline, Waiter& waiter) const;

    void subscribe(unsigned partition, Waiter& waiter) const;
    void unsubscribe(unsigned partition, Waiter& waiter) const noexcept;

    /// For `RepositoryOptions::events`: the log, whatever the runtime.
    operator EventLogHandle() const noexcept;  // NOLINT: meant to be implicit

private:
    struct Shared;
    std::shared_ptr<Shared const> shared_;
};

}  // namespace redis
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/redis/impl/event_repository.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_REDIS_EVENT_REPOSITORY_HPP
