// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_TABLE_CORE_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_TABLE_CORE_IPP

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/names.hpp>
#include <interlock/backends/postgres/detail/settings.hpp>
#include <interlock/backends/postgres/detail/table_core.hpp>
#include <interlock/core/kit/doubt.hpp>
#include <interlock/core/kit/lock_call.hpp>
#include <interlock/core/kit/store_identity.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

INTERLOCK_DECL Failure damaged(char const* what)
{
    return failed(Errc::corrupt_state, {"postgres: ", what});
}

INTERLOCK_DECL std::int64_t whole_microseconds(std::chrono::nanoseconds time) noexcept
{
    return std::chrono::ceil<std::chrono::microseconds>(time).count();
}

INTERLOCK_DECL std::string_view as_text(std::array<char, 16> const& bytes) noexcept
{
    return {bytes.data(), bytes.size()};
}

INTERLOCK_DECL RowAction action_of(RowChange const& change) noexcept
{
    switch (change.kind) {
    case ChangeKind::write: return change.version == no_version ? RowAction::insert : RowAction::update;
    case ChangeKind::erase: return RowAction::erase;
    case ChangeKind::verify: return RowAction::verify;
    case ChangeKind::guard: break;
    }
    return RowAction::nothing;
}

template <class R>
TableCore<R>::TableCore(std::shared_ptr<PoolState<R>> p, RepositoryOptions o, TypeShape const& shape)
    : pool(std::move(p)), options(std::move(o)), mapped(!options.table.empty()),
      table(table_of(options, pool->tables(), shape)),
      begin(
          options.isolation == Isolation::serializable      ? "BEGIN ISOLATION LEVEL SERIALIZABLE"
          : options.isolation == Isolation::repeatable_read ? "BEGIN ISOLATION LEVEL REPEATABLE READ"
                                                            : "BEGIN ISOLATION LEVEL READ COMMITTED"),
      transaction_id("SELECT pg_current_xact_id()"), commit("COMMIT"),
      identity(intern_store(joined_text({pool->identity(), "/", table.name, table.where}))),
      key_kinds_(shape.key_kinds), settings_(options.settings, pool->custom_settings())
{
    if (!mapped)
        shared_->known = make_known(table, {}, {});
}

template <class R>
TableCore<R>::TableCore(TableCore const& base, std::vector<Setting> settings)
    : pool(base.pool), options(base.options), mapped(base.mapped), table(base.table), begin(base.begin),
      transaction_id(base.transaction_id), commit(base.commit), identity(base.identity),
      key_kinds_(base.key_kinds_), shared_(base.shared_), settings_(base.settings_.with(std::move(settings)))
{}

// ---- what the server says of the table ----------------------------------------------------------

template <class R>
typename TableCore<R>::Known TableCore<R>::make_known(
    Table fitting, TableFacts facts, RowPolicies policies) const
{
    return std::make_shared<KnownTable const>(
        std::move(fitting), std::move(facts), std::move(policies), pool->tables(), lock_clause());
}

template <class R>
char const* TableCore<R>::lock_clause() const noexcept
{
    return options.row_lock == RowLock::for_no_key_update ? "FOR NO KEY UPDATE" : "FOR UPDATE";
}

INTERLOCK_DECL bool of_a_value(SqlError const& error) noexcept
{
    return !error.raised && (error.state.starts_with("22") || error.of_domain) && !is_race(error);
}

template <class R>
Outcome<typename TableCore<R>::Known> TableCore<R>::know(Deadline deadline) const
{
    {
        std::lock_guard lock(shared_->mutex);
        // The library's own table has the columns that it was made with, whatever changes beside it.
        if (shared_->known && (!mapped || shared_->schema == pool->schema()))
            return shared_->known;
    }
    return learn(deadline);
}

template <class R>
bool TableCore<R>::has_changed(KnownTable const& known, Deadline deadline) const
{
    if (!mapped)  // the library's own table has the columns that it was made with
        return false;
    auto const now = learn(deadline);
    if (!now || (*now)->facts == known.facts)
        return false;
    if (!same_types(known.facts, (*now)->facts))
        pool->schema_has_changed(pool->schema());
    return true;
}

