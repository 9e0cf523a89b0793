// SPDX-License-Identifier: BSL-1.0

// A struct that is stored gets new members, and two releases of the program run side by side: each reads what
// the other has written, and what one does not know it writes back. What cannot be read names the member.
//
// How it works: the releases of a type stand side by side in namespaces `r1`, `r2`, and so on; bytes of one
// are given to another. The bytes of version 0.1 are literals, since stores hold them.

#include <interlock/core/state_traits.hpp>

#include <boost/describe/class.hpp>

#include "support/catch.hpp"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace codec_growth_test {

using namespace interlock;

namespace r1 {
struct Cart {
    std::string id;
    int items{0};
    friend bool operator==(Cart const&, Cart const&) = default;
};
BOOST_DESCRIBE_STRUCT(Cart, (), (id, items))
struct Line {
    std::string article;
    int pieces{0};
    friend bool operator==(Line const&, Line const&) = default;
};
BOOST_DESCRIBE_STRUCT(Line, (), (article, pieces))
enum class Colour { red, green };
struct Order {
    std::string id;
    std::vector<Line> lines;
    std::optional<Line> gift;
    Colour colour{};
    double rate{0};
    bool paid{false};
    std::pair<int, std::string> both;
    friend bool operator==(Order const&, Order const&) = default;
};
BOOST_DESCRIBE_STRUCT(Order, (), (id, lines, gift, colour, rate, paid, both))
}  // namespace r1

namespace r2 {  // Cart: a member behind the others; Line: one between; Order: a struct by itself
struct Cart {
    std::string id;
    int items{0};
    std::optional<std::string> coupon;
    friend bool operator==(Cart const&, Cart const&) = default;
};
BOOST_DESCRIBE_STRUCT(Cart, (), (id, items, coupon))
struct Line {
    std::string article;
    double discount{0.25};
    int pieces{0};
    friend bool operator==(Line const&, Line const&) = default;
};
BOOST_DESCRIBE_STRUCT(Line, (), (article, discount, pieces))
enum class Colour { red, green, blue };
struct Order {
    std::string id;
    std::vector<Line> lines;
    std::optional<Line> gift;
    Colour colour{};
    double rate{0};
    bool paid{false};
    std::pair<int, std::string> both;
    friend bool operator==(Order const&, Order const&) = default;
};
BOOST_DESCRIBE_STRUCT(Order, (), (id, lines, gift, colour, rate, paid, both))
}  // namespace r2

namespace r3 {  // two more, one with a default, in front and in the middle
struct Cart {
    std::int64_t created{7};
    std::string id;
    std::vector<std::string> notes;
    std::int64_t items{0};
    std::optional<std::string> coupon;
    friend bool operator==(Cart const&, Cart const&) = default;
};
BOOST_DESCRIBE_STRUCT(Cart, (), (created, id, notes, items, coupon))
}  // namespace r3

template <class T>
std::string encoded(T const& value)
{
    std::string out;
    StateTraits<T>::encode(value, out);
    CHECK(StateTraits<T>::encoded_size(value) == out.size());
    return out;
}

/// What the reader of a `T` finds wrong.
template <class T>
std::string reason(std::string_view bytes)
{
    detail::Reading reading;
    CHECK_FALSE(detail::decode_state<T>(bytes, reading));
    return reading.text("no");
}

/// The bytes after a release that has the type `T` has read `bytes`, and has written what `change` made.
template <class T, class Change>
std::string written(std::string const& bytes, Change change)
{
    auto state = StateTraits<T>::decode(bytes);
    REQUIRE(state);
    change(*state);
    std::string out;
    auto const failure = detail::encode_state_over(bytes, *state, out);
    if (failure)
        return "refused: " + std::string(failure->detail());
    auto const again = StateTraits<T>::decode(out);
    REQUIRE(again);
    CHECK(encoded(*again) == encoded(*state));
    return out;
}

