// SPDX-License-Identifier: BSL-1.0

// with_postgres_server <command> [argument]...
//
// Runs a command beside a PostgreSQL server of its own; `@URL@` in an argument becomes the server's address. Exits as the
// command does.

#include "support/postgres_server.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <string>
#include <vector>

int main(int argc, char** argv)
{
    if (argc < 2) {
        std::fprintf(stderr, "usage: with_postgres_server <command> [argument]...\n");
        return 2;
    }
    try {
        interlock_test::PostgresServer const server;
        std::vector<std::string> words(argv + 1, argv + argc);
        std::vector<char*> arguments;
        for (auto& word : words) {
            if (auto const at = word.find("@URL@"); at != std::string::npos)
                word.replace(at, 5, server.url());
            arguments.push_back(word.data());
        }
        arguments.push_back(nullptr);
        auto const child = ::fork();
        if (child == 0) {
            ::execv(arguments[0], arguments.data());
            ::_exit(127);
        }
        int status = -1;
        ::waitpid(child, &status, 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    } catch (std::exception const& error) {
        std::fprintf(stderr, "with_postgres_server: %s\n", error.what());
        return 1;
    }
}
