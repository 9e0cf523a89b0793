// SPDX-License-Identifier: BSL-1.0

// States that are stored as JSON: what stands in the store, what is read of it, and what is said of what is
// not right.

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/codec/json_state_traits.hpp>

#include <boost/describe/class.hpp>
#include <boost/describe/enum.hpp>

#include "support/catch.hpp"

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace json_state_traits_test {

using namespace interlock;

BOOST_DEFINE_ENUM_CLASS(Mood, good, bad)

struct Line {
    std::string sku;
    std::uint32_t pieces{0};
};
BOOST_DESCRIBE_STRUCT(Line, (), (sku, pieces))

struct Order {
    std::string id;
    std::int64_t total{0};
    double rate{0.5};
    bool paid{false};
    Mood mood{Mood::good};
    std::optional<std::string> note{};
    std::vector<Line> lines{};
    std::pair<int, std::string> pair{};
    Line first{};
};
BOOST_DESCRIBE_STRUCT(Order, (), (id, total, rate, paid, mood, note, lines, pair, first))

/// The next release's: a member more, and one that is renamed; `colour` is gone.
struct Newer {
    std::string id;
    int count{0};
    int points{7};
    Line first{};
};
BOOST_DESCRIBE_STRUCT(Newer, (), (id, count, points, first))
struct Older {
    std::string id;
    int items{0};
};
BOOST_DESCRIBE_STRUCT(Older, (), (id, items))

/// The same in the library's own form.
struct Plain {
    std::string id;
    int items{0};
};
BOOST_DESCRIBE_STRUCT(Plain, (), (id, items))
struct PlainGrown {
    std::string id;
    int items{0};
    int points{0};
};
BOOST_DESCRIBE_STRUCT(PlainGrown, (), (id, items, points))
struct Rated {
    std::string id;
    float rate{0};
    int n{0};
};
BOOST_DESCRIBE_STRUCT(Rated, (), (id, rate, n))

}  // namespace json_state_traits_test

template <>
struct interlock::StateTraits<json_state_traits_test::Order>
    : interlock::JsonStateTraits<json_state_traits_test::Order> {};
template <>
struct interlock::StateTraits<json_state_traits_test::Newer>
    : interlock::JsonStateTraits<json_state_traits_test::Newer> {};
template <>
struct interlock::StateTraits<json_state_traits_test::Older>
    : interlock::JsonStateTraits<json_state_traits_test::Older> {};
template <>
struct interlock::StateTraits<json_state_traits_test::Rated>
    : interlock::JsonStateTraits<json_state_traits_test::Rated> {};
template <>
struct interlock::MemberHistory<json_state_traits_test::Newer> {
    static constexpr interlock::StoredName renamed[] = {{"count", "items"}};
    static constexpr std::string_view removed[] = {"colour"};
};

