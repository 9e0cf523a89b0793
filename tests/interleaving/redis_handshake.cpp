// SPDX-License-Identifier: BSL-1.0

// The first bytes of a Redis connection, in every order of events: TLS takes one round trip or two, fails, or
// is cut off; the server answers the greeting in pieces, refuses any part of it, says too much, or dies at
// any byte. No server and no socket: the machine that decides is given the events by hand, and a TLS session
// whose cipher can be told from plain text.
//
// An order of events is a path of choices, and every path is run anew from the beginning.

#include <interlock/backends/redis/detail/handshake.hpp>
#include <interlock/backends/redis/detail/hiredis.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {
namespace redis_handshake {

using interlock::Effect;
using interlock::Errc;
using interlock::Failure;
using interlock::HandshakeAction;
using interlock::HandshakeLoss;
using interlock::TlsSession;
using interlock::TlsStatus;
using interlock::redis::Options;
using interlock::redis::Reply;
using interlock::redis::detail::Handshake;
using interlock::redis::detail::Life;
using interlock::redis::detail::ReplyReader;

constexpr std::string_view password = "hunter2";
constexpr std::string_view untrusted = "redis: TLS: the certificate is not trusted";

std::string ciphered(std::string_view text)
{
    std::string out(text);
    for (auto& c : out)
        c = static_cast<char>(c ^ '\x80');
    return out;
}

/// Each of the server's flights is one byte: 'h' goes on with the handshake, 'x' is a certificate that nobody
/// trusts, 'q' ends the session. Cipher has the highest bit set.
class ScriptedTls final : public TlsSession {
public:
    explicit ScriptedTls(int flights) : flights_(flights) {}

    TlsStatus handshake() override
    {
        if (in_.empty() && begun_)
            return TlsStatus::more;
        out_ += 'c';
        if (!std::exchange(begun_, true))
            return TlsStatus::more;
        char const flight = in_[0];
        in_.erase(0, 1);
        if (flight == 'q')
            return TlsStatus::closed;
        if (flight != 'h') {
            failed_ = true;
            return TlsStatus::failed;
        }
        if (--flights_ > 0)
            return TlsStatus::more;
        ready = true;
        return TlsStatus::ok;
    }
    TlsStatus encrypt(std::string_view plain) override
    {
        out_ += ciphered(plain);
        return TlsStatus::ok;
    }
    TlsStatus decrypt(char* out, std::size_t size, std::size_t& got) override
    {
        if (in_.empty())
            return TlsStatus::more;
        if (in_[0] == 'q')
            return TlsStatus::closed;
        got = std::min<std::size_t>({size, in_.size(), 3});
        auto const plain = ciphered(std::string_view{in_}.substr(0, got));
        std::copy(plain.begin(), plain.end(), out);
        in_.erase(0, got);
        return TlsStatus::ok;
    }
    bool feed(std::string_view cipher) override
    {
        in_ += cipher;
        return true;
    }
    void drain(std::string& out) override { out += std::exchange(out_, {}); }
    bool empty() const noexcept override { return in_.empty(); }
    Failure failure() const override
    {
        return {Errc::misconfigured, failed_ ? std::string(untrusted) : std::string{}};
    }

    bool ready{false};

private:
    int flights_;
    bool begun_{false};
    bool failed_{false};
    std::string in_;
    std::string out_;
};

enum class Event : unsigned char {
    sent,
    broken,
    timed_out,
    flight,
    bad_flight,
    farewell,
    good_reply,
    half_reply,       // the rest comes next
    refused_reply,    // an error that is this command's own
    loading_reply,    // an error that concerns the server
    no_reply,         // bytes that are none
    all_replies,      // all that are due, in one piece
    all_and_another,  // likewise, and one that nobody asked for
};

struct Scope {
    char const* name;
    bool tls;
    int flights;
    bool user;
    int database;
    bool life;
};

class World {
public:
    explicit World(Scope const& scope)
    {
        options_.tls = scope.tls;
        options_.host = "example.org";
        options_.user = scope.user ? "me" : "";
        options_.password = scope.user ? password : "";
        options_.database = scope.database;
        if (scope.tls)
            tls_ = std::make_unique<ScriptedTls>(scope.flights);
        handshake_ =
            std::make_unique<Handshake>(options_, tls_.get(), reader_, reply_, scope.life ? &life_ : nullptr);
        take(handshake_->begin());
    }

