// SPDX-License-Identifier: BSL-1.0

// Shows: a payment service, whole. POST /payments with an Idempotency-Key is executed once, however often it
// is sent and whoever is killed meanwhile, and everybody gets the first answer, byte for byte.
// Needs: nothing for memory:; Redis or PostgreSQL for accounts that outlive the process.
// Run with: payments --store postgresql://localhost/test
//
// The order of reading: bank.hpp (the business), bank_on_postgres.cpp and bank_in_url.cpp (the library at
// work), body.cpp and api.cpp (requests and answers), server.cpp (HTTP), supervisor.cpp (who starts whom
// again).

#include <boost/asio/signal_set.hpp>
#include <fmt/format.h>

#include "say.hpp"
#include "server.hpp"
#include "supervisor.hpp"

#include <csignal>
#include <cstdio>
#include <exception>
#include <stdexcept>

namespace {

using namespace payments;

void serve(Options const& options)
{
    Metrics metrics;
    auto const bank = open_bank(options.store, metrics);
    Api api{*bank, metrics, options};
    asio::io_context io{1};
    Server server{io, options.listener, api};
    asio::signal_set signals{io, SIGTERM, SIGINT};
    signals.async_wait([&server](auto const& error, int) {
        if (!error)
            server.stop();
    });
    io.run();
}

}  // namespace

int main(int argc, char** argv)
{
    payments::keep_standard_streams();
    try {
        std::vector<std::string_view> const arguments(argv + 1, argv + argc);
        auto const options = parse_options(arguments);
        if (options.help) {
            fmt::print("{}", usage);
            if (std::fflush(stdout) != 0)
                throw std::runtime_error("standard output cannot be written");
            return 0;
        }
        if (options.listener < 0)
            return supervise(options, arguments);
        serve(options);
        return 0;
    } catch (BadOption const& error) {
        say("payments: {}", error.what());
        return 2;
    } catch (std::exception const& error) {
        say("payments: {}", error.what());
        return 1;
    }
}
