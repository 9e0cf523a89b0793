// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_IMPL_IDEMPOTENCY_STORE_IPP
#define INTERLOCK_BACKENDS_POSTGRES_IMPL_IDEMPOTENCY_STORE_IPP

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/settings.hpp>
#include <interlock/backends/postgres/detail/statements.hpp>
#include <interlock/backends/postgres/detail/subscriber.hpp>
#include <interlock/backends/postgres/idempotency_store.hpp>
#include <interlock/core/errc.hpp>

#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace postgres {

namespace detail {

/// How a record keeps a fingerprint: version and value; empty: none.
INTERLOCK_DECL std::string text_of(Fingerprint print)
{
    return print.version() == 0 ? std::string{}
                                : std::to_string(print.version()) + ":" + std::to_string(print.value());
}
INTERLOCK_DECL Fingerprint fingerprint_of(std::string_view text) noexcept
{
    unsigned version = 0;
    std::uint64_t value = 0;
    auto const colon = text.find(':');
    if (colon == std::string_view::npos)
        return {};
    std::from_chars(text.data(), text.data() + colon, version);
    std::from_chars(text.data() + colon + 1, text.data() + text.size(), value);
    return {value, static_cast<std::uint8_t>(version)};
}

/// The wake-up for those who wait for the request, see `Subscriber`.
INTERLOCK_DECL std::uint64_t hash_of(IdempotentRequest const& request)
{
    return stable_hash("idempotency", request.name());
}

/// The first parameter of every statement.
INTERLOCK_DECL Params named(IdempotentRequest const& request)
{
    Params params;
    params.bytes(request.name());
    return params;
}
/// The first two parameters of the statements of a claim.
INTERLOCK_DECL Params owned(IdempotentRequest const& request, OwnerToken owner)
{
    auto params = named(request);
    auto const secret = owner.bytes();
    params.bytes({secret.data(), secret.size()});
    return params;
}

INTERLOCK_DECL std::int64_t record_microseconds(std::chrono::nanoseconds time) noexcept
{
    return std::chrono::ceil<std::chrono::microseconds>(time).count();
}

INTERLOCK_DECL Failure damaged_record()
{
    return detail::failed(Errc::corrupt_state, "postgres: an idempotency record is damaged");
}

/// The columns of the records that `ClaimStatements::find` and `RecordStatements::claim` read.
enum RecordColumn : std::size_t {
    fingerprint,
    completed,
    rejected,
    answer,
    left,           // of the lease, in microseconds, as `find` reads it
    is_over = left  // whether the record counts no longer, as `claim` reads it
};

/// The answer in a record that is completed.
INTERLOCK_DECL Outcome<Claim> completed_claim(Reply const& record)
{
    auto stored = record.bytes(0, answer);
    if (!stored)
        return damaged_record();
    return Claim{ClaimState::completed, *std::move(stored), record.boolean(0, rejected)};
}

/// What `ClaimStatements::claim` has granted.
INTERLOCK_DECL Outcome<Claim> granted_claim(Reply const& granted)
{
    auto home = granted.bytes(0, 1);
    if (!home)
        return damaged_record();
    return Claim{
        granted.boolean(0, 0) ? ClaimState::taken_over : ClaimState::claimed, {}, false, {}, *std::move(home),
        static_cast<std::uint32_t>(granted.number(0, 2).value_or(0))};
}

/// What a claim that was not granted found.
INTERLOCK_DECL Outcome<Claim> refused_claim(Reply const& record, Fingerprint print, AfterLease after_lease)
{
    if (record.rows() == 0)  // given back and forgotten between the two
        return Claim{ClaimState::in_progress, {}, false, std::chrono::milliseconds{1}};
    if (mismatch(fingerprint_of(record.text(0, fingerprint)), print))
        return Claim{ClaimState::mismatch};
    if (record.boolean(0, completed))
        return completed_claim(record);
    auto const lease = record.number(0, left).value_or(0);
    if (lease > 0)
        return Claim{ClaimState::in_progress, {}, false, std::chrono::microseconds{lease}};
    return Claim{
        after_lease == AfterLease::refuse ? ClaimState::abandoned : ClaimState::in_progress,
        {},
        false,
        std::chrono::milliseconds{1}};
}

/// What `RecordStatements::claim` found.
INTERLOCK_DECL Outcome<Claim> found_claim(Reply const& record, IdempotentRequest const& request)
{
    if (record.rows() == 0 || record.boolean(0, is_over))
        return Claim{ClaimState::claimed};
    if (mismatch(fingerprint_of(record.text(0, fingerprint)), request.fingerprint()))
        return Claim{ClaimState::mismatch};
    if (!record.boolean(0, completed))
        return Claim{ClaimState::in_progress};
    return completed_claim(record);
}

}  // namespace detail

