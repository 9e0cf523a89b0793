// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_NET_IMPL_OPENSSL_IPP
#define INTERLOCK_CORE_KIT_NET_IMPL_OPENSSL_IPP

// The bodies are inline in the compiled form, too: only what needs TLS includes them, and links OpenSSL.

#include <interlock/core/kit/net/openssl.hpp>
#include <interlock/core/runtime/without_cancellation.hpp>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// The process's threads for asynchronous calls outlive the cleanup that OpenSSL does at exit, unless it is
/// told not to. Whoever has used OpenSSL before has decided that already.
inline void keep_openssl_until_the_end() noexcept
{
#ifdef OPENSSL_INIT_NO_ATEXIT
    static_cast<void>(::OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT, nullptr));
#endif
}

/// What OpenSSL says went wrong first; its words name no secrets.
inline std::string openssl_reason(unsigned long code)
{
    char const* const text = code == 0 ? nullptr : ::ERR_reason_error_string(code);
    return text != nullptr ? text : "no reason is given";
}

class OpenSslSession final : public TlsSession {
public:
    /// `context` outlives it. `store` begins the texts of failures.
    OpenSslSession(::SSL_CTX* context, TlsOptions const& options, std::string store, std::string const& host)
        : ssl_(::SSL_new(context)), store_(std::move(store))
    {
        name_ = options.server_name.empty() ? host : options.server_name;
        if (name_.size() > 1 && name_.back() == '.')
            name_.pop_back();
        if (!ssl_)
            return;
        in_ = ::BIO_new(::BIO_s_mem());
        out_ = ::BIO_new(::BIO_s_mem());
        if (in_ == nullptr || out_ == nullptr) {
            ::BIO_free(in_);
            ::BIO_free(out_);
            ssl_.reset();
            return;
        }
        BIO_set_mem_eof_return(in_, -1);  // an empty one is not the end
        ::SSL_set_bio(ssl_.get(), in_, out_);
        ::SSL_set_connect_state(ssl_.get());
        SSL_set_app_data(ssl_.get(), this);
        if (!name_server(options.verification == TlsVerification::full))
            ssl_.reset();
    }

    bool valid() const noexcept { return static_cast<bool>(ssl_); }

    TlsStatus handshake() override
    {
        ::ERR_clear_error();
        int const result = ::SSL_do_handshake(ssl_.get());
        if (result != 1)
            return judge(result);
        established_ = true;
        return TlsStatus::ok;
    }

    TlsStatus encrypt(std::string_view plain) override
    {
        ::ERR_clear_error();
        std::size_t written = 0;
        int const result = ::SSL_write_ex(ssl_.get(), plain.data(), plain.size(), &written);
        return result == 1 ? TlsStatus::ok : judge(result);
    }

    TlsStatus decrypt(char* out, std::size_t size, std::size_t& got) override
    {
        ::ERR_clear_error();
        int const result = ::SSL_read_ex(ssl_.get(), out, size, &got);
        if (result != 1)
            return judge(result);
        asked_for_certificate_ = false;  // and does without
        return TlsStatus::ok;
    }

    bool feed(std::string_view cipher) override
    {
        std::size_t written = 0;
        return ::BIO_write_ex(in_, cipher.data(), cipher.size(), &written) == 1 && written == cipher.size();
    }

    void drain(std::string& out) override
    {
        char* bytes = nullptr;
        auto const size = BIO_get_mem_data(out_, &bytes);
        if (size <= 0)
            return;
        out.append(bytes, static_cast<std::size_t>(size));
        static_cast<void>(BIO_reset(out_));
    }

    bool empty() const noexcept override
    {
        return ::BIO_ctrl_pending(in_) == 0 && ::SSL_has_pending(ssl_.get()) == 0;
    }

    Failure failure() const override
    {
        if (why_.empty() && asked_for_certificate_)
            return Failure{
                Errc::unavailable,
                store_ +
                    ": TLS: the connection was lost after the server had asked for a client certificate, "
                    "and none is configured"};
        return Failure{code_, why_};
    }

    /// The server wants a certificate, and there is none.
    static int no_certificate(::SSL* ssl, ::X509**, ::EVP_PKEY**) noexcept
    {
        static_cast<OpenSslSession*>(SSL_get_app_data(ssl))->asked_for_certificate_ = true;
        return 0;
    }

private:
    struct Free {
        void operator()(::SSL* ssl) const noexcept { ::SSL_free(ssl); }
    };

