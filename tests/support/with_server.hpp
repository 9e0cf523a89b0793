// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_WITH_SERVER_HPP
#define INTERLOCK_TESTS_SUPPORT_WITH_SERVER_HPP

/// @file
/// The programs with_<store>_server: with_<store>_server <command> [argument]...

#include "support/child_process.hpp"

#include <signal.h>

#include <cstdio>
#include <exception>
#include <string>
#include <utility>
#include <vector>

namespace interlock_test {

/// Runs a command beside a server of its own; `@URL@` in an argument becomes the server's address. Exits as
/// the command does.
template <class Server>
int run_with_server(int argc, char** argv)
{
    if (argc < 2) {
        std::fprintf(stderr, "usage: %s <command> [argument]...\n", argv[0]);
        return 2;
    }
    try {
        Server const server;
        std::vector<std::string> words(argv + 1, argv + argc);
        for (auto& word : words)
            if (auto const at = word.find("@URL@"); at != std::string::npos)
                word.replace(at, 5, server.url());
        ChildProcess command;
        command.start(std::move(words), SIGKILL, [] {});
        return command.wait();
    } catch (std::exception const& error) {
        std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
        return 1;
    }
}

}  // namespace interlock_test

#endif  // INTERLOCK_TESTS_SUPPORT_WITH_SERVER_HPP