template <class R>
BasicIdempotencyStore<R>::Shared::Shared(std::shared_ptr<detail::PoolState<R>> p, IdempotencyStoreOptions o)
    : pool(std::move(p)), options(o), statements(pool->tables())
{}

template <class R>
BasicIdempotencyStore<R>::BasicIdempotencyStore(BasicPool<R> pool, IdempotencyStoreOptions options)
    : shared_(std::make_shared<Shared>(PoolAccess::state(pool), detail::check_retention(options)))
{}

template <class R>
Outcome<Claim> BasicIdempotencyStore<R>::carry_out(verb::Claim const& asked, Deadline deadline) const
{
    auto const& [request, owner, lease, after_lease, attempt] = asked;
    if (auto valid = request.validate(); !valid)
        return std::move(valid).failure();
    if (!lease.valid())
        return detail::failed(Errc::invalid_argument, "the claim's lease must be from 50 ms to 24 h");
    auto const print = request.fingerprint();
    auto params = detail::owned(request, owner);
    params.text(detail::text_of(print));
    params.number(detail::record_microseconds(lease.value()));
    params.number(detail::record_microseconds(shared_->options.retention));
    params.boolean(after_lease == AfterLease::take_over);
    params.bytes(attempt.home != nullptr ? attempt.home->bytes() : std::string_view{});
    params.number(attempt.home != nullptr ? attempt.number : 0);
    params.boolean(attempt.replaces);
    detail::Batch batch;
    batch.add(shared_->statements.claim, std::move(params));
    // As it is now: a statement of its own sees what the first waited for.
    batch.add(shared_->statements.find, detail::owned(request, owner));
    auto replies = shared_->pool->execute(batch, detail::Access::commit, deadline);
    if (!replies)
        return std::move(replies).failure();
    if (auto const& granted = (*replies)[0]; granted.rows() == 1)
        return detail::granted_claim(granted);
    return detail::refused_claim((*replies)[1], print, after_lease);
}

template <class R>
Outcome<void> BasicIdempotencyStore<R>::carry_out(verb::Complete const& asked, Deadline deadline) const
{
    auto const& [request, owner, answer, rejected] = asked;
    auto params = detail::owned(request, owner);
    params.bytes(answer);
    params.boolean(rejected);
    params.number(detail::record_microseconds(shared_->options.retention));
    params.text(detail::free_wakeup(detail::hash_of(request)));
    return owned(shared_->statements.complete, std::move(params), deadline);
}

template <class R>
Outcome<void> BasicIdempotencyStore<R>::carry_out(verb::GiveBack const& asked, Deadline deadline) const
{
    auto const& [request, owner, settled] = asked;
    auto params = detail::owned(request, owner);
    params.text(detail::free_wakeup(detail::hash_of(request)));
    params.boolean(settled);
    return owned(shared_->statements.give_back, std::move(params), deadline);
}

template <class R>
void BasicIdempotencyStore<R>::subscribe(IdempotentRequest const& request, Waiter& waiter) const
{
    shared_->pool->subscriber().subscribe(detail::hash_of(request), waiter);
}

template <class R>
void BasicIdempotencyStore<R>::unsubscribe(IdempotentRequest const& request, Waiter& waiter) const noexcept
{
    shared_->pool->subscriber().unsubscribe(detail::hash_of(request), waiter);
}

template <class R>
Outcome<void> BasicIdempotencyStore<R>::owned(
    detail::Statement const& statement, detail::Params params, Deadline deadline) const
{
    auto reply = shared_->pool->execute(statement, std::move(params), detail::Access::commit, deadline);
    if (!reply)
        return std::move(reply).failure();
    return reply->boolean(0, 0) ? success() : Outcome<void>{Errc::fenced_out};
}

template <class R>
BasicTransactionalIdempotencyStore<R>::Shared::Shared(
    std::shared_ptr<detail::PoolState<R>> p, IdempotencyStoreOptions o)
    : pool(std::move(p)), options(o), statements(pool->tables())
{}

