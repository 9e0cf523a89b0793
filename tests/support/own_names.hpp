// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_OWN_NAMES_HPP
#define INTERLOCK_TESTS_SUPPORT_OWN_NAMES_HPP

/// @file
/// A thread for which machines have other names than for the rest of the process, and whose name server hears
/// every question and answers none.

#include "catch.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <utility>

namespace interlock_test {

/// A name server that never answers.
class SilentNameServer {
public:
    static constexpr char const* address = "127.0.0.53";

    SilentNameServer()
    {
        sockaddr_in local{};
        local.sin_family = AF_INET;
        local.sin_port = ::htons(53);
        ::inet_pton(AF_INET, address, &local.sin_addr);
        good_ = socket_ >= 0 && ::bind(socket_, reinterpret_cast<sockaddr*>(&local), sizeof local) == 0;
    }
    SilentNameServer(SilentNameServer const&) = delete;
    SilentNameServer& operator=(SilentNameServer const&) = delete;
    ~SilentNameServer() { ::close(socket_); }
    bool good() const noexcept { return good_; }

private:
    int socket_{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    bool good_{false};
};

/// Calls `work` on a thread, and on threads that this one starts, that find in `hosts`, lines as those of
/// /etc/hosts, what names lead to, and ask a `SilentNameServer` about any other. False, with a warning: this
/// process may not have such a thread.
template <class F>
bool with_own_names(std::string const& hosts, F work)
{
    SilentNameServer const server;
    std::string pattern = (std::filesystem::temp_directory_path() / "interlock-names-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    std::ofstream{pattern + "/hosts"} << hosts;
    std::ofstream{pattern + "/resolv.conf"} << "nameserver " << SilentNameServer::address << '\n';
    auto const replace = [&](std::string const& name) {
        return ::mount((pattern + "/" + name).c_str(), ("/etc/" + name).c_str(), nullptr, MS_BIND, nullptr) ==
               0;
    };
    bool able = false;
    std::thread([&] {
        able = server.good() && ::unshare(CLONE_FS | CLONE_NEWNS) == 0 &&
               ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 && replace("hosts") &&
               replace("resolv.conf");
        if (able)
            std::move(work)();
    }).join();
    std::filesystem::remove_all(pattern);
    if (!able)
        WARN("not tested: no right to change the names of machines");
    return able;
}

}  // namespace interlock_test

#endif  // INTERLOCK_TESTS_SUPPORT_OWN_NAMES_HPP
