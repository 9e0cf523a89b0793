// SPDX-License-Identifier: BSL-1.0

// What may change between two contracts, what their text says, and how a former version of a fact is read.

#include <interlock/patterns/contract.hpp>

#include <boost/describe/class.hpp>

#include "support/catch.hpp"

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace contract_test {

using namespace interlock;
using Catch::Matchers::ContainsSubstring;

struct SoldV1 {
    std::string sku;
    int pieces{0};
    static constexpr EventType event{"stock.sold", 1};
};
BOOST_DESCRIBE_STRUCT(SoldV1, (), (sku, pieces))

struct SoldV2 {
    std::string sku;
    std::int64_t quantity{0};
    static constexpr EventType event{"stock.sold", 2};
    static SoldV2 upcast(SoldV1 const& old) { return {old.sku, old.pieces}; }
};
BOOST_DESCRIBE_STRUCT(SoldV2, (), (sku, quantity))

struct Sold {
    std::string sku;
    std::int64_t quantity{0};
    std::string unit{"piece"};
    static constexpr EventType event{"stock.sold", 3};
    static Sold upcast(SoldV2 const& old) noexcept { return {old.sku, old.quantity, "box"}; }
};
BOOST_DESCRIBE_STRUCT(Sold, (), (sku, quantity, unit))

struct Line {
    std::string sku;
    double price{0};
};
BOOST_DESCRIBE_STRUCT(Line, (), (sku, price))
enum class Colour : std::uint8_t { red, green };
struct Nothing {};
BOOST_DESCRIBE_STRUCT(Nothing, (), ())

struct Ordered {
    std::int64_t number{0};
    bool gift{false};
    Colour colour{Colour::red};
    std::optional<std::string> note;
    std::vector<Line> lines;
    std::tuple<std::int16_t, std::uint32_t> range;
    std::pair<std::string, float> weight;
    Nothing nothing;
    static constexpr EventType event{"order.placed", 1};
};
BOOST_DESCRIBE_STRUCT(Ordered, (), (number, gift, colour, note, lines, range, weight, nothing))

/// Its first member has a name that begins as the word for facts with a form of their own.
struct Transferred {
    std::int64_t bytes_sent{0};
    static constexpr EventType event{"net.transferred", 1};
};
BOOST_DESCRIBE_STRUCT(Transferred, (), (bytes_sent))

/// Its `upcast` refuses what cannot be.
struct Counted {
    std::string sku;
    static constexpr EventType event{"stock.sold", 4};
    static Counted upcast(SoldV1 const& old)
    {
        return old.pieces < 0 ? throw std::range_error("fewer than no pieces") : Counted{old.sku};
    }
};
BOOST_DESCRIBE_STRUCT(Counted, (), (sku))

/// Stored in a form of its own.
struct Measured {
    int value{0};
    static constexpr EventType event{"measured", 1};
};

}  // namespace contract_test

template <>
struct interlock::StateTraits<contract_test::Measured> {
    static void encode(contract_test::Measured const& value, std::string& out)
    {
        out += std::to_string(value.value);
    }
    static std::optional<contract_test::Measured> decode(std::string_view bytes)
    {
        return contract_test::Measured{std::stoi(std::string(bytes))};
    }
};

