// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_CALL_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_CALL_HPP

// The two ways in which a repository sends a command: on the calling thread (`ask`), or over the shared
// connection, where nobody is blocked (`start`). A verb is one `Request` for both, which says what is sent,
// and one function that says what the reply means. Only that function may know the type of a state:
// everything else is compiled once per runtime.
//
// In this folder `[[gnu::cold]]` marks what runs once per connection, or when something has gone wrong: the
// compiler keeps it small and inlines it nowhere, so that a unit takes less time to compile.
// `[[gnu::noinline]]` marks what every verb calls several times.

#include <interlock/backends/redis/access.hpp>
#include <interlock/backends/redis/detail/command.hpp>
#include <interlock/backends/redis/detail/queued_command.hpp>
#include <interlock/backends/redis/detail/resender.hpp>
#include <interlock/backends/redis/detail/script_call.hpp>
#include <interlock/backends/redis/reply.hpp>
#include <interlock/core/contracts/store.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/kit/known_call.hpp>
#include <interlock/core/outcome.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

template <class R>
class ClientState;
template <class R>
class Pipeline;

/// What is sent for one verb. `What`: a `Command` or a `ScriptCall`.
template <class What>
struct Request {
    What what;
    Script const* script;              // what `what` calls; null where it calls none
    Access access;                     // what `what` does to the data of the server
    std::uint64_t life{0};             // not 0: to be sent in this life of the server only; see `Life`
    TimePoint until{};                 // when the call ends at the latest; see `set_time`
    std::optional<Failure> refused{};  // why nothing is sent
};

/// Whoever takes a reply while it is there. Refers to what it was made of. Returns whether the reply means
/// success.
class TakeReply {
public:
    template <class F>
    explicit TakeReply(F& take) noexcept
        : take_([](void* object, ReplyView reply) { return (*static_cast<F*>(object))(reply); }),
          object_(&take)
    {}
    bool operator()(ReplyView reply) const { return take_(object_, reply); }

private:
    bool (*take_)(void*, ReplyView);
    void* object_;
};

/// For a write that counts only once `replicas` replicas have it.
struct Replicas {
    std::size_t replicas;
    std::chrono::milliseconds timeout;  // how long the replicas may take

    /// The write and the question to the replicas (WAIT), as they leave together: WAIT is about what its own
    /// connection wrote last. Half of the time to the deadline is left.
    [[gnu::cold]] std::string together(std::string_view write, TimePoint now, TimePoint until) const;
    bool enough(ReplyView waited) const noexcept;
    /// Too few have the write; `what` that was, and what becomes of it.
    [[gnu::cold]] Failure missing(ReplyView waited, std::string_view what) const;
};

/// For one that is taken back otherwise, in the time that is left.
struct Replication : Replicas {
    ScriptCall undo;

    /// Why the write does not count. `undone`: it is known to have been taken back.
    [[gnu::cold]] Failure not_granted(ReplyView waited, bool undone) const;
};

// ---- On the calling thread, over a pooled connection

/// Sends `request` and gives its reply to `take`. Returns why there is no reply.
template <class R, class What>
std::optional<Failure> exchange(
    ClientState<R>& client, Request<What> const& request, Deadline deadline, TakeReply take);

/// The same for a write that counts only once replicas have it.
template <class R>
[[gnu::cold]] std::optional<Failure> exchange_replicated(
    ClientState<R>& client, Request<ScriptCall> const& request, Deadline deadline,
    Replication const& replication, TakeReply take);

/// What `read(ReplyView)`, an `Outcome<X>`, makes of the reply that `exchange(TakeReply)` gives.
template <class X, class Exchange, class Read>
Outcome<X> read_from(Exchange exchange, Read const& read)
{
    Outcome<X> outcome;
    auto take = [&](ReplyView reply) {
        outcome = read(reply);
        return outcome.has_value();
    };
    if (auto failure = exchange(TakeReply{take}))
        outcome = *std::move(failure);
    return outcome;
}

/// The outcome of `request` for a caller that may block.
template <class X, class R, class What, class Read>
Outcome<X> ask(ClientState<R>& client, Request<What> const& request, Deadline deadline, Read const& read)
{
    return read_from<X>([&](TakeReply take) { return exchange(client, request, deadline, take); }, read);
}

// ---- Over the shared connection: nobody is blocked

/// Says when a call ends that is started now, or that its deadline has come already.
template <class R, class What>
void set_time(ClientState<R>& client, Request<What>& request, Deadline deadline);

/// One command of the shared connection, from its start to its reply.
template <class R>
class SentCommand : private QueuedCommand {
public:
    SentCommand(SentCommand const&) = delete;
    SentCommand& operator=(SentCommand const&) = delete;