namespace json_state_traits_test {

template <class T>
std::string json_of(T const& value)
{
    std::string out;
    StateTraits<T>::encode(value, out);
    CHECK(StateTraits<T>::encoded_size(value) == out.size());
    return out;
}

/// Why the text is no `T`.
template <class T>
std::string misfit(std::string_view text)
{
    detail::Reading reading{text};
    CHECK_FALSE(detail::decode_state<T>(text, reading));
    CHECK_FALSE(StateTraits<T>::decode(text));
    return reading.text("state");
}

TEST_CASE("a described struct is stored as JSON and read again", "[core][json]")
{
    Order const order{
        "o-1",
        9'007'199'254'740'993,
        0.1,
        true,
        Mood::bad,
        "it's \"2\"\n\xc3\xa9",
        {{"a", 1}, {"b", 4'294'967'295U}},
        {-3, "x"},
        {"c", 2}};
    auto const text = json_of(order);
    CHECK(
        text ==
        R"({"id":"o-1","total":9007199254740993,"rate":0.1,"paid":true,"mood":1,"note":"it's \"2\"\u000a)"
        "\xc3\xa9"
        R"(","lines":[{"sku":"a","pieces":1},{"sku":"b","pieces":4294967295}],"pair":[-3,"x"],)"
        R"("first":{"sku":"c","pieces":2}})");
    auto const read = StateTraits<Order>::decode(text).value();
    CHECK(json_of(read) == text);
    CHECK(read.total == order.total);
    CHECK(read.note == order.note);
    CHECK(read.lines[1].pieces == 4'294'967'295U);
    CHECK(StateTraits<Order>::key(read) == "o-1");
    CHECK(StateTraits<Order>::from_key("k").id == "k");
    CHECK(json_of(Order{}).find(R"("note":null)") != std::string::npos);
    static_assert(StorableState<Order> && KeyedState<Order>);
}

TEST_CASE("JSON of another hand is read: order and white space mean nothing", "[core][json]")
{
    auto const read = StateTraits<Order>::decode(R"( {
        "paid" : true, "id":"\u00e9", "lines": [ {"pieces": 2, "sku":"s"} ], "total": -5,
        "rate": 1e3, "mood": 0, "pair": [1, ""], "first": {} } )");
    REQUIRE(read);
    CHECK(read->id == "\xc3\xa9");
    CHECK(read->total == -5);
    CHECK(read->rate == 1000.0);
    CHECK(read->lines.at(0).sku == "s");
    CHECK_FALSE(read->note);
}

TEST_CASE("JSON that is no such state names the member", "[core][json]")
{
    CHECK(misfit<Order>("") == "state: it is no JSON");
    CHECK(misfit<Order>("{") == "state: it is no JSON");
    CHECK(misfit<Order>(R"({"id":"a","id":"b"})") == "state: it is no JSON");
    CHECK(misfit<Order>("[1]") == "state: it is not an object in JSON");
    CHECK(misfit<Order>(R"({"id":7})") == "state: member \"id\" is not a text in JSON");
    CHECK(
        misfit<Order>(R"({"total":"7"})") ==
        "state: member \"total\" is not a number in JSON, or one that does not fit");
    CHECK(misfit<Order>(R"({"total":1.5})").find("\"total\"") != std::string::npos);
    CHECK(misfit<Order>(R"({"total":99999999999999999999})").find("\"total\"") != std::string::npos);
    CHECK(misfit<Order>(R"({"total":null})").find("\"total\"") != std::string::npos);
    CHECK(misfit<Order>(R"({"paid":1})") == "state: member \"paid\" is neither true nor false in JSON");
    CHECK(misfit<Order>(R"({"note":[]})") == "state: member \"note\" is not a text in JSON");
    CHECK(misfit<Order>(R"({"lines":{}})") == "state: member \"lines\" is not an array in JSON");
    CHECK(
        misfit<Order>(R"({"lines":[{"sku":"a"},{"pieces":-1}]})") ==
        "state: member \"lines.1.pieces\" is not a number in JSON, or one that does not fit");
    CHECK(
        misfit<Order>(R"({"pair":[1]})") ==
        "state: member \"pair\" is not an array of so many parts in JSON");
    CHECK(misfit<Order>(R"({"pair":[1,2]})") == "state: member \"pair.1\" is not a text in JSON");
    CHECK(misfit<Order>(R"({"first":{"sku":1}})") == "state: member \"first.sku\" is not a text in JSON");
    CHECK(misfit<Order>("{\"id\":\"\xff\"}") == "state: it is no JSON");
}

TEST_CASE("what has no JSON is refused by the name of its member", "[core][json]")
{
    auto const refused = [](Order const& order) {
        std::string out;
        return detail::encode_state(order, out).value().detail();
    };
    Order order{"o-1"};
    order.rate = std::numeric_limits<double>::infinity();
    CHECK(refused(order).find("\"rate\"") != std::string::npos);
    order = Order{"o-1"};
    order.first.sku = "secret\xff";
    CHECK(refused(order).find("\"first.sku\"") != std::string::npos);
    CHECK(refused(order).find("secret") == std::string::npos);
}

TEST_CASE("two releases share states in JSON, and neither loses the other's", "[core][json]")
{
    auto const older = json_of(Older{"o-1", 3});
    auto const grown = StateTraits<Newer>::decode(older).value();
    CHECK(grown.count == 3);
    CHECK(grown.points == 7);
    Newer newer{"o-1", 4, 9, {"s", 1}};
    auto const stored = json_of(newer);
    CHECK(stored == R"({"id":"o-1","items":4,"points":9,"first":{"sku":"s","pieces":1}})");
    detail::Reading reading{stored};
    auto changed = detail::decode_state<Older>(stored, reading).value();
    CHECK(reading.newer);
    changed.items = 5;
    std::string out;
    CHECK_FALSE(detail::encode_state_over(stored, changed, out));
    CHECK(out == R"({"id":"o-1","items":5,"points":9,"first":{"sku":"s","pieces":1}})");
    // What is removed is not kept, and does not count as newer.
    detail::Reading second;
    std::string_view const old = R"({"id":"o-1","items":1,"points":2,"first":{},"colour":"red"})";
    auto const kept = detail::decode_state<Newer>(old, second).value();
    CHECK_FALSE(second.newer);
    out.clear();
    CHECK_FALSE(detail::encode_state_over(old, kept, out));
    CHECK(out.find("colour") == std::string::npos);
    // A member that was renamed without a word of it.
    CHECK(
        misfit<Older>(R"({"id":"o-1","pieces":3})").find("\"items\" is not stored, and another one is") !=
        std::string::npos);
}

TEST_CASE(
    "elements that a newer release has grown are kept, or refused when they have changed", "[core][json]")
{
    std::string const stored = R"({"id":"o-1","lines":[{"sku":"a","pieces":1,"gift":true}]})";
    detail::Reading reading{stored};
    auto order = detail::decode_state<Order>(stored, reading).value();
    CHECK(reading.newer);
    order.total = 2;
    std::string out;
    CHECK_FALSE(detail::encode_state_over(stored, order, out));
    CHECK(out.find(R"("lines":[{"sku":"a","pieces":1,"gift":true}])") != std::string::npos);
    order.lines[0].pieces = 2;
    out.clear();
    auto const refused = detail::encode_state_over(stored, order, out);
    REQUIRE(refused);
    CHECK(refused->errc() == Errc::invalid_argument);
    CHECK(refused->detail().find("\"lines\"") != std::string::npos);
}

TEST_CASE("states of the library's own form are read when a program changes over", "[core][json]")
{
    std::string before;
    StateTraits<Plain>::encode(Plain{"o-1", 3}, before);
    CHECK(StateTraits<Older>::decode(before).value().items == 3);
}

TEST_CASE("a repository keeps states in JSON", "[core][json]")
{
    memory::StateRepository<Order> const orders;
    REQUIRE(orders.insert(Order{"o-1", 3}));
    CHECK(orders.load("o-1").value().value.total == 3);
}

TEST_CASE("a whole number may be written with a fraction or an exponent in JSON", "[core][json]")
{
    // As the cjson of Redis's scripts writes it, or a language that has floating-point numbers only.
    auto const total = [](std::string const& number) {
        auto const read = StateTraits<Order>::decode(R"({"total":)" + number + "}");
        return read ? std::to_string(read->total) : "none";
    };
    CHECK(total("1e+14") == "100000000000000");
    CHECK(total("3.0") == "3");
    CHECK(total("-12.50e1") == "-125");
    CHECK(total("10e-1") == "1");
    CHECK(total("0.0e-999999999") == "0");
    for (auto const* const wrong : {"1.5", "1e-1", "1e19", "1e20", "123456789e99999999999"})
        CHECK(total(wrong) == "none");
    // No exponent is too long to be counted with; UndefinedBehaviorSanitizer hears of it.
    for (auto const* const wrong : {"1.5e-2147483648", "1.25e-2147483647", "1.5e-99999999999"})
        CHECK(total(wrong) == "none");
}

TEST_CASE("a number that is too small for a float is read as in the library's own form", "[core][json]")
{
    auto const rate = [](std::string const& number) {
        auto const read = StateTraits<Rated>::decode(R"({"rate":)" + number + "}");
        return read ? std::optional(read->rate) : std::nullopt;
    };
    CHECK(rate("1e-50") == 0.0F);
    CHECK(rate("-5e-324") == 0.0F);
    CHECK(rate("1e-40") == 1e-40F);
    CHECK(rate("3.4028235e+38") == std::numeric_limits<float>::max());
    for (auto const* const wrong : {"1e39", "-1e39", "1e999"})
        CHECK_FALSE(rate(wrong));
    // The digits are kept, as those of other numbers that a float has not.
    std::string const stored = R"({"id":"o-1","rate":1e-50,"n":1})";
    auto state = StateTraits<Rated>::decode(stored);
    REQUIRE(state);
    state->n = 2;
    std::string out;
    CHECK_FALSE(detail::encode_state_over(stored, *state, out));
    CHECK(out == R"({"id":"o-1","rate":1e-50,"n":2})");
}

TEST_CASE("JSON with very many names is read in proportion", "[core][json]")
{
    std::string text = R"({"id":"o-1","items":3)";
    for (int i = 0; i < 60'000; ++i)
        text += ",\"name " + std::to_string(i) + "\":1";
    CHECK(StateTraits<Older>::decode(text + "}").value().items == 3);  // was two minutes
    CHECK(misfit<Older>(text + R"(,"name 7":2})") == "state: it is no JSON");
}

TEST_CASE("the release that has a float keeps the digits of a double in JSON", "[core][json]")
{
    std::string const stored = R"({"id":"o-1","rate":0.123456789012,"n":1})";
    detail::Reading reading{stored};
    auto state = detail::decode_state<Rated>(stored, reading).value();
    CHECK(reading.newer);
    state.n = 2;
    std::string out;
    CHECK_FALSE(detail::encode_state_over(stored, state, out));
    CHECK(out == R"({"id":"o-1","rate":0.123456789012,"n":2})");
    state.rate = 0.1F;
    out.clear();
    CHECK_FALSE(detail::encode_state_over(stored, state, out));
    CHECK(out == R"({"id":"o-1","rate":0.1,"n":2})");
    detail::Reading own;
    CHECK(detail::decode_state<Rated>(out, own));
    CHECK_FALSE(own.newer);
}

TEST_CASE("what is stored in the library's own form, and has no name there, is not dropped", "[core][json]")
{
    std::string before;
    StateTraits<PlainGrown>::encode(PlainGrown{"o-1", 3, 9}, before);
    auto const read = StateTraits<Older>::decode(before).value();
    std::string out;
    auto const refused = detail::encode_state_over(before, read, out);
    REQUIRE(refused);
    CHECK(refused->errc() == Errc::invalid_argument);
    CHECK(refused->detail().find("MemberHistory::removed") != std::string::npos);
}

}  // namespace json_state_traits_test
