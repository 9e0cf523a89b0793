// SPDX-License-Identifier: BSL-1.0

// Events as CloudEvents and back. What is written is read by Boost.JSON, which is not ours; it is compiled
// into this file.

#include <interlock/patterns/cloud_events.hpp>

#include <boost/describe/class.hpp>
#include <boost/json/src.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace cloud_events_test {

using namespace interlock;
using Catch::Matchers::ContainsSubstring;
namespace json = boost::json;

enum class Colour : std::uint8_t { red, green };
struct Line {
    std::string sku;
    double price{0};
    friend bool operator==(Line const&, Line const&) = default;
};
BOOST_DESCRIBE_STRUCT(Line, (), (sku, price))

struct Ordered {
    std::int64_t number{0};
    std::uint64_t large{0};
    bool gift{false};
    Colour colour{Colour::red};
    std::optional<std::string> note;
    std::optional<int> empty;
    std::vector<Line> lines;
    std::vector<bool> flags;
    std::tuple<std::int8_t, float> range;
    std::string text;
    static constexpr EventType event{"order.placed", 2};
    friend bool operator==(Ordered const&, Ordered const&) = default;
};
BOOST_DESCRIBE_STRUCT(Ordered, (), (number, large, gift, colour, note, empty, lines, flags, range, text))

struct Sold {
    std::string sku;
    int quantity{7};
    static constexpr EventType event{"stock.sold", 1};
};
BOOST_DESCRIBE_STRUCT(Sold, (), (sku, quantity))

using Facts = Contract<Sold, Ordered>;

template <Fact F>
Event stored(F const& fact)
{
    auto const made = new_event(fact, Cause{"conversation", "request", "00-4bf92f3577b34da6-00f067aa-01"});
    Event event;
    event.id = "e-1";
    event.stream = Key{"sku \"1\""};
    event.number = 42;
    event.type = made.type;
    event.version = made.version;
    event.data = made.data;
    event.because = made.because;
    using namespace std::chrono;
    event.recorded_at = sys_days{2026y / November / 29} + 7h + 8min + 9s + 12345us;
    return event;
}

Ordered const order{
    -5,
    std::numeric_limits<std::uint64_t>::max(),
    true,
    Colour::green,
    "a \"note\"\n\t\x01\x7f \\ / \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80",
    std::nullopt,
    {{"x", 0.1}, {"", -1e300}},
    {true, false},
    {std::int8_t{-7}, 0.25F},
    std::string("nul \0 in between", 16)};

