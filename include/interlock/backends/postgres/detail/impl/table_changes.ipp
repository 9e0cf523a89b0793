// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_TABLE_CHANGES_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_TABLE_CHANGES_IPP

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/event_sink.hpp>
#include <interlock/backends/postgres/detail/names.hpp>
#include <interlock/backends/postgres/detail/table_changes.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

template <class R>
Outcome<void> TableCore<R>::check(RowChange const& change)
{
    if (!change.key->valid())
        return change.key->validate().failure();
    if (change.version < no_version)
        return damaged("a version is negative");
    return success();
}

template <class R>
bool TableCore<R>::has_effect(RowChange const& change) noexcept
{
    return change.kind != ChangeKind::guard || change.fence != nullptr;
}

inline Fencing fencing_of(RowChange const& change) noexcept
{
    if (change.fence == nullptr)
        return Fencing::none;
    return change.release ? Fencing::guarded_and_released : Fencing::guarded;
}

template <class R>
Outcome<void> TableCore<R>::add_change(
    KnownTable const& known, Batch& batch, RowChange const& change, OperationCommit const* operation,
    Refusal refusal, WithEvents with_events) const
{
    if (auto valid = check(change); !valid)
        return valid;
    if (auto fits = fits_key(known, change); !fits)
        return fits;
    bool const respelled = this->respelled(change);
    auto const action = respelled ? RowAction::update_respelled : action_of(change);
    if ((action == RowAction::update || respelled) && change.version == known.table.last)
        return failed(
            Errc::version_exhausted, {"postgres: ", table.name, ".", unquoted(table.version), " is ",
                                      std::to_string(change.version), ", the last version of its type"});
    auto const fencing = fencing_of(change);
    Params params;
    if (action != RowAction::nothing && !add_key(known, params, *change.key))
        return bad_key();
    if (change.fence != nullptr) {
        if (!add_record_key(known, params, *change.key))
            return bad_key();
        params.bytes(as_text(change.fence->owner.bytes()));
        params.number(
            static_cast<std::int64_t>(std::min<std::uint64_t>(change.fence->token.value(), INT64_MAX)));
        if (change.release)
            params.text(free_message(*change.key));
    }
    if (operation != nullptr && !add_operation(known, params, *operation))
        return bad_key();
    switch (action) {
    case RowAction::insert: static_cast<void>(add_lock_number(known, params, *change.key)); break;
    case RowAction::update:
    case RowAction::update_respelled:
    case RowAction::erase:
    case RowAction::verify: params.number(change.version); break;
    case RowAction::nothing: break;
    }
    if (respelled && !add_own_key(known, params, change))
        return bad_key();
    ChangeColumns columns{.uncounted = known.table.is_uncounted(change.version)};
    if (change.kind == ChangeKind::write)
        if (auto added = add_value(known, params, change, columns.written); !added)
            return added;
    bool const again = reads_again(known, change);
    columns.told = mapped && change.told && !again;
    columns.looks =
        refusal == Refusal::reply && (needs_care(known, change) || (mapped && action == RowAction::insert) ||
                                      (known.table.may_stand && change.kind == ChangeKind::write));
    if (with_events != WithEvents::none && !change.events.empty()) {
        columns.log = options.events.get();
        if (with_events == WithEvents::within) {
            columns.appends = change.events.size();
            columns.partition = columns.log->partition(change.stream);
            columns.log->add_change_params(params, change.stream, change.events);
        } else {
            params.number(columns.log->lock_number(change.stream));
        }
    }
    if (operation != nullptr || refusal == Refusal::error || columns.looks)
        params.text(race_word());
    known.add_change(batch, action, fencing, operation != nullptr, refusal, columns, std::move(params));
    if (again)
        if (auto added = add_load(known, batch, *change.key); !added)
            return added;
    if (with_events == WithEvents::behind)
        add_events(batch, change);
    return success();
}

template <class R>
Outcome<void> TableCore<R>::fits_key(KnownTable const& known, RowChange const& change) const
{
    bool const inserts = action_of(change) == RowAction::insert;
    // Where a key has one spelling only, another text is another key.
    if (respelled(change) && (inserts || known.table.record_key.empty()))
        return foreign_key();
    if (inserts && !known.table.no_insert.empty())
        return failed(Errc::misconfigured, {known.table.no_insert});
    return success();
}