    /// Tells the server whom we want, and OpenSSL whose certificate it must be.
    bool name_server(bool verified)
    {
        auto* const expected = ::SSL_get0_param(ssl_.get());
        if (::X509_VERIFY_PARAM_set1_ip_asc(expected, name_.c_str()) == 1)
            return true;  // an address; SNI is for names only
        ::X509_VERIFY_PARAM_set_hostflags(expected, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        if (verified &&
            (name_.empty() || ::X509_VERIFY_PARAM_set1_host(expected, name_.c_str(), name_.size()) != 1))
            return false;
        return SSL_set_tlsext_host_name(ssl_.get(), name_.c_str()) == 1;
    }

    TlsStatus judge(int result)
    {
        switch (::SSL_get_error(ssl_.get(), result)) {
        case SSL_ERROR_WANT_READ: return TlsStatus::more;
        case SSL_ERROR_ZERO_RETURN: return TlsStatus::closed;
        default: break;
        }
        auto const code = ::ERR_peek_error();
        code_ = Errc::misconfigured;
        why_ = store_ + ": TLS: " + explain(code);
        ::ERR_clear_error();
        return TlsStatus::failed;
    }

    /// In words; and `code_` becomes `unavailable` where another attempt may end better.
    std::string explain(unsigned long code)
    {
        if (auto const result = ::SSL_get_verify_result(ssl_.get());
            !established_ && result != X509_V_OK && ::SSL_get_verify_mode(ssl_.get()) != SSL_VERIFY_NONE)
            return explain_certificate(result);
        auto const reason = ::ERR_GET_LIB(code) == ERR_LIB_SSL ? ::ERR_GET_REASON(code) : 0;
        // Alerts of the server have 1000 and the number of RFC 8446.
        auto const alert = reason > SSL_AD_REASON_OFFSET ? reason - SSL_AD_REASON_OFFSET : 0;
        if (alert == SSL_AD_CERTIFICATE_REQUIRED ||
            (alert == SSL_AD_HANDSHAKE_FAILURE && asked_for_certificate_))
            return "the server demands a client certificate, and none is configured";
        if (alert >= SSL_AD_BAD_CERTIFICATE && alert <= SSL_AD_CERTIFICATE_UNKNOWN)
            return "the server refuses the client certificate: " + openssl_reason(code);
        if (alert == SSL_AD_UNKNOWN_CA)
            return "the server does not trust who signed the client certificate: " + openssl_reason(code);
        if (!established_ && (alert == SSL_AD_HANDSHAKE_FAILURE || alert == SSL_AD_PROTOCOL_VERSION ||
                              alert == SSL_AD_INSUFFICIENT_SECURITY || alert == SSL_AD_UNRECOGNIZED_NAME))
            return "the server refuses the handshake: " + openssl_reason(code);
        if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST ||
            reason == SSL_R_HTTPS_PROXY_REQUEST)
            return "what the server sent is no TLS; is this the right port?";
        if (reason == SSL_R_UNSUPPORTED_PROTOCOL || reason == SSL_R_NO_PROTOCOLS_AVAILABLE)
            return "the server has no version of TLS that is safe: " + openssl_reason(code);
        code_ = Errc::unavailable;
        if (alert != 0)
            return "the server ended the session: " + openssl_reason(code);
        return (established_ ? "the session broke: " : "the handshake failed: ") + openssl_reason(code);
    }

    std::string explain_certificate(long result) const
    {
        switch (result) {
        case X509_V_ERR_CERT_HAS_EXPIRED: return "the server's certificate, or its signer's, has expired";
        case X509_V_ERR_CERT_NOT_YET_VALID:
            return "the server's certificate, or its signer's, is not valid yet";
        case X509_V_ERR_HOSTNAME_MISMATCH: return "the server's certificate is not for the name " + name_;
        case X509_V_ERR_IP_ADDRESS_MISMATCH:
            return "the server's certificate is not for the address " + name_;
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
        case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        case X509_V_ERR_CERT_SIGNATURE_FAILURE:
            return std::string("the server's certificate is not signed by anybody trusted: ") +
                   ::X509_verify_cert_error_string(result);
        default: break;
        }
        return std::string("the server's certificate is refused: ") + ::X509_verify_cert_error_string(result);
    }