TEST_CASE(
    "the new release reads what the old one wrote, with the defaults of what was added", "[core][codec]")
{
    auto const bytes = encoded(r1::Cart{"c", 3});
    CHECK(StateTraits<r2::Cart>::decode(bytes) == r2::Cart{"c", 3, {}});
    CHECK(StateTraits<r3::Cart>::decode(bytes) == r3::Cart{7, "c", {}, 3, {}});
    CHECK(StateTraits<r3::Cart>::decode(encoded(r2::Cart{"c", 3, "X"})) == r3::Cart{7, "c", {}, 3, "X"});
    CHECK(StateTraits<r2::Line>::decode(encoded(r1::Line{"a", 2})) == r2::Line{"a", 0.25, 2});
}

TEST_CASE("the old release reads what the new one wrote", "[core][codec]")
{
    CHECK(StateTraits<r1::Cart>::decode(encoded(r2::Cart{"c", 3, "X"})) == r1::Cart{"c", 3});
    CHECK(StateTraits<r1::Cart>::decode(encoded(r3::Cart{1, "c", {"n", "m"}, 3, {}})) == r1::Cart{"c", 3});
    CHECK(StateTraits<r2::Cart>::decode(encoded(r3::Cart{1, "c", {"n"}, 3, "X"})) == r2::Cart{"c", 3, "X"});
    CHECK(StateTraits<r1::Line>::decode(encoded(r2::Line{"a", 0.5, 2})) == r1::Line{"a", 2});
}

TEST_CASE("structs within vectors, optionals, pairs and tuples grow as well", "[core][codec]")
{
    r2::Order order;
    order.id = "o";
    order.lines = {{"nut", 0.5, 2}, {"bolt", 0.75, -1}};
    order.gift = r2::Line{"cup", 1, 1};
    auto const old = StateTraits<r1::Order>::decode(encoded(order));
    REQUIRE(old);
    CHECK(old->lines == std::vector<r1::Line>{{"nut", 2}, {"bolt", -1}});
    CHECK(old->gift == r1::Line{"cup", 1});
    auto const back = StateTraits<r2::Order>::decode(encoded(*old));
    REQUIRE(back);
    CHECK(back->lines == std::vector<r2::Line>{{"nut", 0.25, 2}, {"bolt", 0.25, -1}});

    using Old = std::vector<r1::Cart>;
    using New = std::vector<r2::Cart>;
    CHECK(StateTraits<Old>::decode(encoded(New{{"a", 1, "X"}, {"b", 2, {}}})) == Old{{"a", 1}, {"b", 2}});
    CHECK(StateTraits<New>::decode(encoded(Old{{"a", 1}})) == New{{"a", 1, {}}});
    using OldTuple = std::tuple<int, r1::Cart, std::optional<r1::Cart>>;
    using NewTuple = std::tuple<int, r2::Cart, std::optional<r2::Cart>>;
    CHECK(
        StateTraits<OldTuple>::decode(encoded(NewTuple{1, {"a", 1, "X"}, r2::Cart{"b", 2, "Y"}})) ==
        OldTuple{1, {"a", 1}, r1::Cart{"b", 2}});
    CHECK(
        StateTraits<OldTuple>::decode(encoded(NewTuple{1, {"a", 1, "X"}, {}})) == OldTuple{1, {"a", 1}, {}});
}

TEST_CASE("an enumerator that was added is kept by the release that does not know it", "[core][codec]")
{
    r2::Order order;
    order.colour = r2::Colour::blue;
    auto old = StateTraits<r1::Order>::decode(encoded(order));
    REQUIRE(old);
    CHECK(static_cast<int>(old->colour) == 2);
    CHECK(StateTraits<r2::Order>::decode(encoded(*old))->colour == r2::Colour::blue);
}

namespace swapped {
struct Cart {
    int items{0};
    std::string id;
    friend bool operator==(Cart const&, Cart const&) = default;
};
BOOST_DESCRIBE_STRUCT(Cart, (), (items, id))
}  // namespace swapped

TEST_CASE("members may change their places", "[core][codec]")
{
    CHECK(StateTraits<swapped::Cart>::decode(encoded(r1::Cart{"c", 3})) == swapped::Cart{3, "c"});
    CHECK(StateTraits<r1::Cart>::decode(encoded(swapped::Cart{3, "c"})) == r1::Cart{"c", 3});
    CHECK(StateTraits<swapped::Cart>::decode(encoded(r3::Cart{1, "c", {}, 3, {}})) == swapped::Cart{3, "c"});
}