INTERLOCK_DECL bool by_former_facts(SqlError const& error) noexcept
{
    return of_a_value(error) || (error.state == "23502" && !error.raised);
}

template <class R>
Outcome<typename TableCore<R>::Known> TableCore<R>::learn(Deadline deadline) const
{
    auto const schema = pool->schema();
    // Several first callers may ask at once; their answers are the same.
    Known before;
    {
        std::lock_guard lock(shared_->mutex);
        before = shared_->last;
    }
    Batch batch;
    add_facts_query(batch, table, before ? before->table : table);
    add_policies_query(batch, pool->tables());
    auto replies = pool->execute(batch, Access::read, deadline);
    if (!replies)
        return std::move(replies).failure();
    auto facts = facts_of((*replies)[0], table.name);
    if (!facts)
        return std::move(facts).failure();
    auto fitting = fitted(table, *facts, key_kinds_);
    if (!fitting)
        return std::move(fitting).failure();
    auto policies = policies_of(*facts, (*replies)[1]);
    if (!policies)
        return std::move(policies).failure();
    auto known = make_known(*std::move(fitting), *std::move(facts), *std::move(policies));
    std::lock_guard lock(shared_->mutex);
    shared_->known = shared_->last = known;
    shared_->schema = schema;
    if (known->policies.decide_rows) {
        shared_->role = known->policies.role;
        shared_->policies_decide.store(true, std::memory_order_release);
    }
    return known;
}

template <class R>
bool TableCore<R>::outdated(Known const& known, SqlError const& error) const noexcept
{
    if (!mapped || !outdates_facts(error))
        return false;
    if (error.policy == RowPolicy::would_hide)
        shared_->meets_policies.store(true, std::memory_order_relaxed);
    std::lock_guard lock(shared_->mutex);
    if (shared_->known == known)
        shared_->known.reset();
    return true;
}

template <class R>
Outcome<RowPolicies> TableCore<R>::policies_of(TableFacts const& facts, Reply const& reply) const
{
    RowPolicies policies;
    bool const met = shared_->meets_policies.load(std::memory_order_relaxed);
    policies.apply = facts.row_security || met;
    // A view shows rows of other tables, whose policies are met only by reading it.
    policies.decide_rows = facts.row_security || (met && facts.kind == 'v');
    policies.role = reply.text(0, 0);
    if (policies.apply && !reply.null(0, 1))
        return failed(
            Errc::misconfigured, {"postgres: row-level policies apply to ", reply.text(0, 1),
                                  "; the tables of the library must be without them"});
    return policies;
}

template <class R>
void TableCore<R>::add_settings(KnownTable const& known, Batch& batch) const noexcept
{
    if (auto const* step = settings_.step(known.policies.apply))
        batch.add_settings(*step);
}

template <class R>
bool TableCore<R>::add_home(KnownTable const& known, Params& params, Key const& key) const
{
    bool const by_server = !known.table.record_key.empty();
    auto const bytes = by_server ? std::string_view{} : key.bytes();
    if (by_server && !add_key_columns(known, params, key))
        return false;
    if (known.policies.decide_rows)
        params.bytes(scoped_key(bytes, settings_.scope(known.policies.role)));
    else
        params.bytes(bytes);
    return true;
}

template <class R>
void const* TableCore<R>::handle_identity() const noexcept
{
    if (!decided_by_policies())
        return identity.get();
    try {
        std::call_once(scoped_, [&] {
            std::lock_guard lock(shared_->mutex);
            scoped_identity_ = intern_store(*identity + "/" + settings_.scope(shared_->role));
        });
    } catch (std::exception const&) {  // no memory: a call within another one is then noticed too often
        return identity.get();
    }
    return scoped_identity_.get();
}