template <class R>
BasicTransactionalIdempotencyStore<R>::BasicTransactionalIdempotencyStore(
    BasicPool<R> pool, IdempotencyStoreOptions options)
    : shared_(std::make_shared<Shared>(PoolAccess::state(pool), detail::check_retention(options)))
{}

template <class R>
Outcome<Claim> BasicTransactionalIdempotencyStore<R>::find(
    IdempotentRequest const& request, Deadline deadline) const
{
    detail::Batch batch;
    detail::Params number;
    number.number(hash(request));
    // First: who had it has committed before we can have it.
    batch.add(shared_->statements.look, std::move(number));
    batch.add(shared_->statements.claim, detail::named(request));
    auto replies = shared_->pool->execute(batch, detail::Access::read, deadline);
    if (!replies)
        return std::move(replies).failure();
    auto claim = detail::found_claim((*replies)[1], request);
    if (claim && claim->state == ClaimState::claimed && !(*replies)[0].boolean(0, 0))
        claim->state = ClaimState::in_progress;
    return claim;
}

template <class R>
Outcome<Claim> BasicTransactionalIdempotencyStore<R>::claim(
    BasicTransaction<R>& tx, IdempotentRequest const& request) const
{
    if (auto valid = request.validate(); !valid)
        return std::move(valid).failure();
    auto first = before_locks(request, Wait::until_deadline);
    return claim(tx, request, first);
}

template <class R>
detail::ClaimFirst BasicTransactionalIdempotencyStore<R>::before_locks(
    IdempotentRequest const& request, Wait wait) const
{
    auto const& statements = shared_->statements;
    detail::ClaimFirst first;
    first.lock = wait == Wait::no ? &statements.lock_or_fail : &statements.lock;
    first.number.number(hash(request));
    if (wait == Wait::no)
        first.number.text(detail::race_word());
    first.claim = &statements.claim;
    first.name = detail::named(request);
    return first;
}

template <class R>
Outcome<Claim> BasicTransactionalIdempotencyStore<R>::claim(
    BasicTransaction<R>& tx, IdempotentRequest const& request, before_locks_type& first) const
{
    if (!first.found) {
        detail::Batch batch;
        first.add_to(batch);
        auto exchange = tx.step(batch, tx.until_);
        if (!exchange)
            return std::move(exchange).failure();
        if (exchange->error) {
            if (auto busy = detail::claim_refused(*exchange->error))
                return *std::move(busy);
            return failure_of(*exchange->error, detail::Access::write);
        }
        first.found = std::move(exchange->replies[1]);
    }
    auto const found = *std::exchange(first.found, std::nullopt);  // of this transaction only
    if (found.rows() > 0 && found.boolean(0, detail::is_over))
        tx.before_commit_.add(shared_->statements.forget, detail::named(request));
    return detail::found_claim(found, request);
}

template <class R>
void BasicTransactionalIdempotencyStore<R>::complete(
    BasicTransaction<R>& tx, IdempotentRequest const& request, std::string_view answer) const
{
    tx.before_commit_.add(shared_->statements.insert, record(request, answer, false));
}

template <class R>
Outcome<Claim> BasicTransactionalIdempotencyStore<R>::reject(
    IdempotentRequest const& request, std::string_view text, Deadline deadline) const
{
    detail::Batch batch;
    detail::Params number;
    number.number(hash(request));
    batch.add(shared_->statements.lock, std::move(number));
    batch.add(shared_->statements.forget, detail::named(request));
    batch.add(shared_->statements.insert_if_none, record(request, text, true));
    batch.add(shared_->statements.claim, detail::named(request));
    auto replies = shared_->pool->execute(batch, detail::Access::commit, deadline);
    if (!replies)
        return std::move(replies).failure();
    return detail::found_claim((*replies)[3], request);
}

template <class R>
std::int64_t BasicTransactionalIdempotencyStore<R>::hash(IdempotentRequest const& request) const
{
    return static_cast<std::int64_t>(
        detail::stable_hash(shared_->pool->options().name_space + " request", request.name()));
}

template <class R>
detail::Params BasicTransactionalIdempotencyStore<R>::record(
    IdempotentRequest const& request, std::string_view answer, bool rejected) const
{
    auto params = detail::named(request);
    params.text(detail::text_of(request.fingerprint()));
    params.bytes(answer);
    params.boolean(rejected);
    params.number(detail::record_microseconds(shared_->options.retention));
    return params;
}

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_IMPL_IDEMPOTENCY_STORE_IPP
