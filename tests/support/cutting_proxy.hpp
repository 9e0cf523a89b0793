// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_CUTTING_PROXY_HPP
#define INTERLOCK_TESTS_SUPPORT_CUTTING_PROXY_HPP

/// @file
/// A TCP proxy before a server of this machine that loses replies, or requests, when told to.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace interlock_test {

/// **Thread safety.** Everything: safe.
class CuttingProxy {
public:
    /// What happens to the connection whose client sends `trigger`.
    enum class Cut : unsigned char {
        nothing,
        request,  ///< it never reaches the server: both sides see an end
        /// It reaches the server; its answer reaches nobody, and both sides see an end once it came.
        reply,
        silence,  ///< it reaches the server; the client hears nothing any more, and no end
    };

    explicit CuttingProxy(std::uint16_t server)
        : server_(server), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))
    {
        auto address = loopback(0);
        socklen_t size = sizeof address;
        if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
            ::listen(listener_, 64) != 0 ||
            ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
            throw std::runtime_error("no port for the proxy");
        port_ = ntohs(address.sin_port);
        threads_.emplace_back([this] { accept_all(); });
    }
    CuttingProxy(CuttingProxy const&) = delete;
    CuttingProxy& operator=(CuttingProxy const&) = delete;
    ~CuttingProxy()
    {
        stopping_ = true;
        for (;;) {
            std::vector<std::thread> ending;
            {
                std::lock_guard lock(mutex_);
                ending.swap(threads_);
            }
            if (ending.empty())
                break;
            for (auto& thread : ending)
                thread.join();
        }
        ::close(listener_);
    }

    std::uint16_t port() const noexcept { return port_; }

    /// Cuts the next connection whose client sends `trigger`: once, or `each` one from now on.
    void cut(Cut cut, std::string trigger, bool each = false)
    {
        std::lock_guard lock(mutex_);
        cut_ = cut;
        each_ = each;
        trigger_ = std::move(trigger);
    }
    /// Nobody is let through any more; who comes sees an end at once.
    void close_the_door(bool closed) noexcept { closed_ = closed; }
    int cuts() const noexcept { return cuts_; }
    /// How many clients have come, those before a closed door included.
    int arrivals() const noexcept { return arrivals_; }

private:
    static sockaddr_in loopback(std::uint16_t port) noexcept
    {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address.sin_port = htons(port);
        return address;
    }

    void accept_all()
    {
        while (!stopping_) {
            pollfd waiting{listener_, POLLIN, 0};
            if (::poll(&waiting, 1, 5) <= 0)
                continue;
            int const client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            if (client < 0)
                continue;
            ++arrivals_;
            int const server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            auto const address = loopback(server_);
            if (closed_ ||
                ::connect(server, reinterpret_cast<sockaddr const*>(&address), sizeof address) != 0) {
                ::close(client);
                ::close(server);
                continue;
            }
            std::lock_guard lock(mutex_);
            threads_.emplace_back([this, client, server] {
                pass(client, server);
                ::close(client);
                ::close(server);
            });
        }
    }

    /// What is to be done with what the client has just sent.
    Cut decide(std::string_view sent)
    {
        std::lock_guard lock(mutex_);
        if (cut_ == Cut::nothing || sent.find(trigger_) == std::string_view::npos)
            return Cut::nothing;
        ++cuts_;
        return each_ ? cut_ : std::exchange(cut_, Cut::nothing);
    }

    static bool send_all(int to, char const* data, std::size_t size) noexcept
    {
        while (size > 0) {
            auto const sent = ::send(to, data, size, MSG_NOSIGNAL);
            if (sent <= 0)
                return false;
            data += sent;
            size -= static_cast<std::size_t>(sent);
        }
        return true;
    }

    void pass(int client, int server)
    {
        std::array<char, 65536> buffer;
        auto now = Cut::nothing;
        while (!stopping_) {
            std::array<pollfd, 2> waiting{{{client, POLLIN, 0}, {server, POLLIN, 0}}};
            if (::poll(waiting.data(), 2, 5) <= 0)
                continue;
            if (waiting[0].revents != 0) {
                auto const got = ::recv(client, buffer.data(), buffer.size(), 0);
                if (got <= 0)
                    return;
                auto const size = static_cast<std::size_t>(got);
                if (now == Cut::nothing)
                    now = decide({buffer.data(), size});
                if (now == Cut::request)
                    return;
                if (!send_all(server, buffer.data(), size))
                    return;
            }
            if (waiting[1].revents != 0) {
                auto const got = ::recv(server, buffer.data(), buffer.size(), 0);
                if (now == Cut::reply)
                    return;
                if (got <= 0)
                    return;
                if (now != Cut::silence && !send_all(client, buffer.data(), static_cast<std::size_t>(got)))
                    return;
            }
        }
    }

    std::uint16_t server_;
    int listener_;
    std::uint16_t port_{0};
    std::atomic<bool> stopping_{false};
    std::atomic<bool> closed_{false};
    std::atomic<int> cuts_{0};
    std::atomic<int> arrivals_{0};
    std::mutex mutex_;
    Cut cut_{Cut::nothing};
    std::string trigger_;
    bool each_{false};
    std::vector<std::thread> threads_;
};

}  // namespace interlock_test

#endif  // INTERLOCK_TESTS_SUPPORT_CUTTING_PROXY_HPP