template <class R>
bool TableCore<R>::respelled(RowChange const& change) const
{
    return mapped && change.kind == ChangeKind::write && !names_itself(change);
}

template <class R>
bool TableCore<R>::must_look(KnownTable const& known, RowChange const& change, Errc code) const
{
    return code == Errc::version_conflict && (!known.table.unique || respelled(change));
}

template <class R>
bool TableCore<R>::may_be_taken(
    KnownTable const& known, RowChange const& change, SqlError const& error) noexcept
{
    return !known.table.arbiter && action_of(change) == RowAction::insert && !error.raised &&
           error.state == "23505";
}

template <class R>
bool TableCore<R>::needs_care(KnownTable const& known, RowChange const& change) noexcept
{
    bool const writes = change.kind == ChangeKind::write || change.kind == ChangeKind::erase;
    return known.rules(action_of(change)).before || (writes && known.policies.decide_rows);
}

template <class R>
bool TableCore<R>::may_stay(KnownTable const& known, RowChange const& change) noexcept
{
    return change.kind == ChangeKind::erase && known.facts.on_erase.before && known.facts.on_erase.after;
}

template <class R>
bool TableCore<R>::reads_again(KnownTable const& known, RowChange const& change) noexcept
{
    return change.kind == ChangeKind::write && known.rules(action_of(change)).after;
}

template <class R>
Outcome<void> TableCore<R>::add_careful_change(
    KnownTable const& known, Batch& batch, RowChange const& change, CarefulChange& at) const
{
    if (auto valid = check(change); !valid)
        return valid;
    if (change.fence != nullptr) {  // the fence by itself: a refused change takes it back, too
        RowChange guard;
        guard.key = change.key;
        guard.kind = ChangeKind::guard;
        guard.fence = change.fence;
        guard.release = change.release;
        at.guard = batch.size();
        if (auto added = add_change(known, batch, guard, nullptr); !added)
            return added;
    }
    if (auto fits = fits_key(known, change); !fits)
        return fits;
    bool const respelled = this->respelled(change);
    auto const action = respelled ? RowAction::update_respelled : action_of(change);
    Params locked;
    Params number;
    if (!add_key(known, locked, *change.key) || !add_lock_number(known, number, *change.key))
        return bad_key();
    if (action == RowAction::insert)
        batch.add(known.statements.lock_hash, std::move(number));
    if (known.policies.decide_rows) {
        at.seen = batch.size();
        if (auto added = add_load(known, batch, *change.key); !added)
            return added;
    }
    at.before = batch.size();
    batch.add(known.statements.lock_row, std::move(locked));
    Params params;
    static_cast<void>(add_key(known, params, *change.key));
    if (action == RowAction::insert)
        static_cast<void>(add_lock_number(known, params, *change.key));
    else
        params.number(change.version);
    if (respelled && !add_own_key(known, params, change))
        return bad_key();
    ChangeColumns columns{.uncounted = known.table.is_uncounted(change.version)};
    if (change.kind == ChangeKind::write)
        if (auto added = add_value(known, params, change, columns.written); !added)
            return added;
    at.change = batch.size();
    if (action == RowAction::insert)
        known.add_bare_insert(batch, columns, std::move(params));
    else
        known.add_change(batch, action, Fencing::none, false, Refusal::reply, columns, std::move(params));
    at.after = batch.size();
    return add_load(known, batch, *change.key);
}