    std::vector<Event> choices() const
    {
        switch (action_) {
        case HandshakeAction::send: return {Event::sent, Event::broken, Event::timed_out};
        case HandshakeAction::done:
        case HandshakeAction::failed: return {};
        case HandshakeAction::receive: break;
        }
        std::vector<Event> out{Event::broken, Event::timed_out};
        if (tls_ && !tls_->ready)
            out.insert(out.end(), {Event::flight, Event::bad_flight, Event::farewell});
        else if (!rest_.empty())
            out.push_back(Event::good_reply);
        else
            out.insert(
                out.end(), {Event::good_reply, Event::half_reply, Event::refused_reply, Event::loading_reply,
                            Event::no_reply, Event::all_replies, Event::all_and_another});
        if (tls_ && tls_->ready)
            out.push_back(Event::farewell);
        return out;
    }

    void happen(Event event)
    {
        switch (event) {
        case Event::sent: take(handshake_->sent()); break;
        case Event::broken: lose(HandshakeLoss::broken); break;
        case Event::timed_out: lose(HandshakeLoss::timed_out); break;
        case Event::flight: take(handshake_->received("h")); break;
        case Event::bad_flight: expect(Errc::misconfigured), take(handshake_->received("x")); break;
        case Event::farewell: expect(Errc::unavailable), take(handshake_->received("q")); break;
        case Event::half_reply: rest_ = "K\r\n", answer("+O"); break;
        case Event::good_reply:
            ++answered_;
            answer(rest_.empty() ? "+OK\r\n" : std::exchange(rest_, {}));
            break;
        case Event::refused_reply:
            if (commands_[answered_] == "AUTH" || commands_[answered_] == "SELECT")
                expect(Errc::misconfigured);
            ++answered_;
            answer("-ERR not you\r\n");
            break;
        case Event::loading_reply: expect(Errc::unavailable), answer("-LOADING wait\r\n"); break;
        case Event::no_reply: expect(Errc::unavailable), answer("?\r\n"); break;
        case Event::all_replies:
        case Event::all_and_another: {
            std::string bytes;
            for (; answered_ < commands_.size(); ++answered_)
                bytes += "+OK\r\n";
            if (event == Event::all_and_another)
                expect(Errc::unavailable), bytes += "+OK\r\n";
            answer(bytes);
            break;
        }
        }
    }

    HandshakeAction action() const noexcept { return action_; }
    char const* problem() const noexcept { return problem_; }

private:
    void claim(bool good, char const* what)
    {
        if (!good && problem_ == nullptr)
            problem_ = what;
    }
    void expect(Errc code) { expected_ = code; }
    void lose(HandshakeLoss loss)
    {
        if (expected_ == Errc::ok)
            expect(Errc::unavailable);
        take(handshake_->lost(loss, "cut"));
    }
    void answer(std::string_view bytes)
    {
        take(handshake_->received(tls_ ? ciphered(bytes) : std::string(bytes)));
    }

    void take(HandshakeAction action)
    {
        bool const was_sending = std::exchange(action_, action) == HandshakeAction::send;
        switch (action) {
        case HandshakeAction::send: look_at(handshake_->output()); break;
        case HandshakeAction::receive:
            if (was_sending)
                claim(
                    handshake_->output().find(password) == std::string_view::npos,
                    "a copy of the password stays behind");
            claim(greeted_ ? answered_ < commands_.size() : tls_ != nullptr, "waits for more than is due");
            break;
        case HandshakeAction::done:
            claim(expected_ == Errc::ok, "is ready although something went wrong");
            claim(!tls_ || tls_->ready, "is ready without TLS");
            claim(greeted_ || commands_due() == 0, "is ready without a greeting");
            claim(answered_ == commands_.size(), "is ready although replies are due");
            claim(rest_.empty(), "is ready in the middle of a reply");
            break;
        case HandshakeAction::failed: {
            auto const& failure = handshake_->failure();
            claim(failure.effect() == Effect::not_applied, "a command may have been sent");
            claim(failure.errc() == expected_, "the failure has another code");
            claim(!failure.detail().empty(), "a failure without a word");
            claim(failure.detail().find(password) == std::string_view::npos, "the password is in an error");
            break;
        }
        }
    }
    std::size_t commands_due() const
    {
        return (options_.password.empty() ? 0U : 1U) + (options_.database != 0 ? 1U : 0U) +
               (options_.client_name.empty() ? 0U : 1U);
    }

