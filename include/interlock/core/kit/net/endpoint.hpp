// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_NET_ENDPOINT_HPP
#define INTERLOCK_CORE_KIT_NET_ENDPOINT_HPP

/// @file
/// Where a server is, and whom a client trusts there. Each store's own `Options` say the same in their own
/// words; this is what the connections of the kit are given.

#include <interlock/separate_compilation.hpp>

#include <cstdint>
#include <string>

namespace interlock {
inline namespace v0 {

/// The address of a server: a host and a port, or a unix socket.
struct Endpoint {
    /// A name or an address. Not used when `unix_path` is set.
    std::string host{};
    std::uint16_t port{0};
    /// The path of a unix socket. Empty: host and port count.
    std::string unix_path{};

    /// For messages: `host:port`, `[address]:port` or `unix:/path`.
    std::string text() const;
};

/// Whether the server must prove who it is.
enum class TlsVerification : unsigned char {
    /// By a certificate that is trusted, valid now, and for the host's name or address.
    full,
    /// Not at all: whoever sits between client and server may read and change everything, the password first.
    /// For tests.
    dangerously_disabled,
};

/// Whom to trust over TLS, and who we are. All files are PEM.
struct TlsOptions {
    /// Certificates of those who may sign the server's. Empty, with `ca_path`: those that the system trusts.
    std::string ca_file{};
    /// A directory of such certificates, prepared by `openssl rehash`. With `ca_file`: both count.
    std::string ca_path{};
    /// Our certificate, with those between it and its signer, for a server that demands one.
    std::string certificate_file{};
    /// The key of `certificate_file`. It has no passphrase.
    std::string private_key_file{};
    /// For whom the server's certificate must be, when that is not the host that was connected to: behind a
    /// tunnel, say.
    std::string server_name{};
    TlsVerification verification{TlsVerification::full};
};

}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/kit/net/impl/endpoint.ipp>
#endif

#endif  // INTERLOCK_CORE_KIT_NET_ENDPOINT_HPP