template <class R>
template <class F>
Outcome<Exchange> TableCore<R>::run(Access access, Deadline deadline, F fill, Known* used) const
{
    if (!deadline.valid())
        return failed(Errc::invalid_argument, "the deadline is not a number");
    Deadline const until{deadline.at(pool->runtime().now())};
    for (bool again = true;; again = false) {
        auto known = know(until);
        if (!known)
            return std::move(known).failure();
        Batch batch;
        add_settings(**known, batch);
        if (auto filled = fill(**known, batch); !filled) {
            if (again && by_former_facts(filled.errc()) && has_changed(**known, until))
                continue;
            return std::move(filled).failure();
        }
        auto const schema = pool->schema();
        auto exchange = pool->run(batch, access, until, !mapped);
        bool const refuses = exchange && exchange->error && mapped;
        bool const stale =
            refuses && (outdated(*known, *exchange->error) || schema != pool->schema() ||
                        (again && by_former_facts(*exchange->error) && has_changed(**known, until)));
        if (stale && again)
            continue;
        if (used != nullptr)
            *used = *std::move(known);
        return exchange;
    }
}

template <class R>
template <class F>
Outcome<std::vector<Reply>> TableCore<R>::ask(
    Access access, Deadline deadline, F fill, std::span<Key const* const> keys) const
{
    Known known;
    auto exchange = run(access, deadline, fill, &known);
    if (!exchange)
        return std::move(exchange).failure();
    if (exchange->error)
        return refused_by_key(*known, *exchange->error, access, keys, deadline);
    return std::move(exchange->replies);
}

template <class R>
template <class F>
Outcome<std::vector<Reply>> TableCore<R>::ask_of_locks(
    Access access, Deadline deadline, F fill, std::span<Key const* const> keys) const
{
    if (!deadline.valid())
        return failed(Errc::invalid_argument, "the deadline is not a number");
    Deadline const until{deadline.at(pool->runtime().now())};
    for (;;) {
        bool const named = shared_->cards.load(std::memory_order_relaxed);
        Known table_as_known;
        auto exchange = run(
            access, until, [&](KnownTable const& known, Batch& batch) { return fill(known, batch, named); },
            &table_as_known);
        if (!exchange)
            return std::move(exchange).failure();
        if (!exchange->error)
            return std::move(exchange->replies);
        if (!named || exchange->error->raised || exchange->error->state != "42703")
            return refused_by_key(*table_as_known, *exchange->error, access, keys, until);
        shared_->cards.store(false, std::memory_order_relaxed);
    }
}

// ---- keys, values and their failures ------------------------------------------------------------

template <class R>
bool TableCore<R>::add_key(KnownTable const& known, Params& params, Key const& key) const
{
    if (mapped)
        return add_key_columns(known, params, key);
    params.bytes(key.bytes());
    return true;
}

template <class R>
Outcome<Version> TableCore<R>::version_of(Reply const& reply, std::size_t row) const
{
    auto const version = row_version(reply, row);
    if (!version || *version <= no_version)
        return failed(
            Errc::corrupt_state,
            {"postgres: a version in ", table.name, " is not at least 1",
             table.version == R"("xmin")" ? "; rows of another server show no xmin" : ""});
    return *version;
}

template <class R>
Outcome<void> TableCore<R>::check_size(std::size_t size) const
{
    if (size <= options.max_value_bytes)
        return success();
    return failed(
        Errc::invalid_argument, {"value has ", std::to_string(size), " bytes, the limit is ",
                                 std::to_string(options.max_value_bytes)});
}

template <class R>
Outcome<void> TableCore<R>::check_encoded(std::size_t size) const
{
    if (size <= options.max_value_bytes)
        return success();
    return failed(Errc::invalid_argument, "the encoded value is larger than max_value_bytes");
}

template <class R>
Failure TableCore<R>::does_not_fit(char const* column) const
{
    return failed(Errc::corrupt_state, {"postgres: ", table.name, ".", column, " does not fit its member"});
}

template <class R>
Failure TableCore<R>::foreign_key()
{
    return failed(Errc::invalid_argument, "the state's key is not the key that it is stored under");
}

