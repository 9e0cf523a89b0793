// SPDX-License-Identifier: BSL-1.0

// The stored form of described types: what is written is read back, and what was not written by this very
// shape, or by one that it has grown from (codec_growth.cpp), is refused.
//
// How it works: a large sample (`Order`) has a member of every kind. Its bytes are cut at each place,
// lengthened, or replaced by random ones, and other structs with almost the same shape (`Renamed`,
// `Reordered`, `Retyped`, `Extended`) try to read them. Nothing may be read wrongly, and nothing may be
// allocated for a false length.

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/state_traits.hpp>

#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/states.hpp"

#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

namespace state_traits_test {

using namespace interlock;
using interlock_test::Account;
using interlock_test::Stock;

enum class Colour : std::uint8_t { red = 1, blue = 200 };

struct Line {
    std::string article;
    std::uint64_t pieces{0};
    friend bool operator==(Line const&, Line const&) = default;
};
BOOST_DESCRIBE_STRUCT(Line, (), (article, pieces))

struct Order {
    std::string id;
    Line first;
    std::vector<Line> lines;
    std::optional<std::string> note;
    Colour colour{Colour::red};
    std::int64_t balance{0};
    double rate{0};
    float weight{0};
    bool paid{false};
    char mark{'a'};
    std::pair<int, std::string> both;
    std::tuple<std::uint8_t, std::int16_t> small;
    friend bool operator==(Order const&, Order const&) = default;
};
BOOST_DESCRIBE_STRUCT(
    Order, (), (id, first, lines, note, colour, balance, rate, weight, paid, mark, both, small))

struct Base {
    int inherited{0};
};
BOOST_DESCRIBE_STRUCT(Base, (), (inherited))
struct Derived : Base {
    int own{0};
};
BOOST_DESCRIBE_STRUCT(Derived, (Base), (own))

// The same shape as Stock in bytes, and yet another schema each.
struct Renamed {
    std::string sku;
    int amount{0};
};
BOOST_DESCRIBE_STRUCT(Renamed, (), (sku, amount))
struct Reordered {
    int quantity{0};
    std::string sku;
};
BOOST_DESCRIBE_STRUCT(Reordered, (), (quantity, sku))
struct Retyped {
    std::string sku;
    bool quantity{false};
};
BOOST_DESCRIBE_STRUCT(Retyped, (), (sku, quantity))
struct Extended {
    std::string sku;
    int quantity{0};
    std::optional<int> more;
};
BOOST_DESCRIBE_STRUCT(Extended, (), (sku, quantity, more))
struct Nested {
    std::tuple<std::tuple<int>, int> numbers;
};
BOOST_DESCRIBE_STRUCT(Nested, (), (numbers))
struct NestedOtherwise {
    std::tuple<std::tuple<int, int>> numbers;
};
BOOST_DESCRIBE_STRUCT(NestedOtherwise, (), (numbers))

template <class T>
std::string encoded(T const& value)
{
    std::string out;
    StateTraits<T>::encode(value, out);
    return out;
}

Order sample()
{
    return {
        "order-1",
        {"nut", std::numeric_limits<std::uint64_t>::max()},
        {{"bolt", 0}, {"", std::uint64_t{1} << 63}, {std::string("\0x", 2), (std::uint64_t{1} << 63) - 1}},
        "",
        Colour::blue,
        std::numeric_limits<std::int64_t>::min(),
        -0.1,
        1.5F,
        true,
        '\0',
        {-1, "b"},
        {255, -32768}};
}

template <class T>
void check_round_trip(T const& value)
{
    auto const bytes = encoded(value);
    auto const back = StateTraits<T>::decode(bytes);
    REQUIRE(back);
    CHECK((*back == value));
    CHECK(StateTraits<T>::encoded_size(value) == bytes.size());
}

TEST_CASE("described structs are decoded to the same values", "[core][state_traits]")
{
    check_round_trip(Stock{"sku-1", 3});
    check_round_trip(Stock{});
    check_round_trip(sample());
    check_round_trip(Order{});
    for (auto n :
         {0LL, 1LL, -1LL, 63LL, 64LL, -64LL, -65LL, 1LL << 62, -(1LL << 62),
          std::numeric_limits<long long>::max()}) {
        Order order;
        order.balance = n;
        check_round_trip(order);
    }
    for (auto n : {0ULL, 1ULL, 127ULL, 128ULL, 1ULL << 62, (1ULL << 63) - 1, 1ULL << 63, ~0ULL})
        check_round_trip(Line{"x", n});
    for (auto d :
         {0.0, 1e308, -1e-308, std::numeric_limits<double>::infinity(),
          std::numeric_limits<double>::denorm_min()}) {
        Order order;
        order.rate = d;
        check_round_trip(order);
    }
    Order not_a_number;
    not_a_number.rate = std::nan("");
    CHECK(std::isnan(StateTraits<Order>::decode(encoded(not_a_number))->rate));

    Derived derived;
    derived.inherited = 4;
    derived.own = 5;
    auto const back = StateTraits<Derived>::decode(encoded(derived));
    REQUIRE(back);
    CHECK(back->inherited == 4);
    CHECK(back->own == 5);
}

TEST_CASE("values of the vocabulary types are decoded to the same values", "[core][state_traits]")
{
    check_round_trip(std::string("a\0b", 3));
    check_round_trip(std::string());
    check_round_trip(std::vector<int>{1, -1, 0});
    check_round_trip(std::vector<bool>{true, false});
    check_round_trip(std::optional<int>{});
    check_round_trip(std::optional<int>{-7});
    check_round_trip(std::pair<std::string, double>{"x", 2.5});
    check_round_trip(true);
    check_round_trip(2.5);
    check_round_trip(std::vector<std::monostate>(3));
}

TEST_CASE("integers are stored as decimal text, and the size is that of the text", "[core][state_traits]")
{
    for (auto n : {0, 1, -1, 9, 10, 2147483647, -2147483647 - 1}) {
        CHECK(encoded(n) == std::to_string(n));
        CHECK(StateTraits<int>::decode(encoded(n)) == n);
        CHECK(StateTraits<int>::encoded_size(n) == encoded(n).size());
    }
    CHECK(StateTraits<std::uint64_t>::decode("18446744073709551615") == ~std::uint64_t{0});
    for (auto const* bad : {"", " 1", "1 ", "+1", "1x", "x", "99999999999", "0x1", "--1", "1.0"})
        CHECK_FALSE(StateTraits<int>::decode(bad));
}

TEST_CASE("bytes cut anywhere are refused", "[core][state_traits]")
{
    auto const bytes = encoded(sample());
    for (std::size_t n = 0; n < bytes.size(); ++n) {
        INFO(n << " of " << bytes.size());
        CHECK_FALSE(StateTraits<Order>::decode(std::string_view(bytes).substr(0, n)));
    }
}

TEST_CASE("a byte too many is refused", "[core][state_traits]")
{
    auto const bytes = encoded(sample());
    for (char extra : {'\0', '\1', '\xff'})
        CHECK_FALSE(StateTraits<Order>::decode(bytes + extra));
}

TEST_CASE(
    "bytes of a shape that has neither grown nor been put in another order are refused",
    "[core][state_traits]")
{
    auto const bytes = encoded(Stock{"sku-1", 1});
    CHECK(StateTraits<Stock>::decode(bytes));
    CHECK_FALSE(StateTraits<Renamed>::decode(bytes));
    CHECK_FALSE(StateTraits<Retyped>::decode(bytes));
    CHECK_FALSE(StateTraits<Account>::decode(bytes));
    CHECK_FALSE(StateTraits<Order>::decode(bytes));
    CHECK(StateTraits<Reordered>::decode(bytes));
    CHECK(StateTraits<Extended>::decode(bytes));  // see codec_growth.cpp
    CHECK_FALSE(StateTraits<NestedOtherwise>::decode(encoded(Nested{{{1}, 2}})));
}

TEST_CASE("a number that does not fit the reader is refused and never wrapped", "[core][state_traits]")
{
    using Wide = std::vector<std::int64_t>;
    using Narrow = std::vector<std::int8_t>;
    using Unsigned = std::vector<std::uint32_t>;
    CHECK(StateTraits<Narrow>::decode(encoded(Wide{-128, 127})) == Narrow{-128, 127});
    CHECK_FALSE(StateTraits<Narrow>::decode(encoded(Wide{128})));
    CHECK_FALSE(StateTraits<Narrow>::decode(encoded(Wide{-129})));
    CHECK_FALSE(StateTraits<Unsigned>::decode(encoded(Wide{-1})));
    CHECK_FALSE(StateTraits<Unsigned>::decode(encoded(Wide{std::int64_t{1} << 32})));
    CHECK_FALSE(StateTraits<Wide>::decode(encoded(std::vector<std::uint64_t>{~std::uint64_t{0}})));
}

TEST_CASE(
    "random bytes are decoded or refused, and what is decoded is encoded to the same bytes",
    "[core][state_traits]")
{
    std::mt19937_64 random(6);
    auto const good = encoded(sample());
    int decoded = 0;
    for (int i = 0; i < 100'000; ++i) {
        std::string bytes;
        if (i % 2 == 0) {  // some bytes changed
            bytes = good;
            for (auto n = random() % 4; n-- > 0;)
                bytes[5 + random() % (bytes.size() - 5)] = static_cast<char>(random());
        } else {  // a right header, then anything
            bytes = good.substr(0, 5);
            for (auto n = random() % 60; n-- > 0;)
                bytes += static_cast<char>(random() % 4 == 0 ? random() : random() % 4);
        }
        if (auto const order = StateTraits<Order>::decode(bytes)) {
            ++decoded;
            auto const again = StateTraits<Order>::decode(encoded(*order));
            if (!again || encoded(*again) != encoded(*order))
                FAIL("a decoded value does not survive a round trip");
        }
    }
    CHECK(decoded > 100);
    CHECK(decoded < 100'000);
}

TEST_CASE("a length beyond the bytes is refused without allocating it", "[core][state_traits]")
{
    auto const header = encoded(std::vector<std::string>{}).substr(0, 5);
    CHECK_FALSE(
        StateTraits<std::vector<std::string>>::decode(header + "\xff\xff\xff\xff\xff\xff\xff\xff\x7f"));
    CHECK_FALSE(StateTraits<std::vector<std::string>>::decode(header + "\x01\xff\xff\xff\xff\x0f"));
}

TEST_CASE("a fresh state has the key it was made for", "[core][state_traits]")
{
    CHECK(StateTraits<Stock>::from_key("sku-9") == Stock{"sku-9", 0});
    CHECK(StateTraits<std::string>::from_key("k") == "k");
    CHECK(StateTraits<int>::key(4) == 4);
}

// Described, but without an operator==, and with members that have none.
struct Part {
    int n{0};
};
BOOST_DESCRIBE_STRUCT(Part, (), (n))
struct Whole {
    std::string id;
    std::optional<Part> maybe;
    Part part;
};
BOOST_DESCRIBE_STRUCT(Whole, (), (id, maybe, part))

TEST_CASE("described states without operator== are compared by member", "[core][state_traits]")
{
    CHECK(detail::surely_equal(Part{1}, Part{1}));
    CHECK_FALSE(detail::surely_equal(Part{1}, Part{2}));
    CHECK_FALSE(detail::surely_equal(Whole{"a", {}, {1}}, Whole{"a", {}, {2}}));
    CHECK(detail::surely_equal(Stock{"a", 1}, Stock{"a", 1}));
    CHECK_FALSE(detail::surely_equal(Stock{"a", 1}, Stock{"a", 2}));
}

TEST_CASE("values that are equal but stored differently do not count as equal", "[core][state_traits]")
{
    CHECK_FALSE(detail::surely_equal(0.0, -0.0));
}

// Equal when the ids are, as entities often are.
struct Entity {
    std::string id;
    int n{0};
    friend bool operator==(Entity const& a, Entity const& b) { return a.id == b.id; }
};
struct Holder {
    std::string id;
    std::map<int, Entity> entities;
};
BOOST_DESCRIBE_STRUCT(Holder, (), (id, entities))
class Closed {
public:
    std::string id;
    void set(int n) { n_ = n; }

private:
    int n_{0};
    BOOST_DESCRIBE_CLASS(Closed, (), (id), (), (n_))
};
struct Coded : Entity {};
struct Times {
    std::string id;
    std::chrono::sys_seconds at;
    std::chrono::duration<double> lasts{0};
    std::map<std::string, std::optional<double>> prices;
    std::variant<int, std::string> what;
    std::array<int, 2> two{};
};
BOOST_DESCRIBE_STRUCT(Times, (), (id, at, lasts, prices, what, two))
}  // namespace state_traits_test

template <>
struct interlock::StateTraits<state_traits_test::Coded> {
    using Coded = state_traits_test::Coded;
    static std::string key(Coded const& state) { return state.id; }
    static void encode(Coded const& state, std::string& out) { out += state.id + std::to_string(state.n); }
    static std::optional<Coded> decode(std::string_view) { return std::nullopt; }
};

namespace state_traits_test {

TEST_CASE("the == of a user's class alone does not make states equal", "[core][state_traits]")
{
    Entity const changed{"e", 1};
    CHECK_FALSE(detail::surely_equal(Entity{"e", 0}, changed));
    CHECK_FALSE(detail::can_compare<Entity>());
    CHECK_FALSE(detail::surely_equal(Holder{"h", {{1, {"e", 0}}}}, Holder{"h", {{1, changed}}}));
    CHECK(detail::surely_equal(Coded{{"e", 1}}, Coded{{"e", 1}}));
    CHECK_FALSE(detail::surely_equal(Coded{{"e", 0}}, Coded{{"e", 1}}));
    Closed a;
    Closed b;
    b.set(1);
    CHECK_FALSE(detail::surely_equal(a, b));
    a.set(1);
    CHECK_FALSE(detail::surely_equal(a, b));  // equal, but that cannot be told
}

struct Tree {
    std::string id;
    std::vector<Tree> branches;
};
BOOST_DESCRIBE_STRUCT(Tree, (), (id, branches))

TEST_CASE("a struct within itself has no stored form by itself, and is compared", "[core][state_traits]")
{
    STATIC_REQUIRE_FALSE(StorableState<Tree>);
    STATIC_REQUIRE(StorableState<std::pair<Line, std::vector<Line>>>);
    Tree const tree{"a", {{"b", {}}, {"c", {{"d", {}}}}}};
    auto other = tree;
    CHECK(detail::surely_equal(tree, other));
    other.branches[1].branches[0].id = "e";
    CHECK_FALSE(detail::surely_equal(tree, other));
    memory::StateRepository<Tree> const trees;
    static_cast<void>(trees.insert(tree).value());
    CHECK(trees.load("a").value().value.branches.size() == 2);
}

TEST_CASE("a class with a part that nobody may read is no key by itself", "[core][state_traits]")
{
    STATIC_REQUIRE(KeyType<Part>);
    STATIC_REQUIRE_FALSE(KeyType<Closed>);
}

TEST_CASE("states are compared to the last part of their members", "[core][state_traits]")
{
    Times const one{"t", {}, {}, {{"a", 0.0}}, 1, {}};
    CHECK(detail::surely_equal(one, Times{one}));
    auto const differs = [&](auto change) {
        auto other = one;
        change(other);
        return !detail::surely_equal(one, other);
    };
    CHECK(differs([](Times& t) { t.prices["a"] = -0.0; }));
    CHECK(differs([](Times& t) { t.prices["a"].reset(); }));
    CHECK(differs([](Times& t) { t.prices["b"]; }));
    CHECK(differs([](Times& t) { t.at += std::chrono::seconds{1}; }));
    CHECK(differs([](Times& t) { t.lasts = std::chrono::duration<double>{-0.0}; }));
    CHECK(differs([](Times& t) { t.what = "x"; }));
    CHECK(differs([](Times& t) { t.what = 2; }));
    CHECK(differs([](Times& t) { t.two[1] = 1; }));
}

TEST_CASE("the stored answer of an operation without a result is empty", "[core][state_traits]")
{
    CHECK(detail::encode_answer(std::monostate{}).empty());
    CHECK(detail::decode_answer<std::monostate>(""));
    CHECK_FALSE(detail::decode_answer<std::monostate>("x"));
    CHECK(detail::decode_answer<int>(detail::encode_answer(42)) == 42);
}

}  // namespace state_traits_test