template <class R>
Outcome<void> TableCore<R>::judge_carefully(
    KnownTable const& known, std::span<Reply const> replies, CarefulChange const& at,
    RowChange const& change) const
{
    if (at.guard && replies[*at.guard].null(0, new_version))
        return Errc::fenced_out;
    auto const& before = replies[at.before];
    if (before.rows() > 1)
        return several_rows();
    auto const& after = replies[at.after];
    bool const was_there = before.rows() > 0;
    bool const is_there = after.rows() > 0;
    auto const action = action_of(change);
    if (action == RowAction::insert) {
        // An insert into a row that is there is made to fail, or to be nothing, by whatever comes first.
        if (was_there)
            return Errc::already_exists;
        return replies[at.change].rows() > 0 || is_there ? success() : Outcome<void>{made_nothing_of(change)};
    }
    if (!was_there && at.seen && replies[*at.seen].rows() > 0)
        return made_nothing_of(change);  // a policy shows the row to those who read it only
    if (!was_there)
        return Errc::not_found;
    if (row_version(before, 0) != change.version)
        return Errc::version_conflict;
    if (respelled(change) && replies[at.change].rows() == 0)
        return foreign_key();
    bool const written = replies[at.change].rows() > 0;
    bool const moved = is_there && after.number(0, 0) != before.number(0, 0);
    if (written && is_there && !moved && known.table.may_stand && !known.facts.on_update.before)
        return failed(
            Errc::misconfigured,
            {"postgres: an update does not move the version ", table.name, ".", unquoted(table.version),
             ", since the column rounds, or another server keeps it; name a bigint column by "
             "RepositoryOptions::version"});
    bool const made =
        action == RowAction::erase ? !is_there : moved || (written && !(known.table.may_stand && is_there));
    return made ? success() : Outcome<void>{made_nothing_of(change)};
}

template <class R>
bool TableCore<R>::add_operation(
    KnownTable const& known, Params& params, OperationCommit const& operation) const
{
    if (!add_home(known, params, *operation.home))
        return false;
    params.bytes(operation.id->value());
    params.number(operation.attempt);
    params.bytes(operation.answer);
    params.number(whole_microseconds(operation.id->kept_for(options.retention)));
    return true;
}

template <class R>
std::optional<Version> TableCore<R>::row_version(
    Reply const& reply, std::size_t row, std::size_t column) const noexcept
{
    auto const number = reply.number(row, column);
    bool const counted = mapped && table.version != R"("xmin")" && row < reply.rows();
    if (counted && (number == 0 || reply.null(row, column)))
        return uncounted_version;
    return number;
}

template <class R>
std::optional<Errc> TableCore<R>::judge(Reply const& reply, RowChange const& change) const noexcept
{
    if (reply.rows() > 0 && !reply.null(0, new_version))
        return Errc::ok;
    bool const inserts = change.kind == ChangeKind::write && change.version == no_version;
    if (reply.rows() == 0)
        return inserts ? std::optional{Errc::already_exists} : std::nullopt;
    if (!reply.boolean(0, fence_holds))
        return Errc::fenced_out;
    if (inserts)
        return Errc::already_exists;
    if (reply.null(0, present_version))
        return Errc::not_found;
    // A row that has the version and was not locked: the reply does not say why.
    bool const same = row_version(reply, 0, present_version) == change.version;
    return same && change.kind == ChangeKind::verify ? std::nullopt : std::optional{Errc::version_conflict};
}

template <class R>
Outcome<std::optional<Errc>> TableCore<R>::why_refused(RowChange const& change, Deadline deadline) const
{
    auto const reply = load(*change.key, deadline);
    if (!reply)
        return reply.failure();
    using Code = std::optional<Errc>;
    bool const there = reply->rows() > 0;
    if (action_of(change) == RowAction::insert && there)
        return Code{Errc::already_exists};
    if (action_of(change) != RowAction::insert && !there)
        return Code{Errc::not_found};
    bool const is_read = change.kind == ChangeKind::verify;
    bool const same = there && row_version(*reply, 0) == change.version;
    if (is_read && same && decided_by_policies())
        return row_not_locked();
    if (there && (is_read || !same))
        return Code{Errc::version_conflict};
    if (there && respelled(change))
        return foreign_key();
    if (mapped) {  // perhaps by a trigger that was not there when the table was asked for
        std::lock_guard lock(shared_->mutex);
        shared_->known.reset();
    }
    return Code{};
}

