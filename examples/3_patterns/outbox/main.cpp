// SPDX-License-Identifier: BSL-1.0

// Shows: an outbox and an inbox. A sale and the event that says so are one commit; a subscription hands each
// event to the shipping department, whose inbox lets it have its effect once. Workers sell and ship side by
// side, and whoever of them is killed meanwhile, each sale is shipped once.
// Needs: nothing; another backend than memory needs its server.
// Run with: outbox
//           outbox --backend redis://localhost --processes 3 --kill 20
//
// The order of reading: shop.hpp (the business), shop_on.hpp (the library at work), on_memory.cpp,
// on_redis.cpp, on_postgres.cpp (the stores), workers.cpp and processes.cpp (who works, and who is killed).

#include <fmt/format.h>

#include "options.hpp"
#include "shop.hpp"
#include "workers.hpp"

#include <csignal>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace outbox;

/// Whether each sale was sold once and shipped once.
bool run(Options const& options)
{
    auto const place = place_of(options.backend);
    auto const shop = open_shop(place, options.careless);
    shop->open(options.sales);
    if (outlives_the_program(place))
        work_in_processes(*shop, options, place);
    else
        work_in_threads(*shop, options);

    auto const books = shop->books(options.sales);
    for (auto const& parked : books.parked)
        fmt::print(stderr, "outbox: parked: {}\n", parked);
    fmt::print(
        "sold {}, shipped {}, doubled {}, lost {}\n", books.sold, books.shipped, books.doubled, books.lost);
    return books.doubled == 0 && books.lost == 0;
}

/// What was printed is the result: that it could not be is a failure.
void finish_output()
{
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
        throw std::runtime_error("standard output cannot be written");
}

/// Ends with `code`, and says why where anybody can read it. (fmt::print would throw.)
int fail(int code, std::string const& why)
{
    [[maybe_unused]] auto const written = std::fputs((why + "\n").c_str(), stderr);
    return code;
}

}  // namespace

int main(int argc, char** argv)
{
    std::signal(SIGCHLD, SIG_DFL);  // a parent may have ignored the ends of children
    try {
        auto const options = parse_options(std::vector<std::string_view>(argv + 1, argv + argc));
        if (options.help) {
            fmt::print("{}", usage);
            finish_output();
            return 0;
        }
        if (options.worker) {
            work_for_parent(*open_shop(options.backend, options.careless), options);
            return 0;
        }
        bool const good = run(options);
        finish_output();
        return good ? 0 : 1;
    } catch (BadOption const& error) {
        return fail(2, fmt::format("outbox: {}", error.what()));
    } catch (std::exception const& error) {
        return fail(1, fmt::format("outbox: {}", error.what()));
    }
}
