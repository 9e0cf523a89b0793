// SPDX-License-Identifier: BSL-1.0

#include <interlock/core/key.hpp>
#include <interlock/core/state_traits.hpp>

#include "support/catch.hpp"
#include "support/states.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_set>
#include <utility>
#include <vector>

namespace key_test {

using namespace interlock;
using namespace std::string_literals;
using interlock_test::Account;
using interlock_test::Stock;

template <class A>
Key stock_key(A const& argument)
{
    return make_key<Stock, std::string>(argument);
}

TEST_CASE("a key keeps an embedded NUL and is not cut at it", "[core][key]")
{
    auto const a = stock_key("acct\0A"s);
    auto const b = stock_key("acct\0B"s);
    CHECK(a.bytes() == std::string_view("acct\0A", 6));
    CHECK(a != b);
    CHECK(a != stock_key("acct"));
    CHECK(a.validate());
    CHECK(stock_key(Stock{"acct\0A"s, 1}) == a);
}

TEST_CASE("a view of a key's bytes is taken like the bytes", "[core][key]")
{
    using View = std::string_view;
    CHECK(KeyOrState<View, Stock, std::string>);
    [](auto view) {
        if constexpr (KeyOrState<decltype(view), Stock, std::string>)
            CHECK(stock_key(view) == stock_key("acct\0A"s));
    }(View("acct\0A", 6));
}

TEST_CASE("a literal with an embedded NUL is refused and never cut", "[core][key]")
{
    CHECK(stock_key("acct\0A").validate().errc() == Errc::invalid_argument);
    CHECK(stock_key("acct").bytes() == "acct");
}

TEST_CASE("a literal with an embedded NUL among several keys is not cut either", "[core][key]")
{
    auto const both = keys("acct\0A", "other");
    auto const first = stock_key(std::get<0>(both.parts()));
    CHECK(first.bytes() != "acct");
}

TEST_CASE("a character buffer with bytes behind its NUL is refused, not guessed", "[core][key]")
{
    char buffer[16] = {'a', 'b', 'c', '\0', 'r', 'e', 's', 't'};
    CHECK_FALSE(stock_key(buffer).valid());
}

TEST_CASE("bytes that are no UTF-8 make a key like any other", "[core][key]")
{
    auto const key = stock_key("\xff\xfe"s);
    CHECK(key.validate());
    CHECK(key.bytes() == "\xff\xfe");
}

TEST_CASE("keys that differ only in case or Unicode normalisation are different keys", "[core][key]")
{
    CHECK(stock_key("sku"s) != stock_key("SKU"s));
    CHECK(stock_key("\xc3\xa9"s) != stock_key("e\xcc\x81"s));  // the same letter, composed and decomposed
    CHECK(stock_key("a"s) != stock_key("a "s));
}

TEST_CASE("a key has 1 to 512 bytes", "[core][key]")
{
    CHECK(Key{""s}.validate().errc() == Errc::invalid_argument);
    CHECK(Key{}.validate().errc() == Errc::invalid_argument);
    CHECK(Key{"a"s}.validate());
    CHECK(Key{std::string(512, 'a')}.validate());
    CHECK(Key{std::string(513, 'a')}.validate().errc() == Errc::invalid_argument);
    auto const large = Key{std::string(1 << 20, 'a')}.validate();
    CHECK(large.errc() == Errc::invalid_argument);
    CHECK_THAT(large.detail(), Catch::Matchers::ContainsSubstring("1048576"));
    CHECK_THAT(large.detail(), Catch::Matchers::ContainsSubstring("512"));
}

TEST_CASE("special characters in a key have no effect", "[core][key]")
{
    std::vector<std::string> const names{"/",    "..",   "*", "?",  "[", "]",  "{}",    ":",
                                         "\r\n", "%s%n", "'", "\"", ";", "--", "a/../b"};
    std::set<Key> seen;
    for (auto const& name : names) {
        auto const key = stock_key(name);
        CHECK(key.validate());
        CHECK(key.bytes() == name);
        seen.insert(key);
    }
    CHECK(seen.size() == names.size());
}

template <class K>
void check_integer_order(std::vector<K> values)
{
    std::sort(values.begin(), values.end());
    values.erase(std::unique(values.begin(), values.end()), values.end());
    for (std::size_t i = 0; i < values.size(); ++i) {
        auto const bytes = KeyTraits<K>::encode(values[i]);
        CHECK(bytes.size() == 8);
        CHECK(KeyTraits<K>::decode(bytes) == values[i]);
        CHECK(KeyTraits<K>::matches(Key{bytes}, values[i]));
        if (i > 0)
            CHECK(KeyTraits<K>::encode(values[i - 1]) < bytes);
    }
}

TEST_CASE("integer keys are ordered as numbers, and are decoded to the same numbers", "[core][key]")
{
    constexpr auto max = std::numeric_limits<std::int64_t>::max();
    constexpr auto min = std::numeric_limits<std::int64_t>::min();
    std::mt19937_64 random(1);
    std::vector<std::int64_t> values{min, min + 1, -65536, -256, -255,  -1,      0,  1,
                                     127, 128,     255,    256,  65536, max - 1, max};
    for (int i = 0; i < 200; ++i)
        values.push_back(static_cast<std::int64_t>(random()));
    check_integer_order(values);
    check_integer_order<int>({-2147483647 - 1, -1, 0, 1, 2147483647});
    check_integer_order<std::uint64_t>({0, 1, 255, 256, std::uint64_t{1} << 63, ~std::uint64_t{0}});
    check_integer_order<unsigned char>({0, 1, 127, 128, 255});

    enum class Level : signed char { low = -3, high = 9 };
    CHECK(KeyTraits<Level>::encode(Level::low) < KeyTraits<Level>::encode(Level::high));
    CHECK(KeyTraits<Level>::decode(KeyTraits<Level>::encode(Level::low)) == Level::low);
}

TEST_CASE("the key of a state is its first described member", "[core][key]")
{
    CHECK(stock_key(Stock{"sku-1", 3}) == stock_key("sku-1"));
    CHECK(make_key<Account, std::int64_t>(Account{7, 1, ""}) == make_key<Account, std::int64_t>(7));
    CHECK(stock_key(Key{"raw"s}) == Key{"raw"s});
}

TEST_CASE("different keys of several parts have different bytes", "[core][key]")
{
    using Pair = std::pair<std::string, std::string>;
    CHECK(KeyTraits<Pair>::encode({"a", "bc"}) != KeyTraits<Pair>::encode({"ab", "c"}));
    CHECK(KeyTraits<Pair>::encode({"", "a"}) != KeyTraits<Pair>::encode({"a", ""}));

    // A small alphabet that holds the bytes a length is made of makes collisions likely, if there are any.
    using Triple = std::tuple<std::string, int, std::string>;
    std::mt19937_64 random(2);
    auto const text = [&] {
        std::string out(random() % 5, '\0');
        for (auto& c : out)
            c = "\0\1\2\3a"[random() % 5];
        return out;
    };
    std::map<std::string, Triple> seen;
    int different = 0;
    for (int i = 0; i < 100'000; ++i) {
        Triple const key{text(), static_cast<int>(random() % 3) - 1, text()};
        auto const [it, fresh] = seen.try_emplace(KeyTraits<Triple>::encode(key), key);
        different += fresh ? 1 : 0;
        if (!fresh && it->second != key)
            FAIL("two keys have one encoding");
    }
    CHECK(different > 1000);
}

TEST_CASE("keys of several parts are decoded to the same parts, and other bytes do no harm", "[core][key]")
{
    using Triple = std::tuple<std::string, int, std::pair<std::int64_t, std::string>>;
    Triple const key{"a\0b"s, -7, {std::numeric_limits<std::int64_t>::min(), ""}};
    CHECK(KeyTraits<Triple>::decode(KeyTraits<Triple>::encode(key)) == key);
    auto const whole = KeyTraits<Triple>::encode(key);
    for (std::size_t n = 0; n < whole.size(); ++n) {
        auto const cut = whole.substr(0, n);
        CHECK(KeyTraits<Triple>::encode(KeyTraits<Triple>::decode(cut)) != cut);
    }
    static_cast<void>(KeyTraits<Triple>::decode(std::string(40, '\xff')));
    // A described struct is a tuple of its members.
    using interlock_test::Stock;
    auto const bytes = KeyTraits<Stock>::encode(Stock{"a", 7});
    CHECK(bytes == KeyTraits<std::tuple<std::string, int>>::encode({"a", 7}));
    CHECK(KeyTraits<Stock>::decode(bytes) == Stock{"a", 7});
}

TEST_CASE("equal keys have equal hashes and order is by unsigned bytes", "[core][key]")
{
    CHECK(Key{"a"s}.hash() == Key{"a"s}.hash());
    CHECK((Key{"a"s} < Key{"b"s}));
    CHECK((Key{"\x7f"s} < Key{"\x80"s}));
    CHECK((Key{"a"s} < Key{"aa"s}));
    std::unordered_set<Key> const set{Key{"a"s}, Key{"a"s}, Key{"b"s}};
    CHECK(set.size() == 2);
}

TEST_CASE("keys() keeps the order of the call", "[core][key]")
{
    auto const both = keys(std::string("b"), 4);
    CHECK(std::get<0>(both.parts()) == "b");
    CHECK(std::get<1>(both.parts()) == 4);
    CHECK(decltype(both)::size == 2);
}

}  // namespace key_test
