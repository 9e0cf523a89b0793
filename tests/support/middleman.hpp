// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_MIDDLEMAN_HPP
#define INTERLOCK_TESTS_SUPPORT_MIDDLEMAN_HPP

/// @file
/// Somebody between a client and its server on 127.0.0.1, who listens, cuts, or is the server himself.

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

namespace interlock_test {

/// **Thread safety.** Everything: safe.
class Middleman {
    using Socket = boost::asio::ip::tcp::socket;

public:
    /// Passes on to this port of 127.0.0.1.
    explicit Middleman(std::uint16_t server) : server_(server) { start(); }
    /// Has no server: answers whatever comes with these words, or with silence.
    explicit Middleman(std::string words) : words_(std::move(words)) { start(); }
    Middleman(Middleman const&) = delete;
    Middleman& operator=(Middleman const&) = delete;
    ~Middleman()
    {
        context_.stop();
        thread_.join();
    }

    std::uint16_t port() const { return port_; }
    /// Of the next that the server says, so many bytes are passed on; then both sides are closed, without a
    /// farewell.
    void cut_next_reply(std::ptrdiff_t after) { cut_ = after; }
    /// One bit of the next that the server says is another.
    void damage_next_reply() { damage_ = true; }
    std::string heard() const
    {
        std::lock_guard const lock(mutex_);
        return heard_;
    }

private:
    template <class T>
    using Awaitable = boost::asio::awaitable<T>;

    void start()
    {
        port_ = acceptor_.local_endpoint().port();
        boost::asio::co_spawn(context_, accept(), boost::asio::detached);
        thread_ = std::thread([this] { context_.run(); });
    }

    Awaitable<void> accept()
    {
        for (;;) {
            auto client =
                std::make_shared<Socket>(co_await acceptor_.async_accept(boost::asio::use_awaitable));
            auto server = std::make_shared<Socket>(context_);
            if (server_ != 0) {
                boost::system::error_code error;
                co_await server->async_connect(
                    {boost::asio::ip::address_v4::loopback(), server_},
                    boost::asio::redirect_error(boost::asio::use_awaitable, error));
                boost::asio::co_spawn(context_, pass(server, client, true), boost::asio::detached);
            }
            boost::asio::co_spawn(context_, pass(client, server, false), boost::asio::detached);
        }
    }

    Awaitable<void> pass(std::shared_ptr<Socket> from, std::shared_ptr<Socket> to, bool from_server)
    {
        std::array<char, 4096> bytes{};
        for (;;) {
            boost::system::error_code error;
            auto token = boost::asio::redirect_error(boost::asio::use_awaitable, error);
            auto size = co_await from->async_read_some(boost::asio::buffer(bytes), token);
            bool cut = static_cast<bool>(error);
            if (!error && !from_server) {
                std::lock_guard const lock(mutex_);
                heard_.append(bytes.data(), size);
            }
            if (!error && from_server && cut_ >= 0) {
                cut = true;
                size = std::min(size, static_cast<std::size_t>(cut_.exchange(-1)));
            }
            if (!error && from_server && damage_.exchange(false))
                bytes[size - 1] = static_cast<char>(bytes[size - 1] ^ 1);
            auto out = boost::asio::buffer(bytes.data(), size);
            if (!error && server_ == 0)
                co_await boost::asio::async_write(*from, boost::asio::buffer(words_), token);
            else if (size > 0)
                co_await boost::asio::async_write(*to, out, token);
            if (!cut && !error)
                continue;
            boost::system::error_code ignored;
            from->close(ignored);
            to->close(ignored);
            co_return;
        }
    }

    std::uint16_t server_{0};
    std::string words_;
    boost::asio::io_context context_;
    boost::asio::ip::tcp::acceptor acceptor_{context_, {boost::asio::ip::address_v4::loopback(), 0}};
    std::uint16_t port_{0};
    std::atomic<std::ptrdiff_t> cut_{-1};
    std::atomic<bool> damage_{false};
    mutable std::mutex mutex_;
    std::string heard_;
    std::thread thread_;
};

}  // namespace interlock_test

#endif  // INTERLOCK_TESTS_SUPPORT_MIDDLEMAN_HPP