template <class R>
void TableCore<R>::set_stored(
    KnownTable const& known, Reply& reply, Reply* again, RowChange& change) const noexcept
{
    if (change.kind != ChangeKind::write && change.kind != ChangeKind::erase)
        return;
    bool const is_again = again != nullptr && again->rows() > 0;
    auto& row = is_again ? *again : reply;
    if (is_again || !row.null(0, new_version))
        if (auto const version = row_version(row, 0, new_version))
            change.version = *version;
    change.may_differ = (again != nullptr && !is_again) || known.rules(action_of(change)).at_commit;
    if (change.told)
        change.stored = std::move(row);
}

template <class R>
Outcome<CommitResult> TableCore<R>::commit_one(
    std::span<RowChange> changes, OperationCommit const* operation, Deadline until, bool& unclear) const
{
    Key const none{"-"};
    RowChange nothing{.key = &none, .kind = ChangeKind::guard};
    auto& change = changes.empty() ? nothing : changes[0];
    if (operation != nullptr && !operation->home->valid())
        return operation->home->validate().failure();
    if (operation == nullptr && !has_effect(change) && change.events.empty()) {
        if (auto valid = check(change); !valid)
            return std::move(valid).failure();
        return Outcome<CommitResult>{std::in_place};
    }
    if (!change.events.empty())
        if (auto prepared = prepare_one(change, until); !prepared)
            return std::move(prepared).failure();
    if (mapped && change.kind == ChangeKind::erase) {
        auto const known = know(until);
        if (!known)
            return known.failure();
        if ((unclear = may_stay(**known, change)))
            return Errc::version_conflict;
    }
    Known used;
    auto const* const log = change.events.empty() ? nullptr : options.events.get();
    auto with_events = log != nullptr && log->fit_the_change(change.stream, change.events)
                           ? WithEvents::within
                           : WithEvents::behind;
    auto const add = [&](KnownTable const& known, Batch& batch) {
        return add_change(known, batch, change, operation, Refusal::reply, with_events);
    };
    auto exchange = run(Access::commit, until, add, &used);
    if (with_events == WithEvents::within && exchange && exchange->error &&
        log->lost_race(*exchange->error, change.stream)) {
        with_events = WithEvents::behind;
        exchange = run(Access::commit, until, add, &used);
    }
    if (!exchange && exchange.errc() == Errc::version_exhausted) {
        // Nothing was sent, since no version comes behind this one; whether the row has it was not looked at.
        auto const code = why_refused(change, until);
        if (code && *code)
            return or_duplicate(Failure{**code}, operation, until);
    }
    if (!exchange)
        return std::move(exchange).failure();
    if (exchange->error)
        return error_of_one(*used, *exchange->error, change, operation, until, unclear);
    auto& replies = exchange->replies;
    auto result = judge_one(*used, replies[0], change, operation, until, unclear);
    if (result && !result->duplicate) {
        set_stored(*used, replies[0], reads_again(*used, change) ? &replies[1] : nullptr, change);
        announce({&change, 1});
    }
    return result;
}

template <class R>
Outcome<CommitResult> TableCore<R>::error_of_one(
    KnownTable const& known, SqlError const& error, RowChange const& change, OperationCommit const* operation,
    Deadline until, bool& unclear) const
{
    std::size_t const own_steps = reads_again(known, change) ? 2 : 1;
    bool const behind = error.step >= own_steps && error.step != static_cast<std::size_t>(-1);
    if (!change.events.empty() && (behind || error.state == "42P01"))
        return or_duplicate(options.events.get()->append_failed(error, Access::commit), operation, until);
    if (may_be_taken(known, change, error)) {
        auto const code = why_refused(change, until);
        if (code && *code == Errc::already_exists)
            return or_duplicate(Failure{Errc::already_exists}, operation, until);
    }
    if (!is_race(error))
        return refused(known, error, {&change, 1}, Access::commit, until);
    if (!mapped)
        return or_duplicate(Failure{Errc::superseded}, operation, until);
    // Nothing is written, and the error does not say why.
    auto const code = why_refused(change, until);
    if (!code)
        return code.failure();
    unclear = !*code;
    return or_duplicate(Failure{code->value_or(Errc::superseded)}, operation, until);
}