    std::unique_ptr<::SSL, Free> ssl_;
    ::BIO* in_{nullptr};   // the server's bytes; owned by ssl_
    ::BIO* out_{nullptr};  // bytes for the server; owned by ssl_
    std::string store_;
    std::string name_;  // whose certificate it must be
    bool established_{false};
    bool asked_for_certificate_{false};  // and there was none; explains why the server then ended the session
    Errc code_{Errc::unavailable};       // of the failure
    std::string why_;                    // empty: it has not failed
};

class OpenSslContext final : public TlsContext {
public:
    static Outcome<std::shared_ptr<TlsContext const>> make(TlsOptions options, std::string store)
    {
        keep_openssl_until_the_end();
        std::shared_ptr<OpenSslContext> context(new OpenSslContext(std::move(options), std::move(store)));
        if (auto prepared = context->prepare(); !prepared)
            return std::move(prepared).failure();
        return std::shared_ptr<TlsContext const>(std::move(context));
    }

    std::unique_ptr<TlsSession> session(std::string const& host) const override
    {
        auto session = std::make_unique<OpenSslSession>(context_.get(), options_, store_, host);
        if (!session->valid())
            session.reset();
        return session;
    }

private:
    struct Free {
        void operator()(::SSL_CTX* context) const noexcept { ::SSL_CTX_free(context); }
    };

    OpenSslContext(TlsOptions options, std::string store)
        : options_(std::move(options)), store_(std::move(store)),
          context_(::SSL_CTX_new(::TLS_client_method()))
    {}

    Outcome<void> prepare()
    {
        auto* const context = context_.get();
        if (context == nullptr || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1)
            return wrong("cannot be used");
        ::SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
        SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
        // Else it would ask at the terminal.
        ::SSL_CTX_set_default_passwd_cb(context, [](char*, int, int, void*) { return -1; });
        ::SSL_CTX_set_client_cert_cb(context, &OpenSslSession::no_certificate);
        ::SSL_CTX_set_verify(
            context, options_.verification == TlsVerification::full ? SSL_VERIFY_PEER : SSL_VERIFY_NONE,
            nullptr);

        ::ERR_clear_error();
        if (!options_.ca_file.empty() &&
            ::SSL_CTX_load_verify_locations(context, options_.ca_file.c_str(), nullptr) != 1)
            return wrong("cannot read certificates from ca_file " + options_.ca_file);
        if (!options_.ca_path.empty() &&
            ::SSL_CTX_load_verify_locations(context, nullptr, options_.ca_path.c_str()) != 1)
            return wrong("cannot use ca_path " + options_.ca_path);
        if (options_.ca_file.empty() && options_.ca_path.empty() &&
            ::SSL_CTX_set_default_verify_paths(context) != 1)
            return wrong("cannot find the system's trusted certificates");
        if (options_.certificate_file.empty())
            return success();
        if (::SSL_CTX_use_certificate_chain_file(context, options_.certificate_file.c_str()) != 1)
            return wrong("cannot read a certificate from certificate_file " + options_.certificate_file);
        if (::SSL_CTX_use_PrivateKey_file(context, options_.private_key_file.c_str(), SSL_FILETYPE_PEM) != 1)
            return wrong(
                "cannot read a key without passphrase from private_key_file " + options_.private_key_file);
        if (::SSL_CTX_check_private_key(context) != 1)
            return wrong("the key of private_key_file is not that of certificate_file");
        return success();
    }

    Failure wrong(std::string what) const
    {
        auto const code = ::ERR_peek_last_error();
        std::string detail = store_ + ": TLS: " + std::move(what);
        if (code != 0)
            detail += ": " + openssl_reason(code);
        ::ERR_clear_error();
        return Failure{Errc::misconfigured, std::move(detail)};
    }

    TlsOptions options_;
    std::string store_;  // begins the texts of failures
    std::unique_ptr<::SSL_CTX, Free> context_;
};

}  // namespace detail

inline Outcome<std::shared_ptr<TlsContext const>> make_tls_context(TlsOptions options, std::string store)
{
    detail::WithoutCancellation const whole;  // OpenSSL reads files, under locks of its own
    return detail::OpenSslContext::make(std::move(options), std::move(store));
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_NET_IMPL_OPENSSL_IPP
