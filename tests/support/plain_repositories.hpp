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
    il::Outcome<il::Versioned<Stock>> carry_out(il::verb::Load<Stock> const&, il::Deadline) const;
    il::Outcome<il::Version> carry_out(il::verb::Insert<Stock> const&, il::Deadline) const;
    il::Outcome<il::Version> carry_out(il::verb::CompareAndSet<Stock> const&, il::Deadline) const;
    il::Outcome<il::Version> carry_out(il::verb::Erase const&, il::Deadline) const;
};
static_assert(il::VersionedRepository<VersionsOnly>);

// Atomic commits and lock records, but no fence.
struct Leases : VersionsOnly {
    using VersionsOnly::carry_out;
    il::Outcome<il::Grant> carry_out(il::verb::Create const&, il::Deadline) const;
    il::Outcome<std::chrono::nanoseconds> carry_out(il::verb::Renew const&, il::Deadline) const;
    il::Outcome<il::Removal> carry_out(il::verb::Remove const&, il::Deadline) const;
    il::Outcome<il::CommitResult> carry_out(il::verb::Commit<Stock> const&, il::Deadline) const;
};
static_assert(il::LeaseRepository<Leases> && il::AtomicRepository<Leases>);

#endif  // INTERLOCK_TESTS_SUPPORT_PLAIN_REPOSITORIES_HPP
