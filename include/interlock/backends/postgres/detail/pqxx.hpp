// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_PQXX_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_PQXX_HPP

/// @file
/// The door to libpqxx (6.4, 7.5 and later, 8.x), which owns each connection, and to libpq, on which libpqxx
/// is built. Only bodies need it: in the compiled form no unit of the user's reads it. What the values of
/// users' own statements need of libpqxx has a door of its own, `pqxx_values.hpp`.

#include <interlock/backends/postgres/detail/pqxx_values.hpp>

#include <pqxx/version>

#include <libpq-fe.h>
#if PQXX_VERSION_MAJOR < 7
#include <pqxx/connection_base>
#include <pqxx/connectionpolicy>
#else
#include <pqxx/connection>
#endif

#include <string>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

#if PQXX_VERSION_MAJOR < 7
/// A libpqxx connection around an established one. libpqxx 6.4 would reconnect by itself; here it never gets
/// to send anything.
class PqxxConnection final : public pqxx::connection_base {
public:
    explicit PqxxConnection(PGconn* connection) : pqxx::connection_base(policy_), policy_(connection)
    {
        init();
    }
    PqxxConnection(PqxxConnection const&) = delete;
    PqxxConnection& operator=(PqxxConnection const&) = delete;
    ~PqxxConnection() { close(); }

private:
    /// Gives libpqxx the connection that exists, instead of making one.
    class Adopted final : public pqxx::connectionpolicy {
    public:
        explicit Adopted(PGconn* connection) : pqxx::connectionpolicy(std::string{}), connection_(connection)
        {}
        handle do_startconnect(handle known) override
        {
            return known != nullptr ? known : std::exchange(connection_, nullptr);
        }
        handle do_completeconnect(handle connection) override { return connection; }

    private:
        handle connection_;
    };
    Adopted policy_;
};
#else
/// A libpqxx connection around an established one.
class PqxxConnection final {
public:
    explicit PqxxConnection(PGconn* connection)
        : connection_(pqxx::connection::seize_raw_connection(connection))
    {}

private:
    pqxx::connection connection_;
};
#endif

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_PQXX_HPP
