// SPDX-License-Identifier: BSL-1.0

// The codec: any bytes in, replies or a clear refusal out.

#include <interlock/backends/redis/detail/commit_script.hpp>
#include <interlock/backends/redis/detail/event_scripts.hpp>
#include <interlock/backends/redis/detail/hiredis.hpp>
#include <interlock/backends/redis/detail/scripts.hpp>

#include "support/catch.hpp"
#include "support/redis_server.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace redis_hiredis_test {

using namespace interlock::redis::detail;
using interlock::redis::Reply;
using interlock::redis::ReplyType;
using interlock::redis::ReplyView;
using namespace std::string_view_literals;
using Status = ReplyReader::Status;

TEST_CASE("a command keeps every byte of its arguments", "[redis][codec]")
{
    CHECK(
        Command{"SET", std::string_view("a\0b", 3), std::string_view{}}.bytes() ==
        "*3\r\n$3\r\nSET\r\n$3\r\na\0b\r\n$0\r\n\r\n"sv);
}

TEST_CASE("a call of a script is the command of its words, alone and with others", "[redis][codec]")
{
    auto const& script = create_script();
    auto const call = [&](std::string_view counter, std::string_view lock, int ttl, std::string_view owner) {
        ScriptCall out{script, {.shared_keys = 1, .own_keys = 1, .shared_arguments = 2, .own_arguments = 1}};
        out.add(counter);
        out.add(lock);
        out.add(ttl);
        out.add("0");
        out.add_parts(std::array{owner, "+"sv});
        return out;
    };
    auto const a = call("c", "lock a", 300, "A");
    auto const b = call("c", std::string(200, 'b'), 300, "\r\n"sv);
    CHECK(a.text() == Command("EVALSHA", script.name, 2, "c", "lock a", 300, "0", "A+").bytes());
    CHECK(
        spell_out(a.text(), script.text) ==
        Command("EVAL", script.text, 2, "c", "lock a", 300, "0", "A+").bytes());
    REQUIRE(a.like(b));
    std::string both;
    ScriptCall::append(both, std::array{&a, &b}, [](auto* one) -> ScriptCall const& { return *one; });
    CHECK(
        both ==
        Command("EVALSHA", script.name, 3, "c", "lock a", std::string(200, 'b'), 300, "0", "A+", "\r\n+")
            .bytes());
    CHECK_FALSE(a.like(call("d", "lock a", 300, "A")));
    CHECK_FALSE(a.like(call("c", "lock a", 301, "A")));
    // Nothing shared behind the keys.
    ScriptCall removal{remove_script(), {.shared_keys = 1, .own_keys = 1, .own_arguments = 1}};
    for (auto const word : {"c"sv, "lock"sv, "owner"sv})
        removal.add(word);
    CHECK(removal.text() == Command("EVALSHA", remove_script().name, 2, "c", "lock", "owner").bytes());
    CHECK_FALSE(removal.like(a));
    CHECK(removal.size() <= removal.text().size());
    CHECK(removal.text().size() <= removal.size() + ScriptCall::room_for_head);
}

TEST_CASE("a reply is read whole, however its bytes were cut", "[redis][codec]")
{
    auto const wire = "*5\r\n:-7\r\n*3\r\n$1\r\na\r\n*1\r\n:3\r\n$-1\r\n$3\r\nz\0z\r\n+OK\r\n-ERR no\r\n"sv;
    for (std::size_t cut = 1; cut <= wire.size(); ++cut) {
        CAPTURE(cut);
        ReplyReader reader;
        Reply reply;
        for (std::size_t at = 0; at < wire.size(); at += cut) {
            CHECK(reader.next(reply) == Status::more);
            reader.feed(wire.substr(at, cut));
        }
        REQUIRE(reader.next(reply) == Status::ready);
        auto const root = reply.root();
        CHECK(root.size() == 5);
        CHECK(root[0].integer() == -7);
        CHECK(root[1].size() == 3);
        CHECK(root[1][0].text() == "a");
        CHECK(root[1][1][0].integer() == 3);
        CHECK(root[1][2].is(ReplyType::nil));
        CHECK(root[2].text() == std::string_view("z\0z", 3));
        CHECK(root[3].is(ReplyType::status));
        CHECK(root[4].is(ReplyType::error));
        CHECK(root[4].text() == "ERR no");
        CHECK(root[5].is(ReplyType::nil));
        CHECK(root[0][0].is(ReplyType::nil));
        CHECK(reader.empty());
    }
}

