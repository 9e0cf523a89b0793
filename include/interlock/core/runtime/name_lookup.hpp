// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_RUNTIME_NAME_LOOKUP_HPP
#define INTERLOCK_CORE_RUNTIME_NAME_LOOKUP_HPP

/// @file
/// The addresses of a host, for those who cannot wait for a name service for ever:
///
///     auto const found = addresses_of("db.example.com", 5432, until);
///     for (auto const* a = found.first.get(); a != nullptr; a = a->ai_next) ...
///
/// getaddrinfo(3) has no bound: where no name server answers, it takes ten seconds and more.

#include <interlock/core/deadline.hpp>
#include <interlock/separate_compilation.hpp>

#include <netdb.h>

#include <cstdint>
#include <memory>
#include <string>

namespace interlock {
inline namespace v0 {
namespace detail {

/// What a name has led to.
struct FoundAddresses {
    /// The list that getaddrinfo(3) has made, for TCP. Null: there is none.
    std::shared_ptr<addrinfo const> first{};
    /// Why there is none, as getaddrinfo(3) says it; 0: it was not known in time.
    int error{0};
};

/// Why there are no addresses, in words that name nobody.
std::string explain(FoundAddresses const& found);

/// Looks `host` up, at most until `deadline`. A number is read at once. A name is looked up on a thread, one
/// of at most four for each name, which nobody joins: behind the deadline it goes on alone, and what it finds
/// is dropped.
FoundAddresses addresses_of(std::string const& host, std::uint16_t port, TimePoint deadline);

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/runtime/impl/name_lookup.ipp>
#endif

#endif  // INTERLOCK_CORE_RUNTIME_NAME_LOOKUP_HPP