namespace contract_test {

using Facts = Contract<Sold, Ordered, SoldV1, Measured, SoldV2>;

/// `fact` as an event that was read.
template <Fact F>
Event stored(F const& fact)
{
    auto const made = new_event(fact);
    Event event;
    event.id = "e-1";
    event.type = made.type;
    event.version = made.version;
    event.data = made.data;
    return event;
}

/// The one difference between two contracts of one fact, in words; empty: none.
std::string difference(std::string const& before, std::string const& after)
{
    auto const changes = compare_contracts("a.b 1 " + before + "\n", "a.b 1 " + after + "\n");
    if (changes.empty())
        return {};
    if (changes.size() > 1 || changes[0].fact != "a.b 1")
        return "more than one, or of another fact";
    return changes[0].what;
}

TEST_CASE("a contract is a line for each fact, sorted", "[patterns][contract]")
{
    CHECK(
        Facts::text() ==
        "measured 1 bytes\n"
        "order.placed 1 number:int64 gift:bool colour:enum<uint8> note:optional<text> "
        "lines:vector<{sku:text price:float64}> range:tuple<int16,uint32> weight:tuple<text,float32> "
        "nothing:{}\n"
        "stock.sold 1 sku:text pieces:int32\n"
        "stock.sold 2 sku:text quantity:int64\n"
        "stock.sold 3 sku:text quantity:int64 unit:text\n");
    CHECK(compare_contracts(Facts::text(), Facts::text()).empty());
}

TEST_CASE("facts and members may be added, and change their places", "[patterns][contract]")
{
    CHECK(compare_contracts("", Facts::text()).empty());
    CHECK(compare_contracts("a.b 1 x:text\n", "a.b 2 y:bool\na.b 1 x:text\n").empty());
    CHECK(difference("x:text", "x:text y:int32") == "");
    CHECK(difference("x:text", "y:optional<int32> x:text") == "");
    CHECK(difference("x:text y:bool", "y:bool x:text") == "");
    CHECK(difference("x:vector<{a:text}>", "x:vector<{b:bool a:text}>") == "");
    CHECK(difference("", "x:text") == "");
    CHECK(compare_contracts("# one\r\n\r\na.b 1 x:text\r\n", "a.b 1 x:text").empty());
}

TEST_CASE("everything else is a difference, in words", "[patterns][contract]")
{
    CHECK(compare_contracts(Facts::text(), "").size() == 5);
    CHECK_THAT(compare_contracts("a.b 1 x:text", "a.b 2 x:text").at(0).what, ContainsSubstring("withdrawn"));
    CHECK_THAT(difference("x:text y:bool", "x:text"), ContainsSubstring("member y is gone"));
    CHECK_THAT(
        difference("x:text", "z:text"),
        ContainsSubstring("member x is gone, and z is new: if it was renamed"));
    CHECK_THAT(difference("x:int32", "x:text"), ContainsSubstring("member x was int32 and is text"));
    CHECK_THAT(difference("x:int32", "x:int16"), ContainsSubstring("narrower"));
    CHECK_THAT(difference("x:int32", "x:int64"), ContainsSubstring("wider"));
    CHECK_THAT(difference("x:uint8", "x:uint64"), ContainsSubstring("wider"));
    CHECK_THAT(difference("x:int32", "x:uint32"), ContainsSubstring("was int32 and is uint32"));
    CHECK_THAT(difference("x:text", "x:optional<text>"), ContainsSubstring("may be missing now"));
    CHECK_THAT(difference("x:optional<text>", "x:text"), ContainsSubstring("must be there now"));
    CHECK_THAT(difference("x:enum<uint8>", "x:enum<int32>"), ContainsSubstring("member x was uint8"));
    CHECK_THAT(difference("x:text", "x:vector<text>"), ContainsSubstring("was text and is vector<text>"));
    CHECK_THAT(difference("x:tuple<text,bool>", "x:tuple<text,bool,bool>"), ContainsSubstring("member x"));
    CHECK_THAT(
        difference("x:vector<{a:text b:{c:bool}}>", "x:vector<{a:text b:{c:text}}>"),
        ContainsSubstring("member x.b.c was bool"));
    CHECK_THAT(difference("bytes", "x:text"), ContainsSubstring("bytes"));
    CHECK(difference("bytes", "bytes") == "");
    // Several at once.
    CHECK(compare_contracts("a.b 1 x:text y:bool", "a.b 1 x:bool").size() == 2);
}

TEST_CASE("what is no contract is a difference, and is said", "[patterns][contract]")
{
    for (auto const* line :
         {"a.b", "a.b 1 x", "a.b 1 x:", "a.b 1 x:text,", "a.b 1 x:vector<text", "a.b 1 x:{y:text",
          "a.b 1 :text", "a.b 1 x:text  y:text", "a.b 1 x:vector<>", "a.b 1 bytes bytes", "<<<<<<< ours",
          "a.b -1 x:text", "a.b 1 x:text x:int32", "a.b\t1\tx:text",
          "\xef\xbb\xbf"
          "a.b 1 x:text"}) {
        INFO(line);
        auto const changes = compare_contracts("c.d 1 x:text\n" + std::string(line) + "\n", "c.d 1 x:text\n");
        CHECK((changes.size() >= 1 && changes[0].fact == "line 2"));
    }
    CHECK(compare_contracts("a.b 1 x:text\na.b 1 x:text", "a.b 1 x:text").at(0).fact == "line 2");
    std::string deep = "a.b 1 x:";
    for (int i = 0; i < 100'000; ++i)
        deep += "vector<";
    CHECK(compare_contracts(deep, "").at(0).fact == "line 1");
}

TEST_CASE("a contract is held against the file that is kept of it", "[patterns][contract]")
{
    auto const path = (std::filesystem::temp_directory_path() / "interlock-contract-test.lock").string();
    std::filesystem::remove(path);
    CHECK_THAT(Facts::check_against(path).at(0).what, ContainsSubstring("cannot be read"));
    auto const write = [&](std::string const& text) { std::ofstream{path, std::ios::binary} << text; };
    write(Facts::text());
    CHECK(Facts::check_against(path).empty());
    write(Contract<Ordered>::text());
    auto const added = Facts::check_against(path);
    CHECK(added.size() == 4);
    CHECK_THAT(added.at(0).what, ContainsSubstring("is new"));
    write(Facts::text() + "left.out 1 x:text\n");
    CHECK(
        Facts::check_against(path) ==
        std::vector{ContractChange{"left.out 1", "is withdrawn, and events of it may still be stored"}});
    write("");
    CHECK(Facts::check_against(path).size() == 5);
    write(Facts::text().substr(0, Facts::text().size() - 4));  // a write that was cut off
    CHECK_THAT(Facts::check_against(path).at(0).what, ContainsSubstring("was t and is text"));
    CHECK_THAT(
        Facts::check_against(std::filesystem::temp_directory_path().string()).at(0).what,
        ContainsSubstring("cannot be read"));
    write("stock.sold 1 sku:text\n");
    CHECK_THAT(Contract<SoldV1>::check_against(path).at(0).what, ContainsSubstring("does not say so yet"));
    std::filesystem::remove(path);
}

TEST_CASE("a contract is read whatever its members are called", "[patterns][contract]")
{
    auto const text = Contract<Transferred>::text();
    CHECK(text == "net.transferred 1 bytes_sent:int64\n");
    CHECK(compare_contracts(text, text).empty());
    CHECK(difference("bytes:text", "bytes:text more:bool") == "");
}

TEST_CASE("a former version is read by way of each upcast", "[patterns][contract]")
{
    auto const third = fact_of<Sold>(stored(SoldV1{"x", 7})).value();
    CHECK(third.sku == "x");
    CHECK(third.quantity == 7);
    CHECK(third.unit == "box");
    CHECK(fact_of<Sold>(stored(SoldV2{"x", 8})).value().quantity == 8);
    CHECK(fact_of<Sold>(stored(Sold{"x", 9, "l"})).value().unit == "l");
    CHECK(fact_of<SoldV2>(stored(SoldV1{"x", 7})).value().quantity == 7);
    CHECK(fact_of<SoldV1>(stored(SoldV1{"x", 7})).value().pieces == 7);
    CHECK(fact_of<Counted>(stored(SoldV1{"x", 7})).value().sku == "x");
    CHECK_THROWS_WITH(fact_of<Counted>(stored(SoldV1{"x", -7})), "fewer than no pieces");
}

TEST_CASE("what cannot be read says both versions", "[patterns][contract]")
{
    auto const later = fact_of<SoldV2>(stored(Sold{"x", 1, "l"}));
    CHECK(later.errc() == Errc::corrupt_state);
    CHECK_THAT(later.detail(), ContainsSubstring("version 3") && ContainsSubstring("version 2"));
    auto event = stored(SoldV1{"x", 7});
    event.version = 0;
    auto const earlier = fact_of<Sold>(event);
    CHECK(earlier.errc() == Errc::corrupt_state);
    CHECK_THAT(earlier.detail(), ContainsSubstring("version 0"));
    event = stored(SoldV1{"x", 7});
    event.data.pop_back();
    auto const damaged = fact_of<Sold>(event);
    CHECK(damaged.errc() == Errc::corrupt_state);
    CHECK_THAT(damaged.detail(), ContainsSubstring("version 1") && ContainsSubstring("e-1"));
    CHECK(fact_of<Sold>(stored(Measured{1})).errc() == Errc::invalid_argument);
}

}  // namespace contract_test