    /// What goes over the wire.
    void look_at(std::string_view bytes)
    {
        claim(!bytes.empty(), "sends nothing");
        bool const cipher = std::all_of(bytes.begin(), bytes.end(), [](char c) { return (c & '\x80') != 0; });
        if (tls_ && !tls_->ready)
            return claim(
                bytes.find_first_not_of('c') == std::string_view::npos,
                "something is sent before TLS is ready");
        if (tls_ && !cipher)  // the last bytes of the TLS handshake
            return claim(
                bytes.find_first_not_of('c') == std::string_view::npos, "something is sent in the clear");
        claim(!std::exchange(greeted_, true), "greets twice");
        auto const plain = tls_ ? ciphered(bytes) : std::string(bytes);
        for (std::string_view const name : {"AUTH", "SELECT", "CLIENT", "INFO", "PING"})
            if (plain.find("\r\n" + std::string(name) + "\r\n") != std::string::npos)
                commands_.push_back(name);
        claim(commands_.size() >= commands_due(), "the greeting is not whole");
    }

    Options options_;
    Life life_;
    std::unique_ptr<ScriptedTls> tls_;
    ReplyReader reader_;
    Reply reply_;
    std::unique_ptr<Handshake> handshake_;
    HandshakeAction action_{HandshakeAction::receive};
    std::vector<std::string_view> commands_;  // of the greeting
    std::size_t answered_{0};
    bool greeted_{false};
    std::string rest_;         // of a reply of which half has come
    Errc expected_{Errc::ok};  // how it is to fail
    char const* problem_{nullptr};
};

class Explorer {
public:
    explicit Explorer(Scope const& scope) : scope_(scope) {}

    void explore()
    {
        World world{scope_};
        for (auto const event : path_)
            world.happen(event);
        auto const choices = world.choices();
        if (world.problem() == nullptr && !choices.empty()) {
            if (path_.size() > 20)
                return note("has no end");
            for (auto const event : choices) {
                path_.push_back(event);
                explore();
                path_.pop_back();
            }
            return;
        }
        ++(world.action() == HandshakeAction::done ? done : failed);
        if (world.problem() != nullptr)
            note(world.problem());
    }

    std::uint64_t done{0};
    std::uint64_t failed{0};
    std::uint64_t problems{0};
    std::string first_problem;

private:
    void note(char const* problem)
    {
        if (problems++ != 0)
            return;
        first_problem = problem;
        for (auto const event : path_)
            first_problem += " " + std::to_string(static_cast<int>(event));
    }

    Scope const& scope_;
    std::vector<Event> path_;
};

TEST_CASE(
    "redis: a connection is ready only when TLS and every reply to the greeting say so", "[redis][handshake]")
{
    for (auto const& scope : {
             Scope{"in the clear, nobody in particular", false, 0, false, 0, false},
             Scope{"in the clear, with a login", false, 0, true, 0, false},
             Scope{"in the clear, with a login, a database and a life", false, 0, true, 3, true},
             Scope{"through TLS in one round trip", true, 1, false, 0, false},
             Scope{"through TLS in two round trips, with a login and a database", true, 2, true, 3, false},
         }) {
        Explorer explorer{scope};
        explorer.explore();
        INFO(scope.name << ": " << explorer.done << " ready, " << explorer.failed << " failed");
        INFO(explorer.first_problem);
        CHECK(explorer.problems == 0);
        CHECK(explorer.done > 1);
        CHECK(explorer.failed > explorer.done);
    }
}

}  // namespace redis_handshake
}  // namespace
