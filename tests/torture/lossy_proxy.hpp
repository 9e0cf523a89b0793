// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_TORTURE_LOSSY_PROXY_HPP
#define INTERLOCK_TESTS_TORTURE_LOSSY_PROXY_HPP

/// @file
/// Between the clients and their server: a TCP port of this machine before a unix socket, which loses bytes
/// when told to.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

namespace torture {

/// **Thread safety.** Everything: safe.
class LossyProxy {
public:
    /// What is lost of a connection; nothing passes any more afterwards.
    enum class Loss : unsigned char {
        request,      ///< at some byte of what the client sends; both see an end
        reply,        ///< at some byte of what the server sends; both see an end
        whole_reply,  ///< a request passes, its reply does not; both see an end
        silence,      ///< at some byte, in either direction; the client sees no end
    };
    static constexpr std::size_t losses = 4;
    static constexpr std::array<char const*, losses> loss_names{
        "cut within a request", "cut within a reply", "reply lost", "connection falls silent"};

    LossyProxy(std::string server, std::uint64_t seed)
        : server_(std::move(server)), random_(seed),
          listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))
    {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
            ::listen(listener_, 256) != 0 ||
            ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
            throw std::runtime_error("no port for the proxy");
        port_ = ntohs(address.sin_port);
        acceptor_ = std::thread([this] { accept_all(); });
    }
    LossyProxy(LossyProxy const&) = delete;
    LossyProxy& operator=(LossyProxy const&) = delete;
    ~LossyProxy()
    {
        stopping_ = true;
        acceptor_.join();
        end_all();
        std::unique_lock lock(mutex_);
        ended_.wait(lock, [&] { return links_.empty(); });
        ::close(listener_);
    }

    std::uint16_t port() const noexcept { return port_; }
    /// Of a thousand pieces that arrive, so many are where their connection loses something.
    void lose(int permille) noexcept { permille_ = permille; }
    /// Nothing arrives any more on any connection that is used meanwhile, until `false`; then those end.
    void swallow(bool all)
    {
        swallowing_ = all;
        if (!all)
            end_all([](Link const& link) { return link.silent; });
    }
    /// Who comes sees an end at once.
    void refuse(bool everybody) noexcept { refusing_ = everybody; }
    /// Ends all connections; how many there were.
    long end_all()
    {
        return end_all([](Link const&) { return true; });
    }
    /// Where those go who come from now on.
    void lead_to(std::string server)
    {
        std::lock_guard const lock(mutex_);
        server_ = std::move(server);
    }

    // ---- how often something happened, since the beginning ----

    long lost(std::size_t loss) const noexcept { return lost_[loss]; }
    long swallowed() const noexcept { return swallowed_; }
    long refused() const noexcept { return refused_; }
    /// Pieces that went to the server.
    long requests() const noexcept { return requests_; }
    /// Connections that the server ended.
    long ended_by_server() const noexcept { return ended_by_server_; }