template <class R>
Failure TableCore<R>::not_to_be_written(std::size_t shown, Writing why, RowChange const& change) const
{
    auto const& member = table.uses[shown].member;
    if (why == Writing::read_only)
        return failed(
            Errc::invalid_argument, {"postgres: the operation has changed ", member,
                                     ", which is only read: RepositoryOptions::read_only"});
    return failed(
        Errc::misconfigured,
        {"postgres: the role may not ", change.version == no_version ? "insert" : "update", " the column ",
         table.shown[shown], " of ", table.name, ", and the member ", member, " is to be written"});
}

template <class R>
bool TableCore<R>::decided_by_policies() const noexcept
{
    return shared_->policies_decide.load(std::memory_order_acquire);
}

template <class R>
Failure TableCore<R>::row_not_locked() const
{
    return failed(
        Errc::constraint_violated,
        {"postgres: row-level policies of ", table.name,
         " show the row, and let nobody of this role and these settings update it"});
}

template <class R>
Failure TableCore<R>::made_nothing_of(RowChange const& change) const
{
    auto const action = action_of(change);
    return failed(
        Errc::constraint_violated,
        {decided_by_policies() ? "postgres: a row-level policy, a trigger or a rule of "
                               : "postgres: a trigger or a rule of ",
         table.name, " made nothing of the ",
         action == RowAction::insert   ? "insert"
         : action == RowAction::update ? "update, or moved no version"
                                       : "delete"});
}

template <class R>
Failure TableCore<R>::several_rows() const
{
    return failed(
        Errc::misconfigured, {"postgres: the table ", table.name,
                              " has several rows for the key; a key must name one row, see "
                              "RepositoryOptions::where"});
}

template <class R>
Failure TableCore<R>::one_row_twice() const
{
    return failed(
        Errc::invalid_argument,
        {"a key is named twice: two of the keys are one row of ", table.name, ", by different spellings"});
}

template <class R>
Failure TableCore<R>::cannot_hold(char const* member, char const* why) const
{
    return failed(Errc::invalid_argument, {"postgres: the value of ", table.name, ".", member, " ", why});
}

template <class R>
Failure TableCore<R>::undecodable(Version version, interlock::detail::Reading const& reading)
{
    return failed(
        Errc::corrupt_state,
        {reading.text("postgres: a stored value cannot be decoded; version " + std::to_string(version))});
}

template <class R>
bool TableCore<R>::add_record_key(KnownTable const& known, Params& params, Key const& key) const
{
    if (!known.table.record_key.empty())
        return add_key_columns(known, params, key);
    if (mapped && !may_be_key(known, key))
        return false;
    params.bytes(key.bytes());
    return true;
}

template <class R>
bool TableCore<R>::add_lock_number(KnownTable const& known, Params& params, Key const& key) const
{
    if (!known.table.record_key.empty())
        return add_key_columns(known, params, key);
    // One table may have several names; the statement adds what the name means.
    auto const name = mapped ? std::string_view{} : std::string_view{table.name};
    params.number(static_cast<std::int64_t>(stable_hash(name, key.bytes())));
    return true;
}

template <class R>
std::uint64_t TableCore<R>::wake_hash(Key const& key) const noexcept
{
    // It is asked for before the table is known, and without a trip.
    auto const name = std::string_view{table.name};
    if (!mapped)
        return stable_hash(name, key.bytes());
    bool const numbers = std::all_of(
        key_kinds_.begin(), key_kinds_.end(), [](auto kind) { return kind == KeyPartKind::number; });
    auto const last = name.substr(name.rfind('.') + 1);
    return numbers ? stable_hash(last, key.bytes()) : folded_hash(last, key.bytes());
}

template <class R>
std::string TableCore<R>::free_message(Key const& key) const
{
    return free_wakeup(wake_hash(key));
}

// ---- single statements --------------------------------------------------------------------------

template <class R>
Outcome<Reply> TableCore<R>::load(Key const& key, Deadline deadline) const
{
    if (!key.valid())
        return key.validate().failure();
    Key const* const keys[] = {&key};
    auto const fill = [&](KnownTable const& known, Batch& batch) { return add_load(known, batch, key); };
    auto replies = ask(Access::read, deadline, fill, keys);
    if (!replies)
        return std::move(replies).failure();
    if ((*replies)[0].rows() > 1)
        return several_rows();
    return std::move((*replies)[0]);
}