    void start() noexcept;
    /// The pipeline does not touch it from now on. Called before it is destroyed, as long as it is whole: a
    /// destructor would change what another thread may be calling.
    void forget() noexcept;
    /// Nothing while there is no answer of the server. The reply stays where it is until this ends.
    std::optional<Outcome<ReplyView>> poll();
    /// See `StoreCall::reason`.
    [[gnu::cold]] Failure reason();
    /// Whether the call has come to its end once its reply was read and meant success.
    static constexpr bool settled() noexcept { return true; }

protected:
    /// What `payload` refers to outlives this. `script`: what it calls; null where it calls none.
    SentCommand(
        ClientState<R>& client, Payload payload, Script const* script, Access access, TimePoint until,
        std::uint64_t life, Waiter& waiter);
    ~SentCommand() = default;

private:
    void finished() noexcept override;

    std::shared_ptr<Pipeline<R>> pipeline_;
    Payload payload_;  // as it is sent first
    Resender resender_;
    Waiter& waiter_;
};

/// Keeps what a command refers to.
template <class What>
struct SentWords {
    What what;
};

/// A `SentCommand` with what it refers to, which therefore is the first base.
template <class R, class What>
class PipelinedCommand final : private SentWords<What>, public SentCommand<R> {
public:
    PipelinedCommand(ClientState<R>& client, Request<What>&& request, Waiter& waiter)
        : SentWords<What>{std::move(request.what)},
          SentCommand<R>(
              client, this->what, request.script, request.access, request.until, request.life, waiter)
    {}
};

/// A write that counts only once replicas have it: one command of the shared connection, and, where they do
/// not have it in time, a second one that takes it back. Its members mean what those of `SentCommand` mean.
template <class R>
class ReplicatedCommand final : private QueuedCommand {
public:
    [[gnu::cold]] ReplicatedCommand(
        ClientState<R>& client, Request<ScriptCall>&& request, Waiter& waiter, Replication&& replication);
    ReplicatedCommand(ReplicatedCommand const&) = delete;
    ReplicatedCommand& operator=(ReplicatedCommand const&) = delete;
    ~ReplicatedCommand() = default;

    [[gnu::cold]] void start() noexcept;
    [[gnu::cold]] void forget() noexcept;
    [[gnu::cold]] std::optional<Outcome<ReplyView>> poll();
    [[gnu::cold]] Failure reason();
    [[gnu::cold]] bool settled() noexcept;

private:
    void finished() noexcept override;

    std::shared_ptr<Pipeline<R>> pipeline_;
    Replication replication_;
    std::string bytes_;  // of the write and the question
    Reply waited_;       // what the replicas came to
    Resender resender_;
    Resender undo_resender_;
    Waiter& waiter_;
    bool undoing_{false};  // the write is being taken back, and the reply is to that
};

/// A call whose outcome is what `Read` makes of the reply. `Sent`: `PipelinedCommand` or `ReplicatedCommand`.
template <class X, class Sent, class Read>
class ReadCall final : public StoreCall<X> {
public:
    template <class... A>
    explicit ReadCall(Read read, A&&... arguments)
        : read_(std::move(read)), sent_(std::forward<A>(arguments)...)
    {
        sent_.start();
    }
    ReadCall(ReadCall const&) = delete;
    ReadCall& operator=(ReadCall const&) = delete;
    ~ReadCall() override { sent_.forget(); }

    std::optional<Outcome<X>> poll() override
    {
        std::optional<Outcome<X>> outcome;
        auto const reply = sent_.poll();
        if (!reply)
            return outcome;
        if (!*reply)
            outcome.emplace(reply->failure());
        else if (outcome.emplace(read_(**reply)) && !sent_.settled())
            outcome.reset();
        return outcome;
    }
    Failure reason() override { return sent_.reason(); }

private:
    Read read_;
    Sent sent_;
};

/// `request`, once it was given its time: refused, or begun.
template <class X, class Sent, class R, class What, class Read, class... A>
StartedCall<X> begin(ClientState<R>& client, Request<What>&& request, Waiter& waiter, Read read, A&&... more)
{
    if (request.refused)
        return std::make_unique<KnownCall<X>>(*std::move(request.refused));
    return std::make_unique<ReadCall<X, Sent, Read>>(
        std::move(read), client, std::move(request), waiter, std::forward<A>(more)...);
}

/// The call of `request` for a caller that must not block: `waiter` is woken when there is an outcome.
template <class X, class R, class What, class Read>
StartedCall<X> start(
    ClientState<R>& client, Request<What>&& request, Deadline deadline, Waiter& waiter, Read read)
{
    set_time(client, request, deadline);
    return begin<X, PipelinedCommand<R, What>>(client, std::move(request), waiter, std::move(read));
}

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/redis/detail/impl/call.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_CALL_HPP
