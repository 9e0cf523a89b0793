// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_TABLE_RECORDS_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_TABLE_RECORDS_IPP

#include <interlock/backends/postgres/detail/table_records.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

// ---- operation records --------------------------------------------------------------------------

template <class R>
Outcome<std::optional<OperationRecord>> TableCore<R>::find_operation(
    Key const& key, OperationId const& id, Deadline deadline) const
{
    Key const* const keys[] = {&key};
    auto const fill = [&](KnownTable const& known, Batch& batch) { return add_find(known, batch, key, id); };
    auto replies = ask(Access::read, deadline, fill, keys);
    if (!replies)
        return std::move(replies).failure();
    return record_of((*replies)[0]);
}

template <class R>
Outcome<void> TableCore<R>::add_find(
    KnownTable const& known, Batch& batch, Key const& key, OperationId const& id) const
{
    Params params;
    if (!add_home(known, params, key))
        return bad_key();
    params.bytes(id.value());
    batch.add(known.statements.find_operation, std::move(params));
    return success();
}

template <class R>
Outcome<OperationRecord> TableCore<R>::forbid_operation(
    verb::ForbidOperation const& forbid, Deadline deadline) const
{
    Key const* const keys[] = {&forbid.key};
    auto const fill = [&](KnownTable const& known, Batch& batch) {
        Params params;
        if (!add_home(known, params, forbid.key))
            return Outcome<void>{bad_key()};
        params.bytes(forbid.id.value());
        params.number(forbid.attempt);
        params.number(whole_microseconds(forbid.id.kept_for(options.retention)));
        // Waits for a commit of this id that is in flight.
        batch.add(known.statements.forbid, std::move(params));
        return add_find(known, batch, forbid.key, forbid.id);
    };
    auto replies = ask(Access::commit, deadline, fill, keys);
    if (!replies)
        return std::move(replies).failure();
    auto record = record_of((*replies)[1]);
    if (!record)
        return std::move(record).failure();
    if (!*record)
        return damaged("a tombstone is gone");
    return **std::move(record);
}

template <class R>
Outcome<std::vector<FoundOperation>> TableCore<R>::operations_behind(
    std::string_view key, std::string_view id, Deadline deadline) const
{
    std::optional<std::string> scope;  // whose records they are, where policies keep them apart
    std::optional<Table> asked;
    auto replies = ask(Access::read, deadline, [&](KnownTable const& known, Batch& batch) {
        asked = known.table;
        if (known.policies.decide_rows)
            scope = settings_.scope(known.policies.role);
        Params params;
        params.bytes(key);
        params.bytes(id);
        batch.add(known.statements.all_operations, std::move(params));
        return success();
    });
    if (!replies)
        return std::move(replies).failure();
    auto const* page = &(*replies)[0];
    std::vector<FoundOperation> found;
    for (std::size_t row = 0; row < page->rows(); ++row) {
        auto const sequence = page->number(row, 2);
        auto const attempt = page->number(row, 3);
        auto bytes = page->bytes(row, 0);
        auto identifier = page->bytes(row, 1);
        auto answer = page->bytes(row, 4);
        if (!sequence || !attempt || !bytes || !identifier || !answer)
            return damaged("an operation record is damaged");
        auto shown = scope ? unscoped_key(*bytes, *scope) : any_key(*bytes);
        if (shown)
            shown = spelled_key(*asked, key_kinds_, *shown);
        found.push_back(
            {*std::move(bytes), std::move(shown), *std::move(identifier),
             OperationRecord{
                 static_cast<std::uint64_t>(*sequence), static_cast<std::uint32_t>(*attempt), true,
                 *std::move(answer)}});
    }
    return found;
}

// ---- lock records, as people see them -----------------------------------------------------------

/// What a row of `LockColumn` says.
INTERLOCK_DECL Outcome<LockInfo> lock_of(Reply const& reply, std::size_t row)
{
    auto const token = reply.number(row, lock_token);
    auto const left = reply.number(row, lock_left);
    if (!token || !left)
        return damaged("a lock record is damaged");
    LockInfo info;
    info.token = FencingToken{static_cast<std::uint64_t>(*token)};
    info.remaining = std::chrono::microseconds{std::max<std::int64_t>(*left, 0)};
    info.waiters = reply.boolean(row, lock_wanted) ? 1 : 0;
    if (auto holder = reply.bytes(row, lock_holder))
        info.holder = *std::move(holder);
    auto const granted = reply.number(row, lock_granted);
    auto const held_for = reply.number(row, lock_held_for);
    if (granted && held_for) {
        info.since.emplace(std::chrono::microseconds{*granted});
        info.held_for = std::chrono::microseconds{std::max<std::int64_t>(*held_for, 0)};
    }
    return info;
}