private:
    struct Link {
        int client;
        int server;
        bool silent{false};
        bool reply_is_lost{false};
    };
    static constexpr std::size_t to_server = 0;

    void accept_all()
    {
        while (!stopping_) {
            pollfd waiting{listener_, POLLIN, 0};
            if (::poll(&waiting, 1, 20) <= 0)
                continue;
            int const client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            if (client < 0)
                continue;
            int const server = refusing_ ? -1 : connect();
            if (server < 0) {
                ++refused_;
                ::close(client);
                continue;
            }
            std::lock_guard const lock(mutex_);
            auto const number = next_++;
            links_.emplace(number, Link{client, server});
            std::thread([this, number, client, server] {
                pass(number, client, server);
                std::lock_guard const done(mutex_);
                ::close(client);
                ::close(server);
                links_.erase(number);
                ended_.notify_all();
            }).detach();
        }
    }

    int connect()
    {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        {
            std::lock_guard const lock(mutex_);
            std::strncpy(address.sun_path, server_.c_str(), sizeof address.sun_path - 1);
        }
        int const server = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (::connect(server, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0)
            return server;
        ::close(server);
        return -1;
    }

    template <class Which>
    long end_all(Which which)
    {
        std::lock_guard const lock(mutex_);
        long ended = 0;
        for (auto const& [number, link] : links_)
            if (which(link)) {
                ::shutdown(link.client, SHUT_RDWR);  // wakes the thread that passes
                ::shutdown(link.server, SHUT_RDWR);
                ++ended;
            }
        return ended;
    }

    /// What to do with a piece of so many bytes that came from `side`: how many of them pass, and what
    /// follows.
    enum class Next : unsigned char { go_on, end, drop };
    struct Decision {
        std::size_t pass;
        Next next;
    };
    Decision decide(std::uint64_t number, std::size_t side, std::size_t size)
    {
        std::lock_guard const lock(mutex_);
        auto& link = links_.at(number);
        if (swallowing_)
            link.silent = true;
        if (link.silent) {
            ++swallowed_;
            return {0, Next::drop};
        }
        if (link.reply_is_lost && side != to_server)
            return {0, Next::end};
        if (permille_ == 0 || random_() % 1000 >= static_cast<std::uint64_t>(permille_))
            return {size, Next::go_on};
        auto const part = random_() % size;
        switch (random_() % 3) {
        case 0: note(side == to_server ? Loss::request : Loss::reply); return {part, Next::end};
        case 1:
            if (side == to_server) {
                note(Loss::whole_reply);
                link.reply_is_lost = true;
                return {size, Next::go_on};
            }
            note(Loss::reply);
            return {part, Next::end};
        default:
            note(Loss::silence);
            link.silent = true;
            return {part, Next::drop};
        }
    }
    void note(Loss loss) noexcept { ++lost_[static_cast<std::size_t>(loss)]; }

    static bool send_all(int to, std::string_view bytes) noexcept
    {
        while (!bytes.empty()) {
            auto const sent = ::send(to, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent <= 0)
                return false;
            bytes.remove_prefix(static_cast<std::size_t>(sent));
        }
        return true;
    }

    void pass(std::uint64_t number, int client, int server)
    {
        std::array<char, 65536> buffer;
        std::array<int, 2> const ends{client, server};
        for (;;) {
            std::array<pollfd, 2> waiting{{{client, POLLIN, 0}, {server, POLLIN, 0}}};
            if (::poll(waiting.data(), 2, -1) <= 0)
                continue;
            for (std::size_t side = 0; side < 2; ++side) {
                if (waiting[side].revents == 0)
                    continue;
                auto const got = ::recv(ends[side], buffer.data(), buffer.size(), 0);
                if (got <= 0) {
                    if (side != to_server && !stopping_)
                        ++ended_by_server_;
                    return;
                }
                auto const size = static_cast<std::size_t>(got);
                auto const [part, next] = decide(number, side, size);
                if (side == to_server && part > 0)
                    ++requests_;
                if (part > 0 && !send_all(ends[1 - side], {buffer.data(), part}))
                    return;
                if (next == Next::end)
                    return;
            }
        }
    }

    std::mutex mutex_;
    std::condition_variable ended_;
    std::string server_;
    std::mt19937_64 random_;
    std::map<std::uint64_t, Link> links_;
    std::uint64_t next_{0};
    int listener_;
    std::uint16_t port_{0};
    std::atomic<bool> stopping_{false};
    std::atomic<bool> swallowing_{false};
    std::atomic<bool> refusing_{false};
    std::atomic<int> permille_{0};
    std::array<std::atomic<long>, losses> lost_{};
    std::atomic<long> swallowed_{0};
    std::atomic<long> refused_{0};
    std::atomic<long> requests_{0};
    std::atomic<long> ended_by_server_{0};
    std::thread acceptor_;
};

}  // namespace torture

#endif  // INTERLOCK_TESTS_TORTURE_LOSSY_PROXY_HPP