TEST_CASE("an envelope has what CloudEvents 1.0 asks for", "[patterns][cloud_events]")
{
    auto const read = json::parse(to_cloud_event<Facts>(stored(order), "https://shop/stock").value());
    auto const& cloud = read.as_object();
    auto const text = [&](char const* name) { return std::string(cloud.at(name).as_string()); };
    CHECK(text("specversion") == "1.0");
    CHECK(text("id") == "e-1");
    CHECK(text("source") == "https://shop/stock");
    CHECK(text("type") == "order.placed");
    CHECK(text("subject") == "sku \"1\"");
    CHECK(text("partitionkey") == "sku \"1\"");
    CHECK(text("time") == "2026-11-29T07:08:09.012345Z");
    CHECK(text("datacontenttype") == "application/json");
    CHECK(cloud.at("eventversion").as_int64() == 2);
    CHECK(text("sequence") == "0000000000000000042");
    CHECK(text("correlationid") == "conversation");
    CHECK(text("causationid") == "request");
    CHECK(text("traceparent") == "00-4bf92f3577b34da6-00f067aa-01");
    CHECK_FALSE(cloud.contains("data_base64"));
    // The names of attributes are lower-case letters and digits.
    for (auto const& [name, value] : cloud)
        CHECK(
            (name == "data" ||
             name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789") == json::string_view::npos));
    auto const& data = cloud.at("data").as_object();
    CHECK(data.at("number").as_int64() == -5);
    CHECK(data.at("large").as_uint64() == order.large);
    CHECK(data.at("gift").as_bool());
    CHECK(data.at("colour").as_int64() == 1);
    CHECK(std::string(data.at("note").as_string()) == *order.note);
    CHECK(data.at("empty").is_null());
    CHECK(data.at("lines").at(0).at("price").as_double() == 0.1);
    CHECK(data.at("lines").at(1).at("price").as_double() == -1e300);
    CHECK(data.at("flags").at(0).as_bool());
    CHECK(data.at("range").at(0).as_int64() == -7);
    CHECK(std::string(data.at("text").as_string()) == order.text);
}

TEST_CASE("what was sent is what is received", "[patterns][cloud_events]")
{
    for (bool known : {true, false}) {
        auto const event = stored(order);
        auto const sent =
            known ? to_cloud_event<Facts>(event, "s").value() : to_cloud_event(event, "s").value();
        CHECK(json::parse(sent).as_object().contains("data_base64") != known);
        auto const received = from_cloud_event<Facts>(sent).value();
        CHECK(received.source == "s");
        CHECK(received.event.id == event.id);
        CHECK(received.event.stream == event.stream);
        CHECK(received.event.number == 42);
        CHECK(received.event.type == event.type);
        CHECK(received.event.version == 2);
        CHECK(received.event.because == event.because);
        CHECK(received.event.recorded_at == event.recorded_at);
        CHECK(received.event.as<Ordered>().value() == order);
    }
}

TEST_CASE("what is no text, and no number, is sent as bytes", "[patterns][cloud_events]")
{
    auto const bytes_of = [](Event const& event) {
        auto const read = json::parse(to_cloud_event<Facts>(event, "s").value());
        CHECK(read.at("datacontenttype").as_string() == "application/octet-stream");
        CHECK(from_cloud_event<Facts>(json::serialize(read)).value().event.data == event.data);
        return std::string(read.at("data_base64").as_string());
    };
    for (auto const* text :
         {"\xff", "\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe0\x80\x80", "\x80"})
        CHECK_FALSE(bytes_of(stored(Sold{text, 1})).empty());
    auto endless = order;
    endless.lines[0].price = std::numeric_limits<double>::infinity();
    CHECK_FALSE(bytes_of(stored(endless)).empty());
    auto damaged = stored(Sold{"x", 1});
    damaged.data = "Man";
    CHECK(bytes_of(damaged) == "TWFu");
    damaged.data = "Ma";
    CHECK(bytes_of(damaged) == "TWE=");
    damaged.data = std::string("\xff\xfe\xfd\0", 4);
    CHECK(bytes_of(damaged) == "//79AA==");
    damaged.data.clear();
    CHECK(bytes_of(damaged).empty());
    // A stream whose key is no text.
    auto binary = stored(Sold{"x", 1});
    binary.stream = Key{std::string("k\0\xff", 3)};
    auto const sent = to_cloud_event<Facts>(binary, "s").value();
    CHECK_FALSE(json::parse(sent).as_object().contains("subject"));
    CHECK(json::parse(sent).as_object().at("partitionkey").as_string() == "awD/");
    CHECK(from_cloud_event<Facts>(sent).value().event.stream == binary.stream);
}

TEST_CASE("what an envelope cannot hold is refused when it is sent", "[patterns][cloud_events]")
{
    auto const refused = [](Event const& event, std::string_view source, char const* what) {
        auto const outcome = to_cloud_event<Facts>(event, source);
        return outcome.errc() == Errc::invalid_argument && outcome.detail().find(what) != std::string::npos;
    };
    auto const event = stored(Sold{"x", 1});
    CHECK(refused(event, "", "source"));
    CHECK(refused(event, "\xff", "source"));
    auto bad = event;
    bad.id = "a\nb";
    CHECK(refused(bad, "s", "id"));
    bad = event;
    bad.because.traceparent = std::string("\0", 1);
    CHECK(refused(bad, "s", "traceparent"));
    for (auto const* text : {"\xc2\x85", "\xc2\x9f", "\xef\xb7\x90", "\xef\xbf\xbf", "\xf0\x9f\xbf\xbe"}) {
        bad = event;
        bad.because.correlation = text;  // what CloudEvents does not allow in a text
        CHECK(refused(bad, "s", "correlationid"));
        bad = event;
        bad.stream = Key{std::string{text}};
        CHECK(from_cloud_event(to_cloud_event(bad, "s").value())->event.stream == bad.stream);
    }
    for (auto const* text :
         {"\xc2\xa0", "\xef\xbf\xbd", "\xef\xb7\x8f", "\xf0\x9f\xbf\xbd", "\xf0\x9f\x98\x80"}) {
        bad = event;
        bad.id = text;
        CHECK(from_cloud_event(to_cloud_event(bad, "s").value())->event.id == text);
    }
    bad = event;
    bad.version = 0;
    CHECK(refused(bad, "s", "version"));
}

TEST_CASE("a time that RFC 3339 has no form for is refused, and others come back", "[patterns][cloud_events]")
{
    using namespace std::chrono;
    using Time = sys_time<microseconds>;
    auto event = stored(Sold{"x", 1});
    for (Time const at :
         {Time::min(), Time::max(), Time{sys_days{10000y / January / 1}},
          Time{sys_days{0y / January / 1}} - 1us}) {
        event.recorded_at = at;
        CHECK_THAT(to_cloud_event(event, "s").detail(), ContainsSubstring("its time"));
    }
    for (Time const at :
         {Time{sys_days{0y / January / 1}}, Time{-1us}, Time{1us},
          Time{sys_days{10000y / January / 1}} - 1us}) {
        event.recorded_at = at;
        CHECK(from_cloud_event(to_cloud_event(event, "s").value())->event.recorded_at == at);
    }
}

TEST_CASE("what is not known is not sent", "[patterns][cloud_events]")
{
    auto event = stored(Sold{"x", 1});
    event.recorded_at = {};
    event.because = {};
    event.number = 0;
    event.stream = Key{};
    auto const read = json::parse(to_cloud_event<Facts>(event, "s").value()).as_object();
    for (auto const* name :
         {"time", "subject", "partitionkey", "sequence", "correlationid", "causationid", "traceparent"})
        CHECK_FALSE(read.contains(name));
}

TEST_CASE("an envelope of somebody else's is read", "[patterns][cloud_events]")
{
    auto const received = from_cloud_event<Facts>(R"( { "specversion" : "1.0", "id" : "A\u00e9\ud83d\ude00",
        "source" : "/mine", "type" : "stock.sold", "unknown" : [1, {"a": null}],
        "partitionkey" : "shelf",
        "time" : "2026-11-29T08:08:09.5+01:00",
        "data" : { "sku" : "x\/y\n", "more" : 1.5e3 } } )")
                              .value();
    CHECK(received.event.id == "A\xc3\xa9\xf0\x9f\x98\x80");
    CHECK(received.event.version == 1);
    CHECK(received.event.stream == Key{"shelf"});
    CHECK(received.event.as<Sold>().value().sku == "x/y\n");
    CHECK(received.event.as<Sold>().value().quantity == 7);
    using namespace std::chrono;
    CHECK(received.event.recorded_at == sys_days{2026y / November / 29} + 7h + 8min + 9s + 500ms);
    // Data that nobody knows stay as they are.
    auto const other = from_cloud_event<Facts>(
        R"({"specversion":"1.0","id":"a","source":"s","type":"other","data":{"a":[1,"\"b"],"c":true}})");
    CHECK(other.value().event.data == R"({"a":[1,"\"b"],"c":true})");
    CHECK(
        from_cloud_event(R"({"specversion":"1.0","id":"a","source":"s","type":"other","data":"text"})")
            .value()
            .event.data == "text");
    CHECK(from_cloud_event(R"({"specversion":"1.0","id":"a","source":"s","type":"other"})")
              .value()
              .event.data.empty());
}

