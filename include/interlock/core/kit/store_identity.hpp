// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_STORE_IDENTITY_HPP
#define INTERLOCK_CORE_KIT_STORE_IDENTITY_HPP

/// @file
/// For authors of stores: what `identity()` of a repository of a distant store points to.
///
/// Two clients may have been made for one server, and their repositories must still be known as handles to
/// one store: a call that is made within another one must see that both ask for the same lock. A backend
/// makes up the name of its store from what distinguishes it: the server's address, the database, the name
/// space.

#include <interlock/core/runtime/immortal.hpp>
#include <interlock/separate_compilation.hpp>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace interlock {
inline namespace v0 {

/// The object that stands for the store `name` in this process, whatever client was made for it. It lives as
/// long as somebody has it; after that a new object with another address takes its place, and so does one in
/// a forked child. Safe to call from several threads at once.
std::shared_ptr<std::string const> intern_store(std::string name);

}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/kit/impl/store_identity.ipp>
#endif

#endif  // INTERLOCK_CORE_KIT_STORE_IDENTITY_HPP
