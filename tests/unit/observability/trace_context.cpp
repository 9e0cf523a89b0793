// SPDX-License-Identifier: BSL-1.0

// The headers of W3C Trace Context: what is read, what is refused, and what is handed on. The cases of the
// standard's own test suite are among them.

#include <interlock/observability/trace_context.hpp>

#include "support/catch.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace trace_context_test {

using namespace interlock;

std::string const trace = "0af7651916cd43dd8448eb211c80319c";
std::string const span = "b7ad6b7169203331";
std::string const good = "00-" + trace + "-" + span + "-01";

TEST_CASE("a traceparent is read and written as it was", "[observability][trace_context]")
{
    auto const read = TraceContext::parse(good);
    REQUIRE(read);
    CHECK(read->trace_id_text() == trace);
    CHECK(read->span_id_text() == span);
    CHECK(read->sampled());
    CHECK(read->traceparent() == good);
    CHECK(TraceContext::parse("00-" + trace + "-" + span + "-00")->sampled() == false);
    CHECK(TraceContext::parse("00-" + trace + "-" + span + "-ff")->sampled());
    CHECK(TraceContext::parse(" \t" + good + "\t ") == read);  // blanks around a header's value
    CHECK(good.size() == TraceContext::size);
}

TEST_CASE("a damaged traceparent is none", "[observability][trace_context]")
{
    auto const bad = GENERATE_COPY(
        // Too short, too long
        std::string{}, std::string{"00"}, good.substr(0, 54), "00-" + trace + "-" + span + "-1",
        "00-" + trace + "-" + span + "-001", "0-" + trace + "-" + span + "-01",
        "000-" + trace + "-" + span + "-01", "00-" + trace.substr(1) + "-" + span + "-01",
        "00-" + trace + "0-" + span + "-01", "00-" + trace + "-" + span.substr(1) + "-01",
        "00-" + trace + "-" + span + "0-01",
        // What is none of the digits 0 to 9 and a to f
        ".0-" + trace + "-" + span + "-01", "0.-" + trace + "-" + span + "-01",
        "00-." + trace.substr(1) + "-" + span + "-01", "00-" + trace.substr(1) + ".-" + span + "-01",
        "00-" + trace + "-." + span.substr(1) + "-01", "00-" + trace + "-" + span.substr(1) + ".-01",
        "00-" + trace + "-" + span + "-.0", "00-" + trace + "-" + span + "-0.",
        std::string{"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"},
        std::string{"00-0af7651916cd43dd8448eb211c80319c-B7AD6B7169203331-01"},
        "00-" + trace + "-" + span + "-0A",
        // Zero says that there is none
        "00-" + std::string(32, '0') + "-" + span + "-01", "00-" + trace + "-" + std::string(16, '0') + "-01",
        // A version that is forbidden, and fields that version 00 has not
        "ff-" + trace + "-" + span + "-01", good + "-what-the-future-will-be-like", good + "-", good + ".",
        // Other words between the fields
        "00_" + trace + "-" + span + "-01", "00-" + trace + "_" + span + "-01",
        "00-" + trace + "-" + span + "_01", "00-" + trace + " " + span + "-01",
        good.substr(0, 20) + std::string(1, '\0') + good.substr(21));
    INFO(bad);
    CHECK_FALSE(TraceContext::parse(bad));
}

TEST_CASE("of a later version the known fields are read", "[observability][trace_context]")
{
    auto const later = "cc-" + trace + "-" + span + "-03";
    REQUIRE(TraceContext::parse(later));
    CHECK(TraceContext::parse(later)->traceparent() == good);  // its other flags are not ours to hand on
    CHECK(TraceContext::parse(later + "-what-the-future-will-be-like"));
    CHECK_FALSE(TraceContext::parse(later + ".what-the-future-will-be-like"));
}