namespace wide {
struct Cart {
    std::string id;
    std::int64_t items{0};
};
BOOST_DESCRIBE_STRUCT(Cart, (), (id, items))
struct Optional {
    std::string id;
    std::optional<int> items;
};
BOOST_DESCRIBE_STRUCT(Optional, (), (id, items))
}  // namespace wide

TEST_CASE("an integer may become wider, and a member optional or obligatory", "[core][codec]")
{
    CHECK(StateTraits<wide::Cart>::decode(encoded(r1::Cart{"c", 3}))->items == 3);
    CHECK(StateTraits<r1::Cart>::decode(encoded(wide::Cart{"c", 3}))->items == 3);
    CHECK(
        reason<r1::Cart>(encoded(wide::Cart{"c", std::int64_t{1} << 40})) ==
        "no: member \"items\" holds what does not fit, or is damaged");
    CHECK(StateTraits<wide::Optional>::decode(encoded(r1::Cart{"c", 3}))->items == 3);
    CHECK(StateTraits<r1::Cart>::decode(encoded(wide::Optional{"c", 3}))->items == 3);
    CHECK(
        reason<r1::Cart>(encoded(wide::Optional{"c", {}})) ==
        "no: member \"items\" is stored as empty, and must have a value in this release");
}

// ---- renamed and removed ------------------------------------------------------------------------

namespace renamed {
struct Undeclared {
    std::string id;
    int pieces{0};
};
BOOST_DESCRIBE_STRUCT(Undeclared, (), (id, pieces))
struct Cart {
    std::string id;
    int pieces{0};
    std::optional<std::string> coupon;
};
BOOST_DESCRIBE_STRUCT(Cart, (), (id, pieces, coupon))
struct WithoutItems {
    std::string id;
    std::optional<std::string> coupon;
};
BOOST_DESCRIBE_STRUCT(WithoutItems, (), (id, coupon))
struct OnlyId {
    std::string id;
};
BOOST_DESCRIBE_STRUCT(OnlyId, (), (id))
}  // namespace renamed
}  // namespace codec_growth_test

template <>
struct interlock::MemberHistory<codec_growth_test::renamed::Cart> {
    static constexpr interlock::StoredName renamed[] = {{"pieces", "items"}};
};
template <>
struct interlock::MemberHistory<codec_growth_test::renamed::WithoutItems> {
    static constexpr std::string_view removed[] = {"items"};
};

