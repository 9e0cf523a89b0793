// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_JOINT_STORE_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_JOINT_STORE_HPP

/// @file
/// Commits of several `redis::StateRepository`s of one client: one script.

#include <interlock/backends/redis/detail/call.hpp>
#include <interlock/backends/redis/detail/client_state.hpp>
#include <interlock/backends/redis/detail/commit_events.hpp>
#include <interlock/backends/redis/detail/joint_script.hpp>
#include <interlock/backends/redis/detail/raw_changes.hpp>
#include <interlock/backends/redis/detail/state_core.hpp>
#include <interlock/backends/redis/detail/stored.hpp>
#include <interlock/core/contracts/joint_store.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/outcome.hpp>

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// The `joint_store` of all repositories of one runtime; see `JoinableRepository`. `R`: the runtime.
template <class R>
class JointStore {
public:
    static constexpr bool records_events = true;
    /// Server, database and name space.
    template <class Q>
    static std::string place_in_order(Q const& repository)
    {
        return *static_cast<std::string const*>(repository.identity());
    }
    template <class First, class... Q>
    static std::optional<Failure> refusal(First const& first, Q const&... repository)
    {
        bool const one_client = ((&repository.core_->client() == &first.core_->client()) && ...);
        if (one_client)
            return std::nullopt;
        return Failure{
            Errc::misconfigured,
            "redis: the repositories of a JointRepository have different clients, and one script is one "
            "command of one client: make all of them from the same redis::Client"};
    }
    template <class... Q>
    static Outcome<CommitResult> commit(JointCommit<Q...> const& commit, Deadline deadline)
    {
        return commit_parts(commit, deadline, std::index_sequence_for<Q...>{});
    }

private:
    /// What is changed in one of the repositories.
    struct Part {
        StateCore<R> const* core;
        RawChanges* changes;
        OperationCommit const* operation;  // null, unless its record stands in this one
    };
    using Parts = std::vector<Part>;

    template <class... Q, std::size_t... I>
    static Outcome<CommitResult> commit_parts(
        JointCommit<Q...> const& commit, Deadline deadline, std::index_sequence<I...>)
    {
        std::array<RawChanges, sizeof...(Q)> raw{RawChanges{
            std::span<Change<typename Q::value_type> const>{std::get<I>(commit.parts).changes}}...};
        std::array<StateCore<R> const*, sizeof...(Q)> const cores{
            std::get<I>(commit.parts).repository->core_.get()...};
        Parts parts;
        for (std::size_t i = 0; i < raw.size(); ++i) {
            bool const has_record = commit.operation != nullptr && commit.home == i;
            if (has_record)  // the script looks at the record before it looks at changes
                parts.insert(parts.begin(), {cores[i], &raw[i], commit.operation});
            else if (!raw[i].empty())
                parts.push_back({cores[i], &raw[i], nullptr});
        }
        if (parts.empty())
            return CommitResult{};
        auto done = send(parts, deadline);
        if (done && !done->duplicate)
            (tell(std::get<I>(commit.parts), raw[I]), ...);
        return done;
    }
    template <class Q>
    static void tell(JointPart<Q> const& part, RawChanges const& raw)
    {
        for (std::size_t i = 0; i < part.changes.size(); ++i)
            part.changes[i].version = raw[i].version;
    }

    static Outcome<CommitResult> send(Parts const& parts, Deadline deadline)
    {
        std::vector<RawChange*> all;
        std::vector<StateCore<R> const*> cores;
        std::vector<typename StateCore<R>::Told> told;  // those of parts with events, in their order
        for (auto const& part : parts) {
            for (auto& change : *part.changes) {
                all.push_back(&change);
                cores.push_back(part.core);
            }
            if (part.changes->streams() != 0)
                told.push_back(part.core->told(*part.changes));
        }
        return ask<CommitResult>(*parts[0].core->client_, request(parts), deadline, [&](ReplyView reply) {
            auto done = committed(
                reply, all.size(), KeyOf{[&](std::size_t i) { return all[i]->key->bytes(); }}, told.size(),
                [&](std::size_t i) { return cores[i]->place(); });
            for (std::size_t i = 0; i < told.size(); ++i)
                told[i](reply, done, i);
            if (done && !done->duplicate)
                for (std::size_t i = 0; i < all.size(); ++i)
                    if (all[i]->kind == ChangeKind::write)
                        all[i]->version = version_of(reply, i);
            return done;
        });
    }

    static Request<Command> request(Parts const& parts)
    {
        auto const life = parts[0].core->client_->life();
        std::size_t keys = 0;
        bool records = false;
        for (auto const& part : parts) {
            keys += keys_of(part);
            records = records || part.changes->streams() != 0;
        }
        auto const& script = records ? joint_commit_events_script() : joint_commit_script();
        Request<Command> request{
            evaluate(script, keys), &script,
            records || parts[0].operation != nullptr ? Access::record : Access::write};
        for (auto const& part : parts)
            if ((request.refused = add_keys(request.what, part)))
                return request;
        for (auto const& part : parts) {
            if ((request.refused = part.core->add_changes(request.what, *part.changes)))
                return request;
            if (part.operation != nullptr)
                part.core->add_operation(request.what, *part.operation);
            if (part.changes->streams() != 0)
                add_events(
                    request.what, *part.changes, part.core->keys_, shard_of(part),
                    *part.core->options_.events.get(), part.core->runtime());
            for (auto const& change : *part.changes)
                if (change.fence == nullptr && change.version != no_version)  // it must be one of this life
                    request.life = life;
        }
        for (auto const& part : parts) {
            request.what.add(keys_of(part));
            request.what.add(arguments_of(part));
            if (records)
                request.what.add(part.changes->streams());
        }
        request.what.add(parts.size());
        return request;
    }
    static std::size_t keys_of(Part const& part) noexcept
    {
        auto const streams = part.changes->streams();
        return 1 + 2 * part.changes->size() + (part.operation != nullptr ? 1 : 0) +
               (streams != 0 ? 2 + streams : 0);
    }
    static std::size_t arguments_of(Part const& part) noexcept
    {
        auto const streams = part.changes->streams();
        std::size_t events = 0;
        for (auto const& change : *part.changes)
            events += change.events.size();
        return 2 * part.changes->size() + (part.operation != nullptr ? 3 : 0) +
               (streams != 0 ? 3 + streams + events : 0);
    }
    static std::size_t shard_of(Part const& part) noexcept
    {
        auto const& first = part.operation != nullptr ? *part.operation->home : *(*part.changes)[0].key;
        return part.core->keys_.shard_of(first.bytes());
    }
    static std::optional<Failure> add_keys(Command& command, Part const& part)
    {
        auto const& core = *part.core;
        bool const records = part.changes->streams() != 0;
        for (auto const& change : *part.changes)
            if (change.release)
                return Failure{
                    Errc::misconfigured, "redis: a commit of several repositories releases no lock"};
        if (records)
            if (auto failure =
                    refusal_of_events(core.options_.events.get(), core.identity_, core.keys_.shards()))
                return failure;
        auto const shard = shard_of(part);
        command.add(core.keys_.counter(shard));
        auto failure = core.add_keys(command, *part.changes, part.operation, shard);
        if (!failure && records)
            add_event_keys(command, *part.changes, core.keys_, shard);
        return failure;
    }
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_JOINT_STORE_HPP