TEST_CASE(
    "a sequence of somebody else's form, and attributes that are null, are passed over",
    "[patterns][cloud_events]")
{
    std::string const good = R"({"specversion":"1.0","id":"a","source":"s","type":"Shop.Order_Created")";
    for (auto const* sequence :
         {R"("2026-11-30T10:00:00Z")", R"("a")", R"("")", "null", "-5", R"("-5")", "1.5",
          R"("99999999999999999999")", "0"}) {
        auto const received = from_cloud_event(good + ",\"sequence\":" + sequence + "}");
        REQUIRE(received);
        CHECK(received->event.number == 0);
    }
    for (auto const* sequence : {"17", R"("17")", R"("0000000000000000017")"})
        CHECK(from_cloud_event(good + ",\"sequence\":" + sequence + "}")->event.number == 17);
    CHECK(from_cloud_event(good + R"(,"data":"text","data_base64":null})")->event.data == "text");
    CHECK(from_cloud_event(good + R"(,"data":null,"data_base64":"TWFu"})")->event.data == "Man");
    CHECK(
        from_cloud_event(good + R"(,"subject":null,"time":null,"eventversion":null,"data":null})")
            ->event.data == "null");
}

TEST_CASE("what is no envelope is refused in words", "[patterns][cloud_events]")
{
    auto const why = [](std::string const& text) {
        auto const outcome = from_cloud_event<Facts>(text);
        return outcome.errc() == Errc::invalid_argument ? std::string(outcome.detail()) : "accepted";
    };
    for (auto const* text :
         {"", "x", "[]", "{", "{}}", "{\"a\":1,}", "{\"a\":01}", "{\"a\":1.}", "{\"a\":+1}",
          "{\"a\":\"\\x\"}", "{\"a\":\"\\ud800\"}", "{\"a\":\"\n\"}", "{\"a\":1,\"a\":2}", "{\"a\":tru}",
          "{\"a\":\"\xff\"}", "{'a':1}", "{\"a\":\"\\u12g4\"}", "nul"})
        CHECK_THAT(why(text), ContainsSubstring("no JSON object"));
    CHECK_THAT(why(std::string(100'000, '[')), ContainsSubstring("no JSON object"));
    CHECK_THAT(why(std::string(5U << 20, ' ')), ContainsSubstring("bytes"));
    auto const with = [&](std::string const& attributes) { return why("{" + attributes + "}"); };
    CHECK_THAT(with(R"("id":"a","source":"s","type":"t")"), ContainsSubstring("specversion"));
    CHECK_THAT(
        with(R"("specversion":"0.3","id":"a","source":"s","type":"t")"), ContainsSubstring("specversion"));
    CHECK_THAT(with(R"("specversion":"1.0","source":"s","type":"t")"), ContainsSubstring("'id'"));
    CHECK_THAT(with(R"("specversion":"1.0","id":"","source":"s","type":"t")"), ContainsSubstring("'id'"));
    CHECK_THAT(with(R"("specversion":"1.0","id":["a"],"source":"s","type":"t")"), ContainsSubstring("'id'"));
    CHECK_THAT(with(R"("specversion":"1.0","id":"a","type":"t")"), ContainsSubstring("source"));
    CHECK_THAT(
        with(R"("specversion":"1.0","id":"a","source":"s","type":"has/slash")"), ContainsSubstring("type"));
    std::string const good = R"("specversion":"1.0","id":"a","source":"s","type":"stock.sold")";
    CHECK(with(good) == "accepted");
    for (auto const* time :
         {"", "2026", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-01T24:00:00Z",
          "2026-01-01T00:00:00", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00Zx"})
        CHECK((with(good + R"(,"time":")" + time + "\"") == "accepted") == std::string_view(time).empty());
    CHECK_THAT(with(good + R"(,"eventversion":0)"), ContainsSubstring("eventversion"));
    CHECK_THAT(with(good + R"(,"eventversion":3000000000)"), ContainsSubstring("eventversion"));
    CHECK_THAT(with(good + R"(,"data":{},"data_base64":"TWFu")"), ContainsSubstring("data_base64"));
    CHECK_THAT(with(good + R"(,"eventversion":"x")"), ContainsSubstring("eventversion"));
    for (auto const* data : {"TWE", "TW=E", "TWF=", "T===", "TWE=TWE=", "TW u", "-_-_"})
        CHECK_THAT(with(good + R"(,"data_base64":")" + data + "\""), ContainsSubstring("data_base64"));
    for (auto const* data :
         {"1", "[]", R"({"sku":1})", R"({"quantity":"1"})", R"({"quantity":1.5})",
          R"({"quantity":3000000000})"})
        CHECK_THAT(with(good + ",\"data\":" + data), ContainsSubstring("'data'"));
}

TEST_CASE("an integer that was perhaps rounded is refused in an envelope", "[patterns][cloud_events]")
{
    auto const read = [](std::string const& data, std::string const& type) {
        return from_cloud_event<Facts>(
            R"({"specversion":"1.0","id":"a","source":"s","eventversion":)" + type + R"(","data":)" + data +
            "}");
    };
    auto const sold = [&](std::string const& quantity) {
        auto const cloud = read("{\"quantity\":" + quantity + "}", R"(1,"type":"stock.sold)");
        return cloud ? std::to_string(cloud->event.as<Sold>()->quantity) : "none";
    };
    CHECK(sold("3") == "3");
    CHECK(sold("-3") == "-3");
    for (auto const* rounded : {"3.0", "3e0", "3E+0", "30e-1", "-0.0", "0.0"})
        CHECK(sold(rounded) == "none");
    // So are those of an enumeration, in an optional, in a tuple and in a vector.
    auto const ordered = [&](std::string const& data) {
        return bool(read(data, R"(2,"type":"order.placed)"));
    };
    CHECK(ordered(R"({"colour":1,"empty":2,"range":[1,2.0],"lines":[{"price":3.0}]})"));
    for (auto const* rounded :
         {R"({"number":9.007199254740992e15})", R"({"colour":1.0})", R"({"empty":2.0})",
          R"({"range":[1.0,2]})"})
        CHECK_FALSE(ordered(rounded));
}

TEST_CASE("an envelope with very many members is read in time", "[patterns][cloud_events]")
{
    std::string many = R"({"specversion":"1.0","id":"a","source":"s","type":"other","data":{)";
    for (int i = 0; i < 60'000; ++i)
        many += "\"k" + std::to_string(i) + "\":0,";
    auto const begun = std::chrono::steady_clock::now();
    CHECK(from_cloud_event(many + "\"k\":0}}"));
    CHECK_FALSE(from_cloud_event(many + "\"k7\":0}}"));  // one of them twice
    // Two passes over the square of that number take minutes.
    CHECK(std::chrono::steady_clock::now() - begun < std::chrono::seconds{40});
}

}  // namespace cloud_events_test
