// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_NET_OPENSSL_HPP
#define INTERLOCK_CORE_KIT_NET_OPENSSL_HPP

/// @file
/// The one header that includes OpenSSL (1.1.1 or newer). There is no socket in it: bytes go through memory
/// in both directions. A component that includes it links OpenSSL; the core does not.

#include <interlock/core/kit/net/endpoint.hpp>
#include <interlock/core/kit/net/tls_session.hpp>
#include <interlock/core/outcome.hpp>

#include <memory>
#include <string>

namespace interlock {
inline namespace v0 {
/// Reads the files that `options` name. `store` begins the texts of failures: "redis".
///
/// **Outcome.** `misconfigured` names the file that is of no use.
/// **Thread safety.** Safe.
Outcome<std::shared_ptr<TlsContext const>> make_tls_context(TlsOptions options, std::string store);

}  // namespace v0
}  // namespace interlock

#include <interlock/core/kit/net/impl/openssl.ipp>

#endif  // INTERLOCK_CORE_KIT_NET_OPENSSL_HPP