template <class R>
Outcome<std::optional<LockInfo>> TableCore<R>::inspect(Key const& key, Deadline deadline) const
{
    if (!key.valid())
        return key.validate().failure();
    auto replies =
        ask_of_locks(Access::read, deadline, [&](KnownTable const& known, Batch& batch, bool named) {
            Params params;
            if (!add_record_key(known, params, key))
                return Outcome<void>{bad_key()};
            batch.add(named ? known.statements.inspect_named : known.statements.inspect, std::move(params));
            return success();
        });
    if (!replies)
        return std::move(replies).failure();
    auto const& reply = (*replies)[0];
    if (reply.rows() == 0)
        return std::optional<LockInfo>{};
    auto info = lock_of(reply, 0);
    if (!info)
        return std::move(info).failure();
    return std::optional<LockInfo>{*std::move(info)};
}

template <class R>
Outcome<Removal> TableCore<R>::break_lock(verb::BreakLock const& broken, Deadline deadline) const
{
    if (!broken.key.valid())
        return broken.key.validate().failure();
    auto replies = ask(Access::commit, deadline, [&](KnownTable const& known, Batch& batch) {
        Params params;
        if (!add_record_key(known, params, broken.key))
            return Outcome<void>{bad_key()};
        params.number(static_cast<std::int64_t>(broken.seen.value()));
        params.text(free_message(broken.key));
        batch.add(known.statements.break_lock, std::move(params));
        return success();
    });
    if (!replies)
        return std::move(replies).failure();
    return removal_of((*replies)[0]);
}

template <class R>
Outcome<std::vector<FoundLock>> TableCore<R>::locks_behind(std::string_view key, Deadline deadline) const
{
    std::optional<Table> asked;
    auto replies =
        ask_of_locks(Access::read, deadline, [&](KnownTable const& known, Batch& batch, bool named) {
            asked = known.table;
            Params params;
            params.bytes(key);
            batch.add(
                named ? known.statements.all_named_locks : known.statements.all_locks, std::move(params));
            return success();
        });
    if (!replies)
        return std::move(replies).failure();
    auto const& page = (*replies)[0];
    std::vector<FoundLock> found;
    for (std::size_t row = 0; row < page.rows(); ++row) {
        auto bytes = page.bytes(row, lock_stored_key);
        auto info = lock_of(page, row);
        if (!bytes || !info)
            return damaged("a lock record is damaged");
        auto shown = spelled_key(*asked, key_kinds_, *bytes);
        found.push_back({*std::move(bytes), std::move(shown), *std::move(info)});
    }
    return found;
}

template <class R>
Outcome<std::optional<OperationRecord>> TableCore<R>::record_of(Reply const& reply)
{
    if (reply.rows() == 0)
        return std::optional<OperationRecord>{};
    auto const sequence = reply.number(0, 0);
    auto const attempt = reply.number(0, 1);
    auto answer = reply.bytes(0, 3);
    if (!sequence || !attempt || !answer)
        return damaged("an operation record is damaged");
    return std::optional<OperationRecord>{OperationRecord{
        static_cast<std::uint64_t>(*sequence), static_cast<std::uint32_t>(*attempt), reply.boolean(0, 2),
        *std::move(answer)}};
}

template <class R>
Outcome<CommitResult> TableCore<R>::or_duplicate(
    Failure refused, OperationCommit const* operation, Deadline deadline) const
{
    if (operation == nullptr)
        return refused;
    auto record = find_operation(*operation->home, *operation->id, deadline);
    if (!record)
        return refused;
    if (*record && (*record)->answered)
        return CommitResult{true, std::move((*record)->answer)};
    if (*record && (*record)->attempt >= operation->attempt)
        return Errc::superseded;
    return refused;
}

template <class R>
void TableCore<R>::count_record(Deadline until) const
{
    if (shared_->recorded.fetch_add(1, std::memory_order_relaxed) % 4096 == 4095)
        static_cast<void>(forget_expired(until));
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_TABLE_RECORDS_IPP
