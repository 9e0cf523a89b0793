# The Redis store over TLS.
set(component_built_on redis)
set(component_headers "backends/redis/tls.hpp" "core/kit/net/openssl.hpp")
set(component_needs openssl)

set(openssl_package OpenSSL 1.1.1)
set(openssl_target OpenSSL::SSL OpenSSL::Crypto)
set(openssl_called "OpenSSL 1.1.1 or newer")
set(openssl_requires openssl)
set(openssl_includes "^(openssl/|boost/asio/ssl)")
set(openssl_door core/kit/net/openssl.hpp)