template <class R>
Outcome<CommitResult> TableCore<R>::judge_one(
    KnownTable const& known, Reply const& reply, RowChange const& change, OperationCommit const* operation,
    Deadline until, bool& unclear) const
{
    if (operation != nullptr && !reply.null(0, old_answered)) {
        if (reply.boolean(0, old_answered)) {
            if (auto answer = reply.bytes(0, old_answer))
                return CommitResult{true, *std::move(answer)};
            return damaged("an operation record is damaged");
        }
        if (reply.null(0, new_version))
            return or_duplicate(
                Failure{judge(reply, change).value_or(Errc::version_conflict)}, operation, until);
    }
    auto code = judge(reply, change);
    if (!code || must_look(known, change, *code)) {
        auto const why = why_refused(change, until);
        if (!why)
            return why.failure();
        unclear = !*why;
        code = why->value_or(Errc::version_conflict);
    }
    if (code == Errc::ok)
        return Outcome<CommitResult>{std::in_place};
    return or_duplicate(Failure{*code}, operation, until);
}

template <class R>
Outcome<Reply> TableCore<R>::insert_new(RowChange const& change, OperationId const* id, Deadline until) const
{
    if (!mapped)
        return failed(
            Errc::misconfigured, "postgres: the library's own table makes no keys; insert_new needs a table");
    std::uint32_t attempt = 1;
    for (int turn = 0;; ++turn) {
        Known used;
        auto exchange = run(
            Access::commit, until,
            [&](KnownTable const& known, Batch& batch) -> Outcome<void> {
                auto const made = known.made_key(true);
                if (made.empty())
                    return failed(
                        Errc::misconfigured, {"postgres: no column of the key of ", table.name,
                                              " has a default, so the server cannot make it"});
                Params params;
                if (auto added = add_given_key(known, params, change, made); !added)
                    return added;
                if (id != nullptr) {
                    params.bytes(home_of_new_rows(known));
                    params.bytes(id->value());
                    params.number(attempt);
                    params.bytes({});  // the key stands behind it
                    params.number(whole_microseconds(id->kept_for(options.retention)));
                }
                ChangeColumns columns;
                if (auto added = add_value(known, params, change, columns.written); !added)
                    return added;
                params.text(race_word());
                known.add_new_row(batch, id != nullptr, made, columns, std::move(params));
                return success();
            },
            &used);
        if (!exchange)
            return std::move(exchange).failure();
        if (exchange->error && !is_race(*exchange->error))
            return refused(*used, *exchange->error, {&change, 1}, Access::commit, until);
        if (!exchange->error && !exchange->replies[0].null(0, new_version)) {
            auto& reply = exchange->replies[0];
            if (!reads_again(*used, change))
                return std::move(reply);
            auto const first = reply.columns() - table.shown.size();
            std::vector<std::string> key;
            for (auto const& part : table.key)
                for (std::size_t i = 0; i < table.shown.size(); ++i)
                    if (table.shown[i] == part)
                        key.emplace_back(reply.text(0, first + i));
            auto again = load_by(key, until);
            return again && again->rows() > 0 ? std::move(again) : Outcome<Reply>{std::move(reply)};
        }
        auto record =
            id == nullptr ? Outcome<std::optional<OperationRecord>>{std::nullopt} : find_new_row(*id, until);
        if (!record)
            return std::move(record).failure();
        if (!*record)
            return made_nothing_of(change);
        if ((*record)->answered)
            return row_of_answer((*record)->answer, until);
        if (turn > 2)
            return Errc::superseded;
        attempt = (*record)->attempt + 1;  // somebody has planted a tombstone
    }
}

template <class R>
std::string TableCore<R>::home_of_new_rows(KnownTable const& known) const
{
    static constexpr std::string_view home = "interlock: new rows";
    return known.policies.decide_rows ? scoped_key(home, settings_.scope(known.policies.role))
                                      : std::string(home);
}

template <class R>
Outcome<std::optional<OperationRecord>> TableCore<R>::find_new_row(
    OperationId const& id, Deadline until) const
{
    auto replies = ask(Access::read, until, [&](KnownTable const& known, Batch& batch) {
        Params params;
        params.bytes(home_of_new_rows(known));
        params.bytes(id.value());
        batch.add(known.statements.find_new_row, std::move(params));
        return success();
    });
    if (!replies)
        return std::move(replies).failure();
    return this->record_of((*replies)[0]);
}

