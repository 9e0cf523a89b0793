// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_FLASH_SALE_UNGUARDED_HPP
#define INTERLOCK_EXAMPLES_FLASH_SALE_UNGUARDED_HPP

// How not to do it: read, compute, write whatever is there by now. The last writer wins, and the sales of
// everybody who wrote between his read and his write are lost. It is a complete policy of one's own, made of
// the public plug shape.

#include <interlock/core/contracts/policy.hpp>
#include <interlock/core/transaction_context.hpp>
#include <interlock/core/versioned.hpp>

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace flash_sale {

template <class Repository>
class UnguardedSession;

struct Unguarded {
    static constexpr std::string_view name = "unguarded";
    static constexpr interlock::Needs needs{.versions = true};
    using policy_concept = interlock::transaction_policy_tag;

    template <class Repository>
    using Session = UnguardedSession<Repository>;
};

/// What a service keeps.
template <class Repository>
class UnguardedSession {
public:
    using repository_type = Repository;
    using value_type = typename Repository::value_type;
    static constexpr std::string_view name = Unguarded::name;
    static constexpr std::array forms{interlock::Form::states};

    UnguardedSession(Unguarded, Repository repository, interlock::Observer*)
        : repository_(std::move(repository))
    {}

    Repository const& repository() const noexcept { return repository_; }
    interlock::RetryLimits retry_limits() const noexcept { return {}; }
    static constexpr bool guarded(interlock::Form) noexcept { return true; }
    std::optional<interlock::Failure> unfit(std::span<interlock::Key const>, interlock::Deadline) const
    {
        return {};
    }

    /// One call.
    template <std::size_t N, interlock::Form>
    class Transaction {
        static_assert(N == 1, "unguarded serves one key at a time");

    public:
        Transaction(
            UnguardedSession const& session, std::span<interlock::Key const, N> keys,
            std::span<std::size_t const, N>, std::span<std::optional<value_type> const, N>,
            interlock::TransactionContext& context)
            : repository_(session.repository()), key_(keys[0]), deadline_(context.deadline())
        {}

        interlock::Step<interlock::Begun> begin(interlock::Waiter&)
        {
            auto loaded = repository_.load(key_, deadline_);
            if (!loaded)
                return std::move(loaded).failure();
            state_ = std::move(loaded->value);
            return interlock::Outcome<interlock::Begun>{interlock::Begun{}};
        }

        interlock::Outcome<interlock::CommitResult> commit(interlock::OperationCommit const*)
        {
            for (;;) {
                // The mistake: the version of now, not the one that the state was computed from.
                auto current = repository_.load(key_, deadline_);
                if (!current)
                    return std::move(current).failure();
                auto written = repository_.compare_and_set(key_, current->version, state_, deadline_);
                if (written)
                    return interlock::CommitResult{};
                if (written.errc() != interlock::Errc::version_conflict)
                    return std::move(written).failure();
            }
        }

        std::optional<interlock::Failure> refusal() const { return {}; }
        void rollback(bool) noexcept {}
        void abandon() noexcept {}
        value_type& state(std::size_t) noexcept { return state_; }

    private:
        Repository repository_;
        interlock::Key const& key_;
        interlock::Deadline deadline_;
        value_type state_{};
    };

private:
    Repository repository_;
};

}  // namespace flash_sale

#endif  // INTERLOCK_EXAMPLES_FLASH_SALE_UNGUARDED_HPP
