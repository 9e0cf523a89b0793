// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_CERTIFICATES_HPP
#define INTERLOCK_TESTS_SUPPORT_CERTIFICATES_HPP

/// @file
/// Certificates for tests, made on the spot. Needs OpenSSL 3.

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>

namespace interlock_test {

/// A certificate and its key, as files.
struct Certificate {
    std::string file;
    std::string key_file;
};

/// Signs certificates, and is trusted by whoever is given its file. The files go with the object.
class Authority {
public:
    explicit Authority(char const* name = "interlock test authority")
    {
        std::string pattern = (std::filesystem::temp_directory_path() / "interlock-ca-XXXXXX").string();
        if (::mkdtemp(pattern.data()) == nullptr)
            throw std::runtime_error("no temporary directory for certificates");
        directory_ = pattern;
        // As the library does it, but this may come first.
        ::OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, nullptr);
        key_ = make_key();
        own_ = make(name, key_.get(), "", -day, 10 * day, true);
        save(own_.get(), file());
    }
    Authority(Authority const&) = delete;
    Authority& operator=(Authority const&) = delete;
    ~Authority()
    {
        std::error_code ignored;
        std::filesystem::remove_all(directory_, ignored);
    }

    std::string file() const { return directory_ + "/ca.pem"; }

    static constexpr long day = 24 * 60 * 60;

    /// `names` as OpenSSL writes them: "DNS:localhost,IP:127.0.0.1". Valid from and to so many seconds from
    /// now.
    Certificate issue(std::string const& names, long from = -day, long to = 10 * day)
    {
        auto const stem = directory_ + "/" + std::to_string(++issued_);
        auto const key = make_key();
        save(make("interlock test", key.get(), names, from, to, false).get(), stem + ".pem");
        auto const file = open(stem + ".key");
        require(::PEM_write_bio_PrivateKey(file.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr));
        return {stem + ".pem", stem + ".key"};
    }

private:
    struct Free {
        void operator()(::EVP_PKEY* key) const noexcept { ::EVP_PKEY_free(key); }
        void operator()(::X509* certificate) const noexcept { ::X509_free(certificate); }
        void operator()(::BIO* bio) const noexcept { ::BIO_free(bio); }
        void operator()(::X509_EXTENSION* extension) const noexcept { ::X509_EXTENSION_free(extension); }
    };
    using Key = std::unique_ptr<::EVP_PKEY, Free>;
    using Own = std::unique_ptr<::X509, Free>;

    static void require(bool done)
    {
        if (!done)
            throw std::runtime_error("OpenSSL did not make a certificate");
    }
    static void require(int done) { require(done > 0); }

    static Key make_key()
    {
        Key key(EVP_EC_gen("P-256"));
        require(key != nullptr);
        return key;
    }

    Own make(char const* who, ::EVP_PKEY* key, std::string const& names, long from, long to, bool signs)
    {
        Own certificate(::X509_new());
        auto* const c = certificate.get();
        require(c != nullptr);
        require(::X509_set_version(c, 2));
        require(::ASN1_INTEGER_set(::X509_get_serialNumber(c), ++serial_));
        require(::X509_gmtime_adj(::X509_getm_notBefore(c), from) != nullptr);
        require(::X509_gmtime_adj(::X509_getm_notAfter(c), to) != nullptr);
        require(::X509_set_pubkey(c, key));
        require(::X509_NAME_add_entry_by_txt(
            ::X509_get_subject_name(c), "CN", MBSTRING_ASC, reinterpret_cast<unsigned char const*>(who), -1,
            -1, 0));
        require(::X509_set_issuer_name(c, ::X509_get_subject_name(own_ ? own_.get() : c)));
        add(c, NID_basic_constraints, signs ? "critical,CA:TRUE" : "critical,CA:FALSE");
        if (!names.empty())
            add(c, NID_subject_alt_name, names);
        require(::X509_sign(c, key_.get(), ::EVP_sha256()));
        return certificate;
    }

    static void add(::X509* certificate, int kind, std::string const& value)
    {
        std::unique_ptr<::X509_EXTENSION, Free> const extension(
            ::X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str()));
        require(extension != nullptr);
        require(::X509_add_ext(certificate, extension.get(), -1));
    }

    static std::unique_ptr<::BIO, Free> open(std::string const& path)
    {
        std::unique_ptr<::BIO, Free> file(::BIO_new_file(path.c_str(), "w"));
        require(file != nullptr);
        return file;
    }
    static void save(::X509* certificate, std::string const& path)
    {
        auto const file = open(path);
        require(::PEM_write_bio_X509(file.get(), certificate));
    }

    std::string directory_;
    Key key_;
    Own own_;
    long serial_{0};
    int issued_{0};
};

}  // namespace interlock_test

#endif  // INTERLOCK_TESTS_SUPPORT_CERTIFICATES_HPP