TEST_CASE("a child is of the same trace, and never without a span", "[observability][trace_context]")
{
    auto const parent = TraceContext::parse(good).value();
    auto const child = parent.child(0x0123456789abcdef);
    CHECK(child.trace_id == parent.trace_id);
    CHECK(child.flags == parent.flags);
    CHECK(child.span_id_text() == "0123456789abcdef");
    CHECK(TraceContext::parse(parent.child(0).traceparent()));
    auto const odd = TraceContext::parse("00-" + trace + "-" + span + "-ff").value();
    CHECK(odd.traceparent().ends_with("-ff"));           // who hands it on as it was
    CHECK(odd.child(1).traceparent().ends_with("-03"));  // who makes one sets no flag that has no meaning yet
    auto const root = TraceContext::root(1, 2, 3);
    CHECK(root.traceparent() == "00-00000000000000010000000000000002-0000000000000003-03");
    CHECK(TraceContext::parse(TraceContext::root(0, 0, 0).traceparent()));
    CHECK_FALSE(TraceContext::root(1, 2, 3, false).sampled());
}

TEST_CASE("a tracestate is read and written in its order", "[observability][trace_context]")
{
    auto const read = TraceState::parse("foo=1 , bar=2\t,\tbaz=3");
    REQUIRE(read);
    CHECK(read->text() == "foo=1,bar=2,baz=3");
    CHECK(read->find("bar") == "2");
    CHECK_FALSE(read->find("ba"));
    CHECK(TraceState::parse("")->empty());
    CHECK(TraceState::parse("foo=1,,,bar=2,")->text() == "foo=1,bar=2");
    CHECK(TraceState::parse("fw529a3039@dt=FfSpMWzTEn4cfB5iLYUp")->find("fw529a3039@dt"));
    std::string const key = "abcdefghijklmnopqrstuvwxyz0123456789_-*/";
    std::string value;
    for (char c = '!'; c <= '~'; ++c)
        if (c != ',' && c != '=')
            value += c;
    CHECK(TraceState::parse(key + "= " + value)->find(key) == " " + value);
}

TEST_CASE("a damaged tracestate is none", "[observability][trace_context]")
{
    std::string const long_key(257, 'a');
    std::string const long_value(257, 'a');
    auto const bad = GENERATE_COPY(
        std::string{"foo"}, std::string{"=1"}, std::string{"foo="}, std::string{"foo=,bar=3"},
        std::string{"foo =1"}, std::string{"foo= "}, std::string{"FOO=1"}, std::string{"foo.bar=1"},
        std::string{"_foo=1"}, std::string{"foo=bar=baz"}, std::string{"foo=1\n,bar=2"},
        std::string{"foo=1\x7f"}, std::string{"foo=\xc3\xa4"}, std::string{"foo=a\tb"},
        std::string{"@foo=1,bar=2"}, std::string{"foo=1,foo=1"}, std::string{"foo=1;bar=2"}, long_key + "=1",
        "a=" + long_value);
    INFO(bad);
    CHECK_FALSE(TraceState::parse(bad));
}

TEST_CASE(
    "a tracestate has at most 32 members, keys and values of 256 bytes", "[observability][trace_context]")
{
    std::string list;
    for (int i = 0; i < 32; ++i)
        list += "k" + std::to_string(i) + "=" + std::to_string(i) + ",";
    auto full = TraceState::parse(list);
    REQUIRE(full);
    CHECK(full->size() == 32);
    CHECK_FALSE(TraceState::parse(list + "more=1"));
    CHECK(full->set("mine", "1"));  // in front; the oldest is forgotten
    CHECK(full->size() == 32);
    CHECK(full->text().starts_with("mine=1,k0=0,"));
    CHECK_FALSE(full->find("k31"));
    CHECK(full->set("k0", std::string(*full->find("k5"))));
    CHECK(full->text().starts_with("k0=5,mine=1,k1=1,"));
    CHECK_FALSE(full->set("Mine", "1"));
    CHECK_FALSE(full->set("mine", "a,b"));
    CHECK(TraceState::parse(std::string(256, 'a') + "=" + std::string(256, 'b')));
    CHECK(TraceState::parse(std::string(241, 't') + "@" + std::string(14, 'v') + "=1"));
    // Keys of Level 2: a digit in front, and `@` anywhere but there.
    for (auto const* key : {"1a", "0", "a@1b", "a@b@c", "a@", "9@@/*-_"})
        CHECK(TraceState::parse(std::string(key) + "=1")->find(key) == "1");
    CHECK(TraceState::parse(std::string(1'000'000, ','))->empty());
}

}  // namespace trace_context_test
