// SPDX-License-Identifier: BSL-1.0

// A name of several addresses, on the asynchronous connection: one that takes connections and answers nobody
// hides the others for one attempt only.

#include <interlock/backends/redis/detail/connector.hpp>
#include <interlock/backends/redis/detail/wire.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>

#include "support/catch.hpp"
#include "support/redis_server.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace redis_connector_test {

namespace asio = boost::asio;
using namespace interlock;
using namespace std::chrono_literals;
using interlock::detail::AsyncEndpoint;
using Error = boost::system::error_code;

/// A name that has these addresses.
struct Name {
    template <class F>
    void resolve(std::string const&, std::uint16_t, F done)
    {
        asio::post(*io, [this, done = std::move(done)]() mutable { done(Error{}, addresses); });
    }
    void cancel() {}
    asio::io_context* io{nullptr};
    std::vector<AsyncEndpoint> addresses{};
};

struct NamedWire : redis::detail::Wire {
    using Wire::Wire;
    Name resolver{};
};

/// Makes one attempt after the other, as the pipeline does.
struct Attempts : std::enable_shared_from_this<Attempts> {
    struct Transfer {
        void operator()(Error error, std::size_t size) { then(std::move(self), error, size); }
        std::shared_ptr<Attempts> self;
        void (*then)(std::shared_ptr<Attempts>, Error, std::size_t);
    };

    NamedWire& wire() { return wire_; }
    redis::Options const& options() const { return options_; }
    redis::detail::Life* life() const { return nullptr; }
    bool connecting() const { return !ended_; }
    redis::detail::Connector<Attempts>& connector() { return connector_; }
    void connected() { ended_ = success(); }
    void connect_failed(Failure failure) { ended_ = std::move(failure); }

    /// One attempt, which is stopped when it has taken too long.
    Outcome<void> attempt()
    {
        ended_.reset();
        connector_.start(shared_from_this());
        for (auto const until = std::chrono::steady_clock::now() + 300ms;
             !ended_ && std::chrono::steady_clock::now() < until;)
            io.run_one_for(20ms);
        if (!ended_)
            connector_.stop();
        while (!ended_)
            io.run_one();
        io.restart();
        return *ended_;
    }

    asio::io_context io;

private:
    redis::Options options_{};
    NamedWire wire_{io.get_executor()};
    redis::detail::Connector<Attempts> connector_{*this};
    std::optional<Outcome<void>> ended_;
};

TEST_CASE(
    "an address that answers nobody hides the others of its name for one attempt", "[redis][connection]")
{
    using Tcp = asio::ip::tcp;
    interlock_test::RedisServer const redis{{"--port", "@PORT@"}};
    auto const attempts = std::make_shared<Attempts>();
    Tcp::acceptor const silent{attempts->io, {asio::ip::address_v4::loopback(), 0}};
    Tcp::endpoint const refusing{asio::ip::address_v4::loopback(), 1};
    Tcp::endpoint const server{asio::ip::address_v4::loopback(), redis.port()};
    attempts->wire().resolver.io = &attempts->io;
    auto& addresses = attempts->wire().resolver.addresses;

    SECTION("the first")
    {
        addresses = {silent.local_endpoint(), server};
        CHECK(attempts->attempt().errc() == Errc::unavailable);
        CHECK(attempts->attempt());
    }
    SECTION("behind one that refuses")
    {
        addresses = {refusing, silent.local_endpoint(), server};
        CHECK(attempts->attempt().errc() == Errc::unavailable);
        CHECK(attempts->attempt());
        CHECK(attempts->attempt());
    }
    SECTION("whatever order the name server gives them in")
    {
        addresses = {silent.local_endpoint(), server};
        CHECK(attempts->attempt().errc() == Errc::unavailable);
        addresses = {server, silent.local_endpoint()};
        CHECK(attempts->attempt());
    }
    SECTION("all of them are tried again")
    {
        addresses = {server, silent.local_endpoint()};
        CHECK(attempts->attempt());
        addresses = {silent.local_endpoint(), silent.local_endpoint()};
        for (int i = 0; i < 3; ++i)
            CHECK(attempts->attempt().errc() == Errc::unavailable);
        addresses = {server};
        CHECK(attempts->attempt());
    }
}

}  // namespace redis_connector_test
