// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_ASYNC_TRANSACTION_HPP
#define INTERLOCK_BACKENDS_POSTGRES_ASYNC_TRANSACTION_HPP

/// @file
/// A user's own statements in an asynchronous operation.
///
///     service.async_do_in_transaction(
///         17, [](Product& p, interlock::postgres::AsyncTransaction& tx) -> boost::asio::awaitable<void> {
///             co_await tx.async_exec("INSERT INTO sold VALUES ($1)", p.id, boost::asio::use_awaitable);
///         },
///         token);

#include <interlock/backends/postgres/detail/statement_line.hpp>
#include <interlock/backends/postgres/transaction.hpp>
#include <interlock/core/kit/async_operation.hpp>

#include <boost/asio/async_result.hpp>

#include <cstddef>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace postgres {

namespace detail {

template <class R>
class RowTransactionCore;

}  // namespace detail

/// The open transaction of an asynchronous operation, for the operation's own statements.
///
/// **Guarantee.** That of `Transaction`; and the executor is never blocked, because each statement runs on a
/// thread of its own, of which there are at most as many as the pool has connections. An operation that takes
/// a `Transaction` does not compile in an asynchronous call.
/// **Does not guarantee.** Statements beside each other: they run one at a time, and a second one is
/// `invalid_argument` and is not sent. A commit beside a statement: if an operation returns without having
/// awaited a statement, and the statement has not ended by then, the call ends as `invalid_argument`, not
/// applied.
/// **Completion.** `async_exec`: `void(std::exception_ptr, Result)`, with the exception that
/// `Transaction::exec` throws. `async_try_exec`: `void(Outcome<Result>)`, with what `Transaction::try_exec`
/// returns. Both complete on the handler's associated executor, never from within the call.
/// **Cancellation.** None: a statement ends by the transaction's deadline. The operation's own cancellation
/// waits for it.
/// **Lifetimes.** One run of the operation. Texts and parameters are copied.
/// **Thread safety.** Only the operation may use it.
/// **Cost.** That of `Transaction`, and two changes of thread.
///
/// Of two statements the second begins when the first has ended:
///
///     auto const left = (co_await tx.async_exec("SELECT left FROM stock", use_awaitable)).value<int>();
///     co_await tx.async_exec("UPDATE stock SET left = $1", left - 1, use_awaitable);
///
/// `AsyncTransaction` is the one of the system's runtime.
template <class Runtime>
class BasicAsyncTransaction {
public:
    BasicAsyncTransaction(BasicAsyncTransaction const&) = delete;
    BasicAsyncTransaction& operator=(BasicAsyncTransaction const&) = delete;
    /// A statement that was not awaited is not sent any more; if it is running, the destructor waits for its
    /// end.
    ~BasicAsyncTransaction() { line_->close(); }

    /// `async_exec(sql, parameters..., token)`: executes one statement, as `Transaction::exec`. It completes
    /// with the exception that `exec` throws, or with the result. One round trip.
    template <class... A>
        requires(sizeof...(A) > 0)
    auto async_exec(std::string_view sql, A&&... parameters_and_token)
    {
        return initiate<false>(sql, std::forward_as_tuple(std::forward<A>(parameters_and_token)...));
    }
    /// `async_try_exec(sql, parameters..., token)`: executes one statement behind a savepoint, as
    /// `Transaction::try_exec`, and completes with what that returns. One round trip; two when the statement
    /// fails.
    template <class... A>
        requires(sizeof...(A) > 0)
    auto async_try_exec(std::string_view sql, A&&... parameters_and_token)
    {
        return initiate<true>(sql, std::forward_as_tuple(std::forward<A>(parameters_and_token)...));
    }

private:
    template <class>
    friend class detail::RowTransactionCore;
    using Transaction = BasicTransaction<Runtime>;

    explicit BasicAsyncTransaction(Transaction& transaction) noexcept : transaction_(transaction) {}

    // Whether all statements have ended.
    bool idle() const { return line_->idle(); }

    // What is to be executed; on the heap, so that the call moves cheaply.
    struct Statement {
        std::string sql;
        Outcome<detail::Params> params;
    };

    /// One statement, once its turn has come.
    template <bool Try>
    struct Call {
        Outcome<Result> operator()()
        {
            using detail::Savepoint;
            auto const mine = std::move(turn);
            if (!mine || !mine.begin())
                return detail::not_awaited();
            return transaction->run(
                statement->sql, std::move(statement->params), Try ? Savepoint::yes : Savepoint::no);
        }
        template <class Handler>
        static void complete(Handler handler, Outcome<Result> outcome)
        {
            if constexpr (Try)
                std::move(handler)(std::move(outcome));
            else if (outcome)
                std::move(handler)(std::exception_ptr{}, *std::move(outcome));
            else
                std::move(handler)(std::make_exception_ptr(outcome.failure().exception()), Result{});
        }
        Transaction* transaction;
        detail::StatementTurn turn;
        std::unique_ptr<Statement> statement;
    };

    // Takes the turn on the caller's thread, so that of two statements the one that was started first runs.
    template <bool Try, class All>
    auto initiate(std::string_view sql, All all)
    {
        constexpr auto count = std::tuple_size_v<All> - 1;
        auto params = [&]<std::size_t... I>(std::index_sequence<I...>) {
            return detail::parameters_of(std::get<I>(all)...);
        }(std::make_index_sequence<count>{});
        using Token = std::tuple_element_t<count, All>;
        using Signature = std::conditional_t<Try, void(Outcome<Result>), void(std::exception_ptr, Result)>;
        return boost::asio::async_initiate<Token, Signature>(
            [this](auto handler, std::unique_ptr<Statement> statement) {
                using interlock::detail::async_call;
                Call<Try> call{&transaction_, detail::StatementTurn{line_}, std::move(statement)};
                auto constexpr never = TimePoint::max();
                if (call.turn)
                    async_call(
                        interlock::detail::CallAlone{}, never, transaction_.pool_->runtime(),
                        std::move(handler), std::move(call));
                else
                    async_call(
                        interlock::detail::CallHere{}, never, transaction_.pool_->runtime(),
                        std::move(handler), std::move(call));
            },
            std::get<count>(all),
            std::unique_ptr<Statement>(new Statement{std::string(sql), std::move(params)}));
    }

    Transaction& transaction_;
    std::shared_ptr<detail::StatementLine> line_{std::make_shared<detail::StatementLine>()};
};

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_ASYNC_TRANSACTION_HPP
