// SPDX-License-Identifier: BSL-1.0

// A URL that cannot be read: which character is wrong, and where it stands, without a word of the password.

#include <interlock/core/kit/net/url.hpp>

#include "support/catch.hpp"

#include <string>
#include <vector>

namespace reasons_of_urls_test {

using namespace interlock;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("a character that no URL may have is named with its place", "[url]")
{
    struct Row {
        std::string url;
        std::string says;
    };
    for (auto const& row : std::vector<Row>{
             {"redis://:hunter2%@h", "'%' at character 17"},
             {"redis://:hunter2%zz@h", "'%' at character 17"},
             {"redis://:hunter2%4@h", "'%' at character 17"},
             {"redis://:hunter2@h/0?name_space=%", "'%' at character 33"},
             {"redis://:hunter2@h\n", "(%0A) at character 19"},
             {"redis://:hunter2@h/\t", "(%09) at character 20"},
             {std::string("redis://h\0", 10), "(%00) at character 10"},
             {"redis://:hunter2#@h", "'#' at character 17"},
             {"redis://:hunter2@h:6379x", "port"},
             {"redis://:hunter2/x@h", "%2F"},
             {"redis://:hunter2@my host", "blank"}}) {
        CAPTURE(row.says);
        auto const read = Url::read(row.url, "the URL: ");
        CHECK(read.errc() == Errc::invalid_argument);
        CHECK_THAT(read.detail(), ContainsSubstring(row.says));
        CHECK_THAT(read.detail(), !ContainsSubstring("hunter2"));
    }
}

TEST_CASE("a password may have any character that is written as an escape", "[url]")
{
    auto const url = Url::read("redis://a%40b:%40%3a%2F%25%23%3F%26%20%27%5c%C3%BC=@h:1/0", "").value();
    CHECK(url.user == "a@b");
    CHECK(url.password == "@:/%#?& '\\\xC3\xBC=");
    std::string const token(1500, 'a');
    CHECK(Url::read("redis://:" + token + "%3D%26%25@h", "").value().password == token + "=&%");
}

}  // namespace reasons_of_urls_test
