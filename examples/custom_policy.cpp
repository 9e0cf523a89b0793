// SPDX-License-Identifier: BSL-1.0

// Shows a policy of one's own made by deriving from one of the library: optimistic versioning that keeps an
// audit trail of every commit and rollback, whatever code runs under it.
// Needs: nothing.
// Run with: custom_policy
//
// A policy from scratch, made of the public plug shape only, is in flash_sale/unguarded.hpp.

#include <interlock/interlock.hpp>

#include <boost/describe.hpp>
#include <fmt/format.h>

#include <cstddef>
#include <cstdlib>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity = 0;
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

class AuditTrail {
public:
    void add(std::string line)
    {
        std::lock_guard lock(mutex_);
        lines_.push_back(std::move(line));
    }
    std::vector<std::string> lines() const
    {
        std::lock_guard lock(mutex_);
        return lines_;
    }

private:
    mutable std::mutex mutex_;
    std::vector<std::string> lines_;
};

template <class Repository>
class AuditedSession;

/// The policy: a value with its configuration. Everything that is not said here is optimistic versioning's.
struct Audited : il::OptimisticVersioning {
    explicit Audited(AuditTrail& to, il::OptimisticVersioning base = {})
        : OptimisticVersioning(base), trail(&to)
    {}

    static constexpr std::string_view name = "audited";
    template <class Repository>
    using Session = AuditedSession<Repository>;

    AuditTrail* trail;
};

/// What a service keeps for the policy.
template <class Repository>
class AuditedSession : public il::OptimisticVersioning::Session<Repository> {
    using Base = il::OptimisticVersioning::Session<Repository>;

public:
    static constexpr std::string_view name = Audited::name;

    AuditedSession(Audited policy, Repository repository, il::Observer* observer)
        : Base(policy, std::move(repository), observer), trail_(policy.trail)
    {}

    /// One call of `do_in_transaction`.
    template <std::size_t N, il::Form Shape>
    class Transaction : public Base::template Transaction<N, Shape> {
        using Inner = typename Base::template Transaction<N, Shape>;

    public:
        template <class... Rest>
        Transaction(AuditedSession const& session, std::span<il::Key const, N> keys, Rest&&... rest)
            : Inner(session, keys, std::forward<Rest>(rest)...), trail_(session.trail_), key_(keys[0].bytes())
        {}

        il::Step<il::CommitResult> commit(il::OperationCommit const* operation, il::Waiter& waiter)
        {
            auto step = Inner::commit(operation, waiter);
            if (step.done())  // a store that need not block is asked again
                trail_->add(fmt::format(
                    "{}: {}", key_, step.outcome() ? "committed" : il::name_of(step.outcome().errc())));
            return step;
        }
        void rollback(bool unresolved) noexcept
        {
            Inner::rollback(unresolved);
            trail_->add(key_ + ": rolled back");
        }

    private:
        AuditTrail* trail_;
        std::string key_;
    };

private:
    AuditTrail* trail_;
};

void check(bool ok)  // like assert, but in release builds, too
{
    if (!ok)
        std::abort();
}

int main()
{
    AuditTrail trail;
    il::memory::StateRepository<Stock> stock;
    il::TransactionService service{Audited{trail, {.max_attempts = 10}}, stock};
    stock.insert({"sku-1", 1}).value();

    auto take_one = [](Stock& s) {
        if (s.quantity == 0)
            throw std::runtime_error("sold out");
        return --s.quantity;
    };
    check(service.do_in_transaction("sku-1", take_one) == 0);
    try {
        service.do_in_transaction("sku-1", take_one);
        check(false);
    } catch (std::runtime_error const& error) {
        fmt::print("refused: {}\n", error.what());
    }

    for (auto const& line : trail.lines())
        fmt::print("{}\n", line);
    check(trail.lines() == std::vector<std::string>{"sku-1: committed", "sku-1: rolled back"});
}