namespace codec_growth_test {

TEST_CASE("a member that keeps its stored name may be called otherwise", "[core][codec]")
{
    auto const read = StateTraits<renamed::Cart>::decode(encoded(r1::Cart{"c", 3}));
    REQUIRE(read);
    CHECK(read->pieces == 3);
    auto const back = StateTraits<r2::Cart>::decode(encoded(renamed::Cart{"c", 4, "X"}));
    CHECK(back == r2::Cart{"c", 4, "X"});
    CHECK(
        StateTraits<renamed::Cart>::decode(std::string(
                                               "\x01\xd0\xa3\xef\x3a\x03"
                                               "c-1\x06",
                                               10))
            ->pieces == 3);
}

TEST_CASE("a member that was renamed without a word is refused, and named", "[core][codec]")
{
    CHECK(
        reason<renamed::Undeclared>(encoded(r1::Cart{"c", 3})) ==
        "no: member \"pieces\" is not stored, while a member is that this release does not know: perhaps it "
        "was renamed; see MemberHistory");
    // Of a struct within a vector, too.
    CHECK(reason<std::vector<renamed::Undeclared>>(encoded(std::vector<r1::Cart>{{"c", 3}}))
              .starts_with("no: member \"pieces\" is not stored"));
}

TEST_CASE("a member may be removed", "[core][codec]")
{
    CHECK(StateTraits<renamed::OnlyId>::decode(encoded(r1::Cart{"c", 3}))->id == "c");
    CHECK(StateTraits<r1::Cart>::decode(encoded(renamed::OnlyId{"c"})) == r1::Cart{"c", 0});
    // With another in its place the history must say that it is gone; the next write drops it.
    auto const bytes = encoded(r1::Cart{"c", 3});
    CHECK(StateTraits<renamed::WithoutItems>::decode(bytes)->id == "c");
    auto const now = written<renamed::OnlyId>(bytes, [](auto&) {});
    CHECK(StateTraits<r1::Cart>::decode(now) == r1::Cart{"c", 3});
}

// ---- what a write keeps ------------------------------------------------------------------------

TEST_CASE("a write of the old release keeps what the new one has added", "[core][codec]")
{
    auto const changed = written<r1::Cart>(encoded(r2::Cart{"c", 3, "X"}), [](r1::Cart& c) { c.items = 9; });
    CHECK(StateTraits<r2::Cart>::decode(changed) == r2::Cart{"c", 9, "X"});
    // Twice, and by two releases.
    r3::Cart const newest{1, "c", {"n", "m"}, 3, "X"};
    auto const once = written<r1::Cart>(encoded(newest), [](r1::Cart& c) { c.items = 4; });
    auto const twice = written<r2::Cart>(once, [](r2::Cart& c) { c.coupon = "Y"; });
    auto const thrice = written<r1::Cart>(twice, [](r1::Cart& c) { c.id = "d"; });
    CHECK(StateTraits<r3::Cart>::decode(thrice) == r3::Cart{1, "d", {"n", "m"}, 4, "Y"});
    // What the new release writes is written as it is.
    CHECK(written<r2::Cart>(encoded(r1::Cart{"c", 3}), [](r2::Cart& c) {
              c.coupon = "X";
          }) == encoded(r2::Cart{"c", 3, "X"}));
}

namespace nested1 {
struct Order {
    std::string id;
    r1::Cart cart;
    std::optional<r1::Cart> next;
    std::vector<r1::Line> lines;
    std::pair<int, r1::Line> both;
    friend bool operator==(Order const&, Order const&) = default;
};
BOOST_DESCRIBE_STRUCT(Order, (), (id, cart, next, lines, both))
}  // namespace nested1
namespace nested2 {
struct Order {
    std::string id;
    r2::Cart cart;
    std::optional<r2::Cart> next;
    std::vector<r2::Line> lines;
    std::pair<int, r2::Line> both;
    friend bool operator==(Order const&, Order const&) = default;
};
BOOST_DESCRIBE_STRUCT(Order, (), (id, cart, next, lines, both))
}  // namespace nested2

TEST_CASE("a write keeps what was added within structs and optional ones", "[core][codec]")
{
    nested2::Order order{"o", {"c", 1, "X"}, r2::Cart{"n", 2, "Y"}, {{"nut", 0.5, 2}}, {1, {"cup", 0.1, 1}}};
    auto const changed = written<nested1::Order>(encoded(order), [](nested1::Order& o) {
        o.cart.items = 5;
        o.next->items = 6;
    });
    order.cart.items = 5;
    order.next->items = 6;
    CHECK(StateTraits<nested2::Order>::decode(changed) == order);
    // What the old release gives up is gone, and what it puts there is as it made it.
    auto const reset = written<nested1::Order>(encoded(order), [](nested1::Order& o) { o.next.reset(); });
    CHECK_FALSE(StateTraits<nested2::Order>::decode(reset)->next);
    order.next.reset();
    auto const made =
        written<nested1::Order>(encoded(order), [](nested1::Order& o) { o.next = r1::Cart{"z", 1}; });
    CHECK(StateTraits<nested2::Order>::decode(made)->next == r2::Cart{"z", 1, {}});
}

TEST_CASE("a write that would lose what was added within a vector is refused, and names it", "[core][codec]")
{
    nested2::Order const order{"o", {}, {}, {{"nut", 0.5, 2}, {"bolt", 0.75, 1}}, {1, {"cup", 0.1, 1}}};
    auto const bytes = encoded(order);
    auto const refused =
        written<nested1::Order>(bytes, [](nested1::Order& o) { o.lines.push_back({"new", 1}); });
    CHECK(
        refused ==
        "refused: the value cannot be written: member \"lines\" has changed, and is stored with "
        "members that this release does not know and would lose");
    CHECK(written<nested1::Order>(bytes, [](nested1::Order& o) {
              o.both.second.pieces = 2;
          }).starts_with("refused: the value cannot be written: member \"both\""));
    // What did not change stays as it is.
    auto const kept = written<nested1::Order>(bytes, [](nested1::Order& o) { o.cart.items = 2; });
    CHECK(StateTraits<nested2::Order>::decode(kept)->lines == order.lines);
    CHECK(StateTraits<nested2::Order>::decode(kept)->both == order.both);
    // So with a state that is a vector itself.
    auto const whole = encoded(std::vector<r2::Cart>{{"a", 1, "X"}});
    CHECK(written<std::vector<r1::Cart>>(whole, [](auto&) {}) == whole);
    CHECK(written<std::vector<r1::Cart>>(whole, [](auto& v) { v.clear(); }).starts_with("refused"));
}

// ---- what version 0.1 wrote ---------------------------------------------------------------------

std::string_view const cart_of_0_1{"\x01\xd0\xa3\xef\x3a\x03\x63\x2d\x31\x06", 10};
std::string_view const line_of_0_1{"\x01\x7a\xc1\xbd\x40\x03\x6e\x75\x74\x04", 10};
std::string_view const order_of_0_1{
    "\x01\x6d\x68\x4c\x87\x03\x6f\x2d\x31\x02\x03\x6e\x75\x74\x04\x04\x62\x6f\x6c\x74\x01\x01\x03\x63\x75"
    "\x70\x02\x02\x00\x00\x00\x00\x00\x00\xe0\x3f\x02\x0e\x01\x78",
    40};

TEST_CASE("what version 0.1 wrote is read, also after the struct has grown", "[core][codec]")
{
    CHECK(StateTraits<r1::Cart>::decode(cart_of_0_1) == r1::Cart{"c-1", 3});
    CHECK(StateTraits<r2::Cart>::decode(cart_of_0_1) == r2::Cart{"c-1", 3, {}});
    CHECK(StateTraits<r1::Line>::decode(line_of_0_1) == r1::Line{"nut", 2});
    CHECK(StateTraits<r2::Line>::decode(line_of_0_1) == r2::Line{"nut", 0.25, 2});
    r1::Order const order{
        "o-1", {{"nut", 2}, {"bolt", -1}}, r1::Line{"cup", 1}, r1::Colour::green, 0.5, true, {7, "x"}};
    CHECK(StateTraits<r1::Order>::decode(order_of_0_1) == order);
    auto const grown = StateTraits<r2::Order>::decode(order_of_0_1);
    REQUIRE(grown);
    CHECK(grown->lines == std::vector<r2::Line>{{"nut", 0.25, 2}, {"bolt", 0.25, -1}});
    CHECK(grown->gift == r2::Line{"cup", 0.25, 1});
    CHECK(grown->both == order.both);
    CHECK(
        StateTraits<std::vector<r1::Cart>>::decode({"\x01\xb9\x51\x19\x84\x01\x01\x61\x02", 9}) ==
        std::vector<r1::Cart>{{"a", 1}});
    CHECK(
        StateTraits<std::optional<r2::Cart>>::decode({"\x01\x66\x64\x39\x27\x01\x01\x61\x02", 9}) ==
        r2::Cart{"a", 1, {}});
    // Cut anywhere, or lengthened, it is refused, and so is another type's.
    for (std::size_t n = 0; n < order_of_0_1.size(); ++n)
        CHECK_FALSE(StateTraits<r2::Order>::decode(order_of_0_1.substr(0, n)));
    CHECK_FALSE(StateTraits<r2::Cart>::decode(std::string{cart_of_0_1} + '\0'));
    CHECK_FALSE(StateTraits<r1::Cart>::decode(line_of_0_1));
    CHECK(
        reason<r1::Line>(cart_of_0_1) ==
        "no: it was written by another shape of the type, which named no members");
}

TEST_CASE("types that cannot grow are stored as version 0.1 stored them", "[core][codec]")
{
    CHECK(encoded(std::vector<int>{1, -1}) == std::string("\x01\x8a\xf4\x04\x3e\x02\x02\x01", 8));
    CHECK(encoded(true) == "\x01\xee\xff\x2a\xd2\x02");
    CHECK(encoded(2.5) == std::string("\x01\x92\x05\x22\xd2\0\0\0\0\0\0\x04\x40", 13));
    CHECK(encoded(std::pair<std::string, int>{"a", 1}) == "\x01\x1a\x50\xb1\xd7\x01\x61\x02");
    CHECK(encoded(7) == "7");
    CHECK(encoded(std::string{"x"}) == "x");
}

TEST_CASE("the stored form of this version is the one that was tested", "[core][codec]")
{
    CHECK(
        encoded(r1::Cart{"c-1", 3}) ==
        "\x02\x0c\x7b\x02\xe0\x6a\x38\x37\x73\x8f\x33\x79\x3a\x69\x03\x63\x2d\x31\x06");
}

// ---- what is no state ---------------------------------------------------------------------------

namespace other {
struct Text {
    std::string id;
    std::string items;
};
BOOST_DESCRIBE_STRUCT(Text, (), (id, items))
struct Deep {
    std::string id;
    std::vector<Text> carts;
};
BOOST_DESCRIBE_STRUCT(Deep, (), (id, carts))
struct DeepCart {
    std::string id;
    std::vector<r1::Cart> carts;
};
BOOST_DESCRIBE_STRUCT(DeepCart, (), (id, carts))
struct Foreign {
    double a{0};
    bool b{false};
};
BOOST_DESCRIBE_STRUCT(Foreign, (), (a, b))
}  // namespace other

TEST_CASE("a member of another kind is refused, and named by its path", "[core][codec]")
{
    CHECK(
        reason<r1::Cart>(encoded(other::Text{"c", "3"})) ==
        "no: member \"items\" is stored as a text, and is something else in this release");
    CHECK(
        reason<other::DeepCart>(encoded(other::Deep{"d", {{"c", "3"}}})) ==
        "no: member \"carts.items\" is stored as a text, and is something else in this release");
    CHECK(
        reason<r1::Cart>(encoded(other::Foreign{})) == "no: it has no member in common with what is stored");
    CHECK(reason<r1::Cart>("\x03whatever") == "no: it has a format that this release does not know");
    CHECK(reason<r1::Cart>("") == "no: it is too short");
}

TEST_CASE("damaged and hostile bytes are refused", "[core][codec]")
{
    auto const good = encoded(r3::Cart{1, "cart", {"n", "m"}, 3, "X"});
    for (std::size_t n = 0; n < good.size(); ++n) {
        CHECK_FALSE(StateTraits<r3::Cart>::decode(std::string_view(good).substr(0, n)));
        CHECK_FALSE(StateTraits<r1::Cart>::decode(std::string_view(good).substr(0, n)));
    }
    CHECK_FALSE(StateTraits<r3::Cart>::decode(good + "x"));
    CHECK_FALSE(StateTraits<r1::Cart>::decode(good + "x"));
    std::mt19937_64 random(7);
    int decoded = 0;
    for (int i = 0; i < 200'000; ++i) {
        auto bytes = good;
        for (auto n = 1 + random() % 3; n-- > 0;)
            bytes[1 + random() % (bytes.size() - 1)] = static_cast<char>(random());
        if (auto const cart = StateTraits<r1::Cart>::decode(bytes)) {
            ++decoded;
            std::string out;
            if (!detail::encode_state_over(bytes, *cart, out) && StateTraits<r1::Cart>::decode(out) != cart)
                FAIL("a decoded value does not survive a round trip");
        }
    }
    CHECK(decoded > 100);

    // Optionals of optionals without end; many elements of no size; a struct with one name twice.
    std::string deep = "\x02";
    deep += std::string("\xa0\x8d\x06", 3) + std::string(100'000, 'o');
    CHECK_FALSE(StateTraits<r1::Cart>::decode(deep));
    CHECK_FALSE(StateTraits<std::vector<r1::Cart>>::decode(std::string("\x02\x03v{\0\xff\xff\x3f", 8)));
    // The same around a member that is no optional any more.
    constexpr std::size_t levels = 400'000;
    std::string shape{"{\x01"};
    auto const hash = detail::name_hash("items");
    for (int shift = 0; shift < 32; shift += 8)
        shape += static_cast<char>(hash >> shift);
    shape += std::string(levels, 'o') + 'i';
    std::string deep_member{"\x02"};
    detail::StringSink sink{deep_member};
    detail::put_varint(sink, shape.size());
    deep_member += shape + std::string(levels, '\x01') + '\x02';
    CHECK_FALSE(StateTraits<r1::Cart>::decode(deep_member));
    std::string wide{"\x02\x88\x04v(\x82\x04", 7};
    wide += std::string(514, '-') + "\xff\xff\x3f";
    CHECK_FALSE(StateTraits<std::vector<r1::Cart>>::decode(wide));
    auto twice = encoded(r1::Cart{"c", 3});
    twice.replace(9, 4, twice.substr(4, 4));
    CHECK_FALSE(StateTraits<r1::Cart>::decode(twice));
}

TEST_CASE("the answer of an operation may grow, too", "[core][codec]")
{
    auto const stored = detail::encode_answer(r1::Cart{"c", 3});
    CHECK(detail::decode_answer<r2::Cart>(stored) == r2::Cart{"c", 3, {}});
    CHECK(detail::decode_answer<r1::Cart>(detail::encode_answer(r2::Cart{"c", 3, "X"})) == r1::Cart{"c", 3});
    CHECK(detail::decode_answer<r2::Cart>(cart_of_0_1) == r2::Cart{"c-1", 3, {}});
}

// ---- bases, numbers with fewer digits, elements without bytes -----------------------------------

namespace bases {
struct Old {
    std::string id;
    int items{0};
};
BOOST_DESCRIBE_STRUCT(Old, (), (id, items))
struct OldCart : Old {
    int points{0};
};
BOOST_DESCRIBE_STRUCT(OldCart, (Old), (points))
struct Base {  // was `Old`
    std::string id;
    int pieces{0};
};
BOOST_DESCRIBE_STRUCT(Base, (), (id, pieces))
struct Cart : Base {
    int points{0};
};
BOOST_DESCRIBE_STRUCT(Cart, (Base), (points))
struct NoHistory {  // what a `Cart` was before the history of its base was asked for
    std::string id;
    int pieces{0};
    int points{0};
};
BOOST_DESCRIBE_STRUCT(NoHistory, (), (id, pieces, points))
struct Hiding : Old {
    int items{0};
};
BOOST_DESCRIBE_STRUCT(Hiding, (Old), (items))
class Closed {
public:
    std::string id;

private:
    int secret{0};
    BOOST_DESCRIBE_CLASS(Closed, (), (id), (), (secret))
};
}  // namespace bases
}  // namespace codec_growth_test

template <>
struct interlock::MemberHistory<codec_growth_test::bases::Base> {
    static constexpr interlock::StoredName renamed[] = {{"pieces", "items"}};
    static constexpr std::string_view removed[] = {"colour"};
};

namespace codec_growth_test {

TEST_CASE("the history of a base holds for the structs that have it", "[core][codec]")
{
    bases::OldCart old;
    old.id = "c";
    old.items = 3;
    old.points = 7;
    auto const cart = StateTraits<bases::Cart>::decode(encoded(old)).value();
    CHECK((cart.pieces == 3 && cart.points == 7));
    CHECK(StateTraits<bases::OldCart>::decode(encoded(cart)).value().items == 3);
    CHECK(StateTraits<bases::Cart>::decode(encoded(bases::NoHistory{"c", 4, 1})).value().pieces == 4);
}

TEST_CASE("nothing that is described is left out of what is stored without a word", "[core][codec]")
{
    // A member that hides one of a base has its name; one that is private is not the codec's to read.
    CHECK_FALSE(StorableState<bases::Hiding>);
    CHECK_FALSE(StorableState<bases::Closed>);
    CHECK_FALSE(StorableState<std::vector<bases::Closed>>);
}

namespace digits {
struct Float {
    std::string id;
    float rate{0};
    std::vector<float> rates;
    int n{0};
};
BOOST_DESCRIBE_STRUCT(Float, (), (id, rate, rates, n))
struct Double {
    std::string id;
    double rate{0};
    std::vector<double> rates;
    int n{0};
};
BOOST_DESCRIBE_STRUCT(Double, (), (id, rate, rates, n))
}  // namespace digits

TEST_CASE("a float may become a double, and the release before keeps its digits", "[core][codec]")
{
    using digits::Double;
    using digits::Float;
    auto const stored = encoded(Double{"c", 0.1, {1.5, 0.7}, 1});
    detail::Reading reading;
    CHECK(detail::decode_state<Float>(stored, reading).value().rate == 0.1F);
    CHECK(reading.newer);
    auto after = [&](auto change) {
        return StateTraits<Double>::decode(written<Float>(stored, change)).value();
    };
    auto const other = after([](Float& f) { f.n = 2; });
    CHECK((other.rate == 0.1 && other.rates[1] == 0.7 && other.n == 2));
    auto const changed = after([](Float& f) { f.rate = 0.5F, f.rates[0] = 2; });
    CHECK((changed.rate == 0.5 && changed.rates[0] == 2));
    CHECK(
        reason<Float>(encoded(Double{"c", 1e300, {}, 1})) ==
        "no: member \"rate\" holds what does not fit, or is damaged");
    // What a `float` has written, and what is no number, is whole.
    detail::Reading own;
    auto const nan = std::numeric_limits<float>::quiet_NaN();
    auto const infinite = std::numeric_limits<float>::infinity();
    CHECK(detail::decode_state<Float>(encoded(Float{"c", 0.1F, {nan, infinite, -0.0F}, 1}), own));
    CHECK_FALSE(own.newer);
}

namespace nothing {
struct Mark {};
BOOST_DESCRIBE_STRUCT(Mark, (), ())
struct Grown {
    int n{5};
};
BOOST_DESCRIBE_STRUCT(Grown, (), (n))
template <class M>
struct List {
    std::string id;
    std::vector<M> marks;
    std::vector<std::tuple<M, std::monostate>> more;
};
BOOST_DESCRIBE_STRUCT(List<Mark>, (), (id, marks, more))
BOOST_DESCRIBE_STRUCT(List<Grown>, (), (id, marks, more))
}  // namespace nothing

TEST_CASE("a vector of structs without members is read again, and they may grow", "[core][codec]")
{
    auto const stored = encoded(nothing::List<nothing::Mark>{"l", std::vector<nothing::Mark>(200), {{}, {}}});
    auto const read = StateTraits<nothing::List<nothing::Mark>>::decode(stored).value();
    CHECK((read.marks.size() == 200 && read.more.size() == 2));
    auto const grown = StateTraits<nothing::List<nothing::Grown>>::decode(stored).value();
    CHECK((grown.marks.size() == 200 && grown.marks[199].n == 5));
    CHECK(StateTraits<nothing::List<nothing::Mark>>::decode(encoded(grown)).value().marks.size() == 200);
}

struct Sheet {
    std::string id;
    std::vector<std::pair<std::optional<r1::Order>, std::optional<r1::Order>>> orders;
};
BOOST_DESCRIBE_STRUCT(Sheet, (), (id, orders))
struct NewSheet : Sheet {
    std::optional<int> more;
};
BOOST_DESCRIBE_STRUCT(NewSheet, (Sheet), (more))

TEST_CASE("the next release reads as many empty optionals of a large struct as there are", "[core][codec]")
{
    auto const stored = encoded(Sheet{"x", {200'000, {std::nullopt, std::nullopt}}});
    auto const read = StateTraits<NewSheet>::decode(stored);
    REQUIRE(read);
    CHECK(read->orders.size() == 200'000);
}

}  // namespace codec_growth_test