template <class R>
Outcome<void> TableCore<R>::add_load(KnownTable const& known, Batch& batch, Key const& key) const
{
    Params params;
    if (!add_key(known, params, key))
        return bad_key();
    batch.add(known.statements.load, std::move(params));
    return success();
}

template <class R>
Outcome<std::vector<Reply>> TableCore<R>::load_all(std::span<Key const> keys, Deadline deadline) const
{
    if (keys.empty())
        return std::vector<Reply>{};
    auto const fill = [&](KnownTable const& known, Batch& batch) -> Outcome<void> {
        for (auto const& key : keys) {
            if (auto valid = key.validate(); !valid)
                return valid;
            if (auto added = add_load(known, batch, key); !added)
                return added;
        }
        return success();
    };
    auto replies = ask(Access::read, deadline, fill, pointers_to(keys));
    if (replies && std::any_of(replies->begin(), replies->end(), [](auto const& r) { return r.rows() > 1; }))
        return several_rows();
    return replies;
}

template <class R>
Outcome<GrantAndRow> TableCore<R>::create(verb::Create const& create, bool state, Deadline deadline) const
{
    if (auto valid = validate_lock_call(create.key, create.ttl, create.holder); !valid)
        return std::move(valid).failure();
    auto const granted = std::chrono::ceil<std::chrono::microseconds>(create.ttl.value());
    Key const* const keys[] = {&create.key};
    auto const fill = [&](KnownTable const& known, Batch& batch, bool named) {
        Params params;
        if (!add_record_key(known, params, create.key))
            return Outcome<void>{bad_key()};
        params.bytes(as_text(create.owner.bytes()));
        params.number(granted.count());
        params.text(hex(wake_hash(create.key), 16));
        if (named)
            params.bytes(std::string(as_text(create.owner.bytes())).append(create.holder));
        batch.add(named ? known.statements.create_named : known.statements.create, std::move(params));
        return state ? add_load(known, batch, create.key) : success();
    };
    auto const fill_unnamed = [&](KnownTable const& known, Batch& batch) {
        return fill(known, batch, false);
    };
    auto replies = create.holder.empty() ? ask(Access::commit, deadline, fill_unnamed, keys)
                                         : ask_of_locks(Access::commit, deadline, fill, keys);
    if (!replies)
        return std::move(replies).failure();
    auto const& reply = (*replies)[0];
    auto const first = reply.number(0, 0);
    if (!first) {
        std::chrono::microseconds const left{std::max<std::int64_t>(reply.number(0, 1).value_or(0), 0)};
        return Failure::busy(Errc::lock_busy, left);
    }
    GrantAndRow both{Grant{FencingToken{static_cast<std::uint64_t>(*first)}, token_block, granted}, Reply{}};
    if (state)
        both.row = std::move((*replies)[1]);
    if (both.row && both.row.rows() > 1)  // the lock is ours by now, and of no use
        return interlock::detail::after_undoing(several_rows(), remove(create.key, &create.owner, deadline));
    return both;
}

template <class R>
Outcome<std::chrono::nanoseconds> TableCore<R>::renew(verb::Renew const& renew, Deadline deadline) const
{
    if (auto valid = validate_lock_call(renew.key, renew.ttl); !valid)
        return std::move(valid).failure();
    auto const granted = std::chrono::ceil<std::chrono::microseconds>(renew.ttl.value());
    Key const* const keys[] = {&renew.key};
    auto const fill = [&](KnownTable const& known, Batch& batch) {
        Params params;
        if (!add_record_key(known, params, renew.key))
            return Outcome<void>{bad_key()};
        params.bytes(as_text(renew.owner.bytes()));
        params.number(granted.count());
        batch.add(known.statements.renew, std::move(params));
        return success();
    };
    auto replies = ask(Access::commit, deadline, fill, keys);
    if (!replies)
        return std::move(replies).failure();
    auto const& reply = (*replies)[0];
    if (reply.boolean(0, 0))
        return std::chrono::nanoseconds{granted};
    return Failure::because(Errc::lock_lost, reply.boolean(0, 1) ? Errc::lock_busy : Errc::not_found);
}

