// SPDX-License-Identifier: BSL-1.0

// Operations that await are cancelled when their lock is lost: each run by itself, in whatever order the
// steps of executor, coroutine and cancellation come.

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/kit/state_slot.hpp>
#include <interlock/core/transaction_service.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "support/catch.hpp"
#include "support/simulation/context.hpp"
#include "support/states.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

namespace cancellation_test {

namespace asio = boost::asio;
using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::Stock;
using simulation::SimulationContext;
using simulation::SimulationRuntime;

/// What a test knows of the lock of its operation.
struct Lock {
    bool lost{false};
    Waiter* listener{nullptr};
    int runs{0};

    void lose()
    {
        lost = true;
        if (listener != nullptr)
            listener->wake();
    }
};

/// A lock that is lost when the test says so. What an operation throws then is not believed: it runs again,
/// under a new lock.
struct LosingPolicy {
    using policy_concept = transaction_policy_tag;
    static constexpr std::string_view name = "losing";
    static constexpr Needs needs{};
    Lock* lock{nullptr};
    int max_attempts{10};
    Backoff backoff{};

    template <class R>
    class Session : public detail::PolicySession<LosingPolicy, R> {
    public:
        using value_type = typename R::value_type;
        static constexpr std::array forms{Form::states};
        using detail::PolicySession<LosingPolicy, R>::PolicySession;

        template <std::size_t N, Form>
        class Transaction {
        public:
            Transaction(
                Session const& session, std::span<Key const, N>, std::span<std::size_t const, N>,
                std::span<std::optional<value_type> const, N>, TransactionContext&)
                : lock_(*session.policy().lock)
            {}
            Step<Begun> begin(Waiter&)
            {
                lock_.lost = false;
                return Step<Begun>{std::in_place, std::in_place};
            }
            std::optional<Failure> refusal() const { return std::nullopt; }
            Outcome<CommitResult> commit(OperationCommit const*)
            {
                return Outcome<CommitResult>{std::in_place};
            }
            Outcome<CommitResult> verify() { return Errc::version_conflict; }
            void rollback(bool) noexcept {}
            void abandon() noexcept {}
            bool lost() const noexcept { return lock_.lost; }
            void listen(Waiter* waiter) noexcept { lock_.listener = waiter; }
            value_type& state(std::size_t) noexcept { return state_; }

        private:
            Lock& lock_;
            value_type state_{};
        };
    };
};

TEST_CASE("a cancellation belongs to one run of an operation", "[core][cancellation]")
{
    int cancelled = 0;
    int never_cancelled = 0;
    for (std::uint64_t seed = 1; seed <= 3000; ++seed) {
        SimulationContext context{seed, simulation::Blocking::forbidden};
        memory::StateRepository<Stock, std::string, SimulationRuntime> const store{
            {}, SimulationRuntime{context}};
        Lock lock;
        TransactionService const service{LosingPolicy{&lock}, store};
        bool found_cancelled = false;
        auto const operation = [&](Stock&) -> asio::awaitable<int> {
            auto const state = co_await asio::this_coro::cancellation_state;
            found_cancelled = found_cancelled || state.cancelled() != asio::cancellation_type::none;
            if (++lock.runs > 1)
                co_return lock.runs;
            bool interrupted = false;
            try {
                co_await simulation::async_sleep(context, 0, 100us, asio::use_awaitable);
            } catch (std::exception const&) {
                interrupted = true;
            }
            (interrupted ? cancelled : never_cancelled) += 1;
            if (!interrupted)
                lock.lose();  // while this run ends by itself
            throw std::runtime_error("something else");
        };
        std::optional<Outcome<int>> outcome;
        service.async_try_do_in_transaction(
            "x", operation, {.deadline = 1h},
            asio::bind_executor(
                asio::any_io_executor(context.get_executor()),
                [&](std::exception_ptr exception, Outcome<int> o) {
                    CHECK_FALSE(exception);
                    outcome = std::move(o);
                }));
        if (seed % 3 == 1)
            context.push(0, [&] { lock.lose(); });  // before the run, while it begins, or later
        if (seed % 3 == 2)
            context.add_timer(0, context.now() + 100us, [&] { lock.lose(); });
        REQUIRE_NOTHROW(context.run());
        REQUIRE(outcome);
        CHECK((outcome->has_value() || outcome->errc() == Errc::lock_lost));
        CHECK_FALSE(found_cancelled);
    }
    CHECK(cancelled > 100);
    CHECK(never_cancelled > 100);
}

}  // namespace cancellation_test