TEST_CASE("replies that arrive together are read one by one", "[redis][codec]")
{
    ReplyReader reader;
    Reply reply;
    reader.feed(":1\r\n:2\r\n$2\r\nhi");
    REQUIRE(reader.next(reply) == Status::ready);
    CHECK(reply.root().integer() == 1);
    CHECK_FALSE(reader.empty());
    REQUIRE(reader.next(reply) == Status::ready);
    CHECK(reply.root().integer() == 2);
    CHECK(reader.next(reply) == Status::more);
    CHECK_FALSE(reader.empty());
    reader.feed("\r\n");
    REQUIRE(reader.next(reply) == Status::ready);
    CHECK(reply.root().text() == "hi");
    CHECK(reader.empty());
}

TEST_CASE(
    "bytes that are no reply, or that announce too many elements, are refused for good", "[redis][codec]")
{
    std::string nested;
    for (int i = 0; i < 10'000; ++i)
        nested += "*1\r\n";
    for (std::string const& wire :
         {std::string("HTTP/1.1 200 OK\r\n"), std::string("*1000000000\r\n"), std::string("*-2\r\n"),
          std::string("$-2\r\n"), std::string(":x\r\n"), nested}) {
        CAPTURE(wire.substr(0, 20));
        ReplyReader reader;
        Reply reply;
        reader.feed(wire);
        CHECK(reader.next(reply) == Status::broken);
        reader.feed(":1\r\n");
        CHECK(reader.next(reply) == Status::broken);
    }
    ReplyLimits const small{.bytes = 1000, .elements = 10};
    {
        ReplyReader reader{small};
        Reply reply;
        reader.feed("*11\r\n");
        CHECK(reader.next(reply) == Status::broken);
        CHECK(reader.too_large());
    }
}

TEST_CASE(
    "a reply of too many bytes is read to its end and dropped, and the next one is whole", "[redis][codec]")
{
    std::string const many(1001, 'x');
    std::string const bulk = "$1001\r\n" + many + "\r\n";
    std::string const part = "$600\r\n" + many.substr(0, 600) + "\r\n";
    std::mt19937_64 random{20261128};
    for (auto const& large :
         {bulk, part + part, "*2\r\n" + part + part, "*3\r\n:1\r\n" + bulk + "+OK\r\n",
          "*2\r\n*2\r\n" + part + bulk + "$-1\r\n", "*4\r\n" + bulk + "*0\r\n*-1\r\n-ERR " + many + "\r\n",
          "*2\r\n" + bulk + bulk, "+" + many + "\r\n"}) {
        for (int round = 0; round < 50; ++round) {
            std::string const wire = ":1\r\n" + large + "*2\r\n$2\r\nab\r\n:7\r\n" + large + ":2\r\n";
            ReplyReader reader{{.bytes = 1000, .elements = 10}};
            Reply reply;
            std::string seen;
            for (std::string_view rest = wire; !rest.empty();) {
                auto const size =
                    std::min<std::size_t>(rest.size(), 1 + random() % (round % 2 == 0 ? 3000 : 50));
                reader.feed(rest.substr(0, size));
                rest.remove_prefix(size);
                for (auto status = reader.next(reply); status != Status::more; status = reader.next(reply)) {
                    REQUIRE(status != Status::broken);
                    seen += status == Status::large ? "large "
                            : reply.root().is(ReplyType::array)
                                ? std::string(reply.root()[0].text()) + "," +
                                      std::to_string(reply.root()[1].integer()) + " "
                                : std::to_string(reply.root().integer()) + " ";
                }
            }
            CAPTURE(large.substr(0, 20), round);
            auto const expected = large == part + part ? "1 0 0 ab,7 0 0 2 " : "1 large ab,7 large 2 ";
            CHECK(seen == expected);
            CHECK(reader.empty());
        }
    }
    // One without an end takes no memory.
    ReplyReader reader{{.bytes = 1000, .elements = 10}};
    Reply reply;
    reader.feed("$900000000\r\n");
    for (int i = 0; i < 1000; ++i) {
        CHECK(reader.next(reply) == Status::more);
        reader.feed(many);
    }
}

/// Walks all of a reply, as a careless reader would.
std::size_t walk(ReplyView reply, int depth = 0)
{
    std::size_t seen = reply.text().size() + static_cast<std::size_t>(reply.integer() & 1);
    if (depth < 64)
        for (std::size_t i = 0; i < reply.size() + 2; ++i)  // and beyond its end
            seen += i < reply.size() ? walk(reply[i], depth + 1) : reply[i].text().size();
    return seen;
}

TEST_CASE("any bytes at all make replies, wait for more, or are refused", "[redis][codec]")
{
    std::vector<std::string> const seeds{
        "+OK\r\n",
        "-ERR no\r\n",
        ":42\r\n",
        "$5\r\nhello\r\n",
        "$-1\r\n",
        "*-1\r\n",
        "*0\r\n",
        "*3\r\n:1\r\n$2\r\nab\r\n*2\r\n+x\r\n-y\r\n",
        "*2\r\n*1\r\n*1\r\n:7\r\n$0\r\n\r\n"};
    std::mt19937_64 random{20261121};
    std::size_t replies = 0;
    std::size_t refused = 0;
    for (int round = 0; round < 40'000; ++round) {
        std::string wire;
        for (auto parts = random() % 4 + 1; parts > 0; --parts)
            wire += seeds[random() % seeds.size()];
        for (auto changes = random() % 4; changes > 0; --changes) {
            auto const at = random() % wire.size();
            switch (random() % 4) {
            case 0: wire[at] = static_cast<char>(random()); break;
            case 1: wire.erase(at, 1 + random() % 3); break;
            case 2: wire.insert(at, 1, "0123456789-*$:+\r\n"[random() % 17]); break;
            default: wire[at] = "9-*$"[random() % 4]; break;
            }
            if (wire.empty())
                break;
        }
        ReplyReader reader{{.bytes = 4096, .elements = 64}};
        Reply reply;
        for (std::string_view rest = wire; !rest.empty();) {
            auto const size = std::min<std::size_t>(rest.size(), 1 + random() % 9);
            reader.feed(rest.substr(0, size));
            rest.remove_prefix(size);
            Status status;
            while ((status = reader.next(reply)) == Status::ready || status == Status::large) {
                ++replies;
                walk(reply.root());
            }
            if (status == Status::broken) {
                ++refused;
                break;
            }
        }
    }
    CHECK(replies > 10'000);
    CHECK(refused > 5'000);
}

TEST_CASE("a script has the name that the server gives it", "[redis][codec]")
{
    auto const& server = interlock_test::redis_server();
    for (auto const* script :
         {&create_script(), &renew_script(), &remove_script(), &commit_script(), &forbid_script(),
          &claim_script(), &complete_script(), &give_back_script(), &commit_events_script(),
          &read_events_script(), &read_stream_script(), &commit_each_event_script(), &append_events_script(),
          &append_each_event_script(), &trim_script()})
        CHECK(server.command({"SCRIPT", "LOAD", script->text}) == script->name);
    CHECK(server.command({"SCRIPT", "LOAD", "return 1"}) == sha1("return 1"));
    CHECK(sha1("") == "da39a3ee5e6b4b0d3255bfef95601890afd80709");
}

}  // namespace redis_hiredis_test