INTERLOCK_DECL Removal removal_of(Reply const& reply)
{
    if (reply.boolean(0, 0))
        return Removal::removed;
    return reply.boolean(0, 1) ? Removal::taken : Removal::gone;
}

template <class R>
Outcome<Removal> TableCore<R>::remove(Key const& key, OwnerToken const* owner, Deadline deadline) const
{
    if (!key.valid())
        return key.validate().failure();
    Key const* const keys[] = {&key};
    auto const fill = [&](KnownTable const& known, Batch& batch) {
        Params params;
        if (!add_record_key(known, params, key))
            return Outcome<void>{bad_key()};
        if (owner != nullptr)
            params.bytes(as_text(owner->bytes()));
        else
            params.null();
        params.text(free_message(key));
        batch.add(known.statements.remove, std::move(params));
        return success();
    };
    auto replies = ask(Access::commit, deadline, fill, keys);
    if (!replies)
        return std::move(replies).failure();
    return removal_of((*replies)[0]);
}

template <class R>
Outcome<void> TableCore<R>::verify_fencing(Deadline deadline) const
{
    auto const& ns = pool->tables();
    std::vector<std::string> names{ns + "_token", ns + "_record"};
    if (!mapped)
        names.push_back(ns + "_version");
    else if (!options.version_sequence.empty())
        names.push_back(table_name("version_sequence", options.version_sequence).quoted);
    Batch batch;
    for (auto const& sequence : names)
        batch.add(joined_text(
            {"SELECT seqcache = 1 AND NOT seqcycle AND seqincrement > 0 FROM pg_sequence "
             "WHERE seqrelid = ",
             quoted_text(sequence), "::regclass"}));
    auto replies = pool->execute(batch, Access::read, deadline);
    if (!replies)
        return std::move(replies).failure();
    for (std::size_t i = 0; i < names.size(); ++i)
        if ((*replies)[i].rows() != 1 || !(*replies)[i].boolean(0, 0))
            return failed(
                Errc::misconfigured, {"postgres: the sequence ", names[i],
                                      " must have CACHE 1, a positive increment and no CYCLE"});
    return success();
}

template <class R>
Outcome<ServerCheck> TableCore<R>::server_check(Deadline deadline) const
{
    Batch batch;
    batch.add(
        "SELECT current_setting('server_version_num'), current_setting('synchronous_commit'), "
        "current_setting('fsync') = 'on'");
    auto replies = pool->execute(batch, Access::read, deadline);
    if (!replies)
        return std::move(replies).failure();
    auto const& reply = (*replies)[0];
    return ServerCheck{
        static_cast<int>(reply.number(0, 0).value_or(0)), std::string(reply.text(0, 1)), reply.boolean(0, 2)};
}

template <class R>
Outcome<void> TableCore<R>::forget_expired(Deadline deadline) const
{
    SqlWords words;
    words.set("table", pool->tables() + "_operation");
    Batch batch;
    batch.add(words.line(R"(DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table}
        WHERE kept_until < clock_timestamp() LIMIT 8192 FOR UPDATE SKIP LOCKED)))"));
    auto done = pool->execute(batch, Access::commit, deadline);
    return done ? success() : Outcome<void>{std::move(done).failure()};
}

template <class R>
std::string TableCore<R>::free_rows(std::string const& where, std::string const& order_by) const
{
    if (!mapped)
        throw_invalid({"postgres: free rows need RepositoryOptions::table"});
    if (where.empty())
        throw_invalid({"postgres: free rows need a condition; `true` for all rows"});
    if ((where + order_by).find('\0') != std::string::npos)
        throw_invalid({"postgres: the condition of free rows has a NUL"});
    std::string text;
    append(
        text, {" WHERE (", where, "\n)", table.where});  // what the user has written may end with a comment
    if (!order_by.empty())
        append(text, {" ORDER BY ", order_by, "\n"});
    append(text, {" LIMIT 1 ", lock_clause(), " SKIP LOCKED"});
    return text;
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_TABLE_CORE_IPP
