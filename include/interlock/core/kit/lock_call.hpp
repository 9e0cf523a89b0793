// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_LOCK_CALL_HPP
#define INTERLOCK_CORE_KIT_LOCK_CALL_HPP

/// @file
/// For authors of stores: what every store refuses of a call about a lock before it asks anybody. One
/// sentence for all stores, so that a program reads the same message whichever store it was given:
///
///     Outcome<Grant> carry_out(verb::Create const& create, Deadline deadline) const
///     {
///         if (auto valid = validate_lock_call(create.key, create.ttl); !valid)
///             return std::move(valid).failure();
///         // ...
///     }

#include <interlock/core/contracts/requests.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/separate_compilation.hpp>

#include <string_view>

namespace interlock {
inline namespace v0 {

/// Success, or `invalid_argument` with a text that says whether the key, the lease or the holder's name is
/// out of its range. It allocates only for that text.
Outcome<void> validate_lock_call(Key const& key, Ttl ttl, std::string_view holder = {});

}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/kit/impl/lock_call.ipp>
#endif

#endif  // INTERLOCK_CORE_KIT_LOCK_CALL_HPP