template <class R>
Outcome<Reply> TableCore<R>::row_of_answer(std::string_view answer, Deadline until) const
{
    auto const key = key_of_answer(answer);
    if (!key || key->size() != table.key.size())
        return damaged("the record of a new row is damaged");
    auto row = load_by(*key, until);
    if (row && row->rows() == 0)
        return failed(Errc::not_found, "postgres: the row of this operation id is gone");
    return row;
}

template <class R>
Outcome<Reply> TableCore<R>::load_by(std::span<std::string const> key, Deadline until) const
{
    auto replies = ask(Access::read, until, [&](KnownTable const& known, Batch& batch) {
        Params params;
        for (auto const& part : key)
            params.text(part);
        batch.add(known.statements.load, std::move(params));
        return success();
    });
    if (!replies)
        return std::move(replies).failure();
    return std::move((*replies)[0]);
}

// ---- which member it was ------------------------------------------------------------------------

template <class R>
std::string TableCore<R>::refused_member(
    KnownTable const& known, SqlError const& error, RowChange const& change, Deadline until) const
{
    if (change.kind != ChangeKind::write)
        return {};
    Batch batch;
    std::vector<char const*> asked;
    for (auto& member : members_of(known, change)) {
        auto const& shaped = known.table;
        auto const* const column = known.facts.column(unquoted(shaped.shown[member.shown]));
        if (column == nullptr || shaped.forms[member.shown].type == ColumnForm::Type::bytes)
            continue;
        if (!member.value.is_utf8())
            return member.member;
        // As an assignment to the column takes it, with its length and its domain. What JSON would take for
        // a value of its own is cast instead.
        bool const is_plain = column->base_category != 'A' && column->base_kind == 'b' &&
                              column->base != "pg_catalog.json" && column->base != "pg_catalog.jsonb";
        bool const is_label = column->base_kind == 'e';
        // A cast would cut the elements.
        bool const is_list = column->base_category == 'A' && !column->limited.empty();
        if (is_plain || is_label || is_list)
            batch.add(
                joined_text(
                    {"SELECT v FROM jsonb_to_record(jsonb_build_object('v', ",
                     is_list ? joined_text({"$1::", column->base}) : std::string("$1::text"), ")) AS r(v ",
                     column->type, ")"}),
                std::move(member.value));
        else
            batch.add(joined_text({"SELECT $1::", column->type}), std::move(member.value));
        asked.push_back(member.member);
    }
    if (error.state == "22021" || batch.size() == 0)
        return {};
    auto const exchange = pool->run(batch, Access::read, until, false);
    if (exchange && exchange->error && exchange->error->step < asked.size() &&
        exchange->error->state == error.state)
        return asked[exchange->error->step];
    return {};
}

template <class R>
Failure TableCore<R>::refused(
    KnownTable const& known, SqlError const& error, std::span<RowChange const> changes, Access access,
    Deadline until) const
{
    auto failure = failure_of(error, access);
    bool const of_many_rows = error.within && error.state == "21000";
    if (!mapped || error.raised || (!of_a_value(error) && error.column.empty() && !of_many_rows))
        return failure;
    auto column = error.within ? std::string() : error.column;  // a trigger may have written elsewhere
    for (auto const& change : changes)
        if (column.empty())
            column = refused_member(known, error, change, until);
    if (!column.empty())
        return failed(failure.errc(), {failure.detail(), ", the value of ", table.name, ".", column})
            .with_store_code(error.state);
    std::vector<Key const*> keys;
    for (auto const& change : changes)
        keys.push_back(change.key);
    auto by_key = refused_by_key(known, error, access, keys, until);
    if (!error.within || by_key.detail() != failure.detail())
        return by_key;
    // None of the values is to blame, but what the user's own schema has done with them.
    return failed(
               Errc::constraint_violated,
               {failure.detail(), ", in a function of the database that a trigger or a rule of ", table.name,
                " calls"})
        .with_store_code(error.state);
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_TABLE_CHANGES_IPP
