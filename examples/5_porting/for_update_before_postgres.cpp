// SPDX-License-Identifier: BSL-1.0

// Porting, the side of before: SELECT FOR UPDATE by hand, as programs write it with libpqxx. README.md says
// what is missing, and for_update_after_postgres.cpp is the same program with the library.
// Needs: a PostgreSQL server, whose URL is the argument.
// Run with: for_update_before_postgres postgresql://localhost/shop

#include <fmt/format.h>
#include <pqxx/pqxx>

#include <stdexcept>
#include <string>

namespace {

int take(pqxx::connection& connection, std::string const& sku, int quantity)
{
    for (int attempt = 1;; ++attempt)
        try {
            pqxx::work transaction{connection};
            auto const rows = transaction.exec(
                "SELECT quantity FROM porting_before WHERE sku = " + transaction.quote(sku) + " FOR UPDATE");
            if (rows.empty())
                throw std::invalid_argument("no such sku");
            auto const left = rows[0][0].as<int>() - quantity;
            transaction.exec(
                "UPDATE porting_before SET quantity = " + transaction.quote(left) +
                " WHERE sku = " + transaction.quote(sku));
            transaction.commit();  // a connection that is lost here leaves the question: was it?
            return left;
        } catch (pqxx::sql_error const&) {
            // A deadlock? A serialisation failure? A full disk? All alike: three times, at once.
            if (attempt == 3)
                throw;
        }
}

}  // namespace

int main(int argc, char** argv)
{
    if (argc != 2) {
        fmt::print("for_update_before_postgres: name a server, like postgresql://localhost/shop\n");
        return 77;
    }
    pqxx::connection connection{argv[1]};
    {
        pqxx::work transaction{connection};
        transaction.exec(
            "CREATE TABLE IF NOT EXISTS porting_before(sku text PRIMARY KEY, quantity int NOT NULL)");
        transaction.exec("INSERT INTO porting_before VALUES ('sku-1', 10) ON CONFLICT DO NOTHING");
        transaction.commit();
    }
    fmt::print("{} left\n", take(connection, "sku-1", 3));
}
