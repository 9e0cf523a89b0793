// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_FREE_ROWS_HPP
#define INTERLOCK_BACKENDS_POSTGRES_FREE_ROWS_HPP

/// @file
/// Some row that nobody has locked (`SKIP LOCKED`), for tables that several workers work off.
///
///     interlock::postgres::FreeRows jobs{
///         repository, {.where = "queue = $1 AND NOT done", .order_by = "id"}};
///     interlock::TransactionService service{interlock::PessimisticRowLock{}, jobs};
///     service.do_in_transaction("mail", [](Job& job) {
///         send(job);
///         job.done = true;
///     });

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/kit/store_identity.hpp>

#include <chrono>
#include <concepts>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace postgres {

/// Which rows are meant, and which of them come first.
struct FreeRowsOptions {
    /// A condition in SQL over the table's columns: `queue = $1 AND NOT done`. `$1` is the key that the call
    /// names, as a text. The condition is a part of the program, like a statement of its own. Never make it
    /// from what a user sent; such values come by `$1`.
    std::string where{};
    /// Likewise what stands behind ORDER BY: `priority DESC, id`. Give the two an index.
    std::string order_by{};
    /// How long a job may take whose call names no `.deadline` of its own: from the call to the commit, the
    /// work included. Then the transaction ends without a trace, and another worker finds the row free. A
    /// call to a server that does not answer takes as long. More than 0.
    std::chrono::nanoseconds job{std::chrono::minutes{1}};
};

/// What a call names: `$1` of the condition, say the name of a queue.
class FreeRowsKey {
public:
    /// Any text may be one.
    template <std::convertible_to<std::string_view> S>
        requires(!std::same_as<S, FreeRowsKey>)
    FreeRowsKey(S const& text) : text_(std::string_view{text})  // NOLINT
    {}
    operator std::string_view() const noexcept { return text_; }  // NOLINT

private:
    std::string text_;
};

/// A table as workers see it, for `PessimisticRowLock`: a key names not one certain row but some row that
/// meets a condition and that nobody has locked:
///
///     postgres::FreeRows jobs{repository, {.where = "queue = $1 AND NOT done", .order_by = "id"}};
///     TransactionService{PessimisticRowLock{}, jobs}.do_in_transaction("mail", [](Job& job) {...});
///
/// **Guarantee.** No two transactions have the same row at a time, and the row meets the condition as it was
/// when it was locked. A worker that dies leaves its row as it was, and free. No worker waits for the row of
/// another one, whatever the policy's `wait` says.
/// **Does not guarantee.** The order of `order_by` among those who ask at the same time: whoever comes second
/// skips the first row, even if the transaction of the first comer is then rolled back. That an operation
/// which is run again after a conflict gets the same row.
/// **Outcomes.** If no such row is free, `not_found`, also under `Missing::create`. Whether others hold such
/// rows cannot be told from that: ask again later, or LISTEN. A condition that is not SQL is `misconfigured`.
/// The rest is as for `RowTransaction`.
/// **Deadlines.** A job that takes longer than `FreeRowsOptions::job`, or than the `.deadline` of its call,
/// is not applied: `deadline_exceeded`, and somebody does it again. Name a time that no job reaches.
/// **Needs.** A table of the user's own, and a state with a key. Operation ids cannot be used, because their
/// records are kept by the key of the row, which is not known before. A row that says itself that it is done
/// needs none.
/// **Lifetimes.** A shared handle, independent of the repository.
/// **Thread safety.** Every member may be called from several threads at once.
/// **Cost.** Two round trips, as for a row that is named.
template <class T, class K, class Runtime>
class FreeRows {
    using Repository = StateRepository<T, K, Runtime>;

public:
    using value_type = T;
    using key_type = FreeRowsKey;
    using runtime_type = Runtime;
    using transaction_type = typename Repository::transaction_type;
    static constexpr std::string_view name = "postgres";
    static constexpr std::string_view system = "postgresql";  // see `StoreInfo`
    static constexpr bool takes_before_locks = true;          // see `verb::BeforeLocks`

    /// Throws `Error` (`invalid_argument`) for a repository on the library's own table, and for options
    /// without a condition.
    FreeRows(Repository repository, FreeRowsOptions options)
        requires KeyedState<T> &&
                     std::same_as<typename Repository::key_type, typename StateTraits<T>::key_type>
        : repository_(std::move(repository)), named_(options.where.find("$1") != std::string::npos),
          condition_(repository_.store_->free_rows(options.where, options.order_by)),
          identity_(intern_store(*repository_.store_->identity + "/" + condition_)), job_(options.job)
    {
        if (job_.count() <= 0)
            throw Error(Errc::invalid_argument, "postgres: FreeRowsOptions::job must be positive");
    }

    Runtime const& runtime() const noexcept { return repository_.runtime(); }
    /// Equal for handles of one table with one condition, and different from the repository's identity.
    void const* identity() const noexcept { return identity_.get(); }
    Capabilities capabilities() const noexcept
    {
        auto known = repository_.capabilities();
        known.one_state_per_key = false;
        known.call_deadline = job_;
        return known;
    }

    /// BEGIN, its bounds and the locking read in one trip. Of one key only, else `invalid_argument`.
    Outcome<transaction_type> carry_out(
        verb::LoadForUpdate<transaction_type> const& rows, Deadline deadline) const
    {
        auto const keys = rows.keys;
        if (!deadline.valid())
            return detail::failed(Errc::invalid_argument, "the deadline is not a number");
        if (keys.size() != 1)
            return detail::failed(Errc::invalid_argument, "postgres: free rows are taken one at a time");
        if (!keys[0]->valid())
            return keys[0]->validate().failure();
        if (keys[0]->bytes().find('\0') != std::string_view::npos)
            return detail::failed(
                Errc::invalid_argument, "postgres: the key has a NUL, which no text can hold");
        return repository_.open(deadline, [&](transaction_type& tx) {
            detail::Params params;
            if (named_)
                params.text(std::string(keys[0]->bytes()));
            return tx.open_free(condition_, std::move(params), rows.before);
        });
    }

    /// As `carry_out` of the verb, for direct use.
    Outcome<transaction_type> load_for_update(
        std::span<Key const* const> keys, Wait wait, Deadline deadline = {}) const
    {
        return carry_out(verb::LoadForUpdate<transaction_type>{keys, wait}, deadline);
    }

private:
    Repository repository_;
    bool named_;                                   // whether the condition has a `$1`
    std::string condition_;                        // of the locking read that finds a row
    std::shared_ptr<std::string const> identity_;  // of the table with this condition
    std::chrono::nanoseconds job_;                 // how long a call may last that does not say so
};

template <class T, class K, class Runtime>
FreeRows(StateRepository<T, K, Runtime>, FreeRowsOptions) -> FreeRows<T, K, Runtime>;

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_FREE_ROWS_HPP
