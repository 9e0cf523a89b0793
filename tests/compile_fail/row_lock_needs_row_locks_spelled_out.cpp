// expect: load_for_update
// SPDX-License-Identifier: BSL-1.0

// The same with all template arguments spelled out.

#include <interlock/interlock.hpp>

#include <boost/describe/class.hpp>

#include <string>

namespace il = interlock;

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

// A store that knows versions and nothing else.
struct VersionsOnly {
    using value_type = Stock;
    using key_type = std::string;
    using runtime_type = il::SystemRuntime;
    il::SystemRuntime runtime() const;
    void const* identity() const;
    il::Outcome<il::Versioned<Stock>> load(il::Key const&, il::Deadline) const;
    il::Outcome<il::Version> insert(il::Key const&, Stock const&, il::Deadline) const;
    il::Outcome<il::Version> compare_and_set(il::Key const&, il::Version, Stock const&, il::Deadline) const;
    il::Outcome<il::Version> erase(il::Key const&, il::Version, il::Deadline) const;
};
static_assert(il::VersionedRepository<VersionsOnly>);

void use(VersionsOnly stock)
{
    il::TransactionService<Stock, il::PessimisticRowLock, VersionsOnly> service{il::PessimisticRowLock{}, stock};
}
