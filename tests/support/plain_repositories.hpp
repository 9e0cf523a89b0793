// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_PLAIN_REPOSITORIES_HPP
#define INTERLOCK_TESTS_SUPPORT_PLAIN_REPOSITORIES_HPP

/// @file
/// Repositories that lack something; only declared, for what must not compile.

#include <interlock/interlock.hpp>

#include <boost/describe/class.hpp>

#include <chrono>
#include <span>
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

// Atomic commits and lock records, but no fence.
struct Leases : VersionsOnly {
    il::Outcome<il::Grant> create(il::Key const&, il::OwnerToken, il::Ttl, il::Deadline) const;
    il::Outcome<std::chrono::nanoseconds> renew(il::Key const&, il::OwnerToken, il::Ttl, il::Deadline) const;
    il::Outcome<il::Removal> remove(il::Key const&, il::OwnerToken, il::Deadline) const;
    il::Outcome<il::CommitResult> commit(
        std::span<il::Change<Stock>>, il::OperationCommit const*, il::Deadline) const;
};
static_assert(il::LeaseRepository<Leases> && il::AtomicRepository<Leases>);

#endif  // INTERLOCK_TESTS_SUPPORT_PLAIN_REPOSITORIES_HPP
