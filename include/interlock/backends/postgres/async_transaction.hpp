// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_ASYNC_TRANSACTION_HPP
#define INTERLOCK_BACKENDS_POSTGRES_ASYNC_TRANSACTION_HPP

/// @file
/// A user's own statements inside of an asynchronous operation.

#include <interlock/backends/postgres/transaction.hpp>
#include <interlock/core/async_operation.hpp>

#include <boost/asio/async_result.hpp>

#include <condition_variable>
#include <cstddef>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace postgres {

/// The open transaction of an asynchronous operation, for statements of its own:
///
///     [](Product& p, postgres::AsyncTransaction& tx) -> boost::asio::awaitable<void> {
///         co_await tx.async_exec("INSERT INTO orders (product) VALUES ($1)", p.id, boost::asio::use_awaitable);
///     }
///
/// **Guarantee.** As `Transaction`, and the executor is never blocked: each statement runs on a thread of its own, of
/// which there are at most as many as the pool has connections. An operation that takes a `Transaction` does not
/// compile in an asynchronous call.
/// **Does not guarantee.** Statements beside each other: one at a time, a second one is `invalid_argument`, unsent.
/// What the operation has not awaited when it returns is not committed: the call ends as `invalid_argument`, not
/// applied.
/// **Completion.** `async_exec`: `void(std::exception_ptr, Result)`, the exception as `Transaction::exec` throws it.
/// `async_try_exec`: `void(Outcome<Result>)`, as `Transaction::try_exec` returns it. On the handler's associated
/// executor, never from within the call.
/// **Cancellation.** None: a statement ends by the transaction's deadline. The operation's own cancellation waits for
/// it.
/// **Lifetimes.** The operation's run; texts and parameters are copied. **Thread safety.** To be used by the operation
/// only.
/// **Cost.** Those of `Transaction`, and a thread's start.
class AsyncTransaction {
public:
    AsyncTransaction(AsyncTransaction const&) = delete;
    AsyncTransaction& operator=(AsyncTransaction const&) = delete;
    /// Waits for a statement that was not awaited.
    ~AsyncTransaction()
    {
        std::unique_lock lock(mutex_);
        ended_.wait(lock, [&] { return !running_; });
    }

    /// `async_exec(sql, parameters..., token)`.
    template <class... A>
        requires(sizeof...(A) > 0)
    auto async_exec(std::string_view sql, A&&... parameters_and_token)
    {
        return initiate<false>(sql, std::forward_as_tuple(std::forward<A>(parameters_and_token)...));
    }
    /// `async_try_exec(sql, parameters..., token)`.
    template <class... A>
        requires(sizeof...(A) > 0)
    auto async_try_exec(std::string_view sql, A&&... parameters_and_token)
    {
        return initiate<true>(sql, std::forward_as_tuple(std::forward<A>(parameters_and_token)...));
    }

private:
    template <class, class>
    friend class RowTransaction;

    explicit AsyncTransaction(Transaction& transaction) noexcept : transaction_(transaction) {}

    bool idle() const
    {
        std::lock_guard lock(mutex_);
        return !running_;
    }

    /// The right to use the connection; ends with it.
    class Turn {
    public:
        explicit Turn(AsyncTransaction& owner) : owner_(owner.take_turn() ? &owner : nullptr) {}
        Turn(Turn&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)) {}
        Turn& operator=(Turn&&) = delete;
        ~Turn()
        {
            if (owner_ != nullptr)
                owner_->end_turn();
        }
        explicit operator bool() const noexcept { return owner_ != nullptr; }

    private:
        AsyncTransaction* owner_;
    };
    bool take_turn()
    {
        std::lock_guard lock(mutex_);
        return !std::exchange(running_, true);
    }
    void end_turn() noexcept
    {
        std::lock_guard lock(mutex_);
        running_ = false;
        ended_.notify_all();  // under the mutex: whoever waits destroys both
    }

    struct Statement {
        std::string sql;
        Outcome<detail::Params> params;
    };

    /// One statement, once its turn has come.
    template <bool Try>
    struct Call {
        Outcome<Result> operator()()
        {
            using Savepoint = Transaction::Savepoint;
            auto const mine = std::move(turn);
            if (!mine)
                return not_awaited();
            return owner->transaction_.run(
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
                std::move(handler)(
                    std::make_exception_ptr(Error(outcome.error(), outcome.detail(), outcome.cause())), Result{});
        }
        AsyncTransaction* owner;
        Turn turn;
        std::unique_ptr<Statement> statement;
    };

    template <bool Try, class All>
    auto initiate(std::string_view sql, All all)
    {
        constexpr auto count = std::tuple_size_v<All> - 1;
        auto params = [&]<std::size_t... I>(std::index_sequence<I...>) {
            return Transaction::parameters_of(std::get<I>(all)...);
        }(std::make_index_sequence<count>{});
        using Token = std::tuple_element_t<count, All>;
        using Signature = std::conditional_t<Try, void(Outcome<Result>), void(std::exception_ptr, Result)>;
        return boost::asio::async_initiate<Token, Signature>(
            [this](auto handler, std::unique_ptr<Statement> statement) {
                using interlock::detail::CallPlace;
                Call<Try> call{this, Turn{*this}, std::move(statement)};
                auto const place = call.turn ? CallPlace::own_thread : CallPlace::here;
                interlock::detail::async_call(place, SystemRuntime{}, std::move(handler), std::move(call));
            },
            std::get<count>(all), std::unique_ptr<Statement>(new Statement{std::string(sql), std::move(params)}));
    }

    static Failure not_awaited()
    {
        return Failure{Errc::invalid_argument, "postgres: a statement of the operation was not awaited"};
    }

    Transaction& transaction_;
    mutable std::mutex mutex_;
    std::condition_variable ended_;
    bool running_{false};
};

}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_ASYNC_TRANSACTION_HPP
