# cmake -D WORK=<scratch folder> -D PROGRAM=<check_habits> -D STYLE=<.clang-format> -P self_test.cmake
#
# Plants one violation of every habit and asserts that each is named, at its line, and nothing else is.

cmake_minimum_required(VERSION 3.23)
include("${CMAKE_CURRENT_LIST_DIR}/../support/self_test.cmake")

set(known "${WORK}/known.txt")
set(check "${PROGRAM}" "${WORK}" "${known}")

# source(<path> <line>...): a ^ stands for a semicolon, which would end an argument.
function(source path)
    list(JOIN ARGN "\n" text)
    string(REPLACE "^" ";" text "${text}")
    file(WRITE "${WORK}/${path}" "${text}\n")
endfunction()

string(REPEAT "wide " 22 wide)
set(exactly "${wide}")  # 110 characters
string(REPEAT "x()^\n" 67 statements)
string(REPEAT "int x^\n" 699 declarations)
string(REPEAT "int x^\n" 399 members)
string(REPEAT "// Why it is so.\n" 40 prose)
string(REPEAT "f(\"a\")^\n" 300 lua)
string(REPEAT "longer/" 20 path)

function(clean_tree)
    file(REMOVE_RECURSE "${WORK}")
    file(WRITE "${known}" "# none\n")
    source(CMakeLists.txt "${exactly}")
    source(include/interlock/core/clean.hpp
        "// SPDX-License-Identifier: BSL-1.0" "" "/// @file" "/// What it is about." ""
        "namespace interlock {" ""
        "/// A thing. `names` may come first, too." "class Thing {" "public:"
        "    /// Makes one." "    explicit Thing(int a = {}) : a_{a}, b_{}" "    {}"
        "    int a() const { return a_^ }"
            "    bool operator<(Thing const& other) const { return a_ < other.a_^ }" ""
        "    int data{0}^" "" "    int load()^  ///< what the store has" "    int claim(int a)^"
            "    ~Thing() = default^" ""
        "private:" "    int hidden()^" "    int a_^" "    int b_^" "}^" "" "namespace detail {"
            "int hidden()^" "}" ""
        "/// What a store can do." "template <class S>"
        "concept Store = requires(S s) {" "    s.claim(1)^" "}^" "" "}  // namespace interlock")
    source(include/interlock/detail/clean.hpp "int hidden()" "^")
    # No public names, and of no account for the share of comments.
    source(include/interlock/impl/clean.ipp "${declarations}")
    source(include/interlock/impl/clean.hpp "${declarations}")
    source(include/interlock/core/prose.hpp "${prose}")
    # 70 lines, 400 lines, 700 lines, 110 characters; and what does not count.
    source(tests/limits.cpp "void f()" "{" "${statements}}")
    source(tests/class.cpp "template <class T>" "class C" "    : public D {" "${members}}^")
    source(tests/lua.hpp "struct C {" "char const* lua = R\"(" "${lua})\"^" "int x{0}^" "${lua}}^")
    source(tests/length.cpp "${declarations}")
    source(tests/lua.cpp "void f()" "{" "g(R\"lua(" "${lua})lua\")^" "}")
    source(tests/sections.cpp "TEST_CASE(\"a\")" "{" "SECTION(\"b\") {" "${statements}}" "SECTION(\"c\") {"
        "${statements}}" "}")
    source(tests/table.cpp "// clang-format off" "int t[] = {${wide}}^" "// clang-format on" "/// | ${wide} |"
        "int u^")
    source(tests/sql.cpp "void f()" "{" "// clang-format off" "${statements}" "x()^" "// clang-format on"
        "x()^" "}")
    source(examples/url.cpp "// See:" "// https://example.org/${path}")
    source(examples/comments.cpp
        "// libpqxx may begin a sentence." "int a^  // no sentence" "// ---- heading" "int b^"
        "// A list:" "// * one thing^" "//   which goes on" "int c^" "// Run with: comments <argument>"
            "int d^")
endfunction()

clean_tree()
expect_pass("clean tree" ${check})

# plant(<expected text> <path> <line>...)
set(planted "")
function(plant expected path)
    source("${path}" ${ARGN})
    set(planted ${planted} "${path}:${expected}" PARENT_SCOPE)
endfunction()

string(REPEAT "f(1, 2)^" 14 long)
plant("1: columns: has 112 characters" cmake/a.cmake "${long}")
plant("2: columns: has 118 characters" tests/a.cpp "int a^" "// WIDE ${wide}")
plant("1: columns: has 112 characters" tests/run "${long}")
plant("2: function: has 71 lines: void f()" tests/b.cpp "int b^" "void f()" "{" "${statements}y()^" "}")
plant("3: function: has 72 lines: int f(int a) const" tests/c.cpp "struct C {" "C() = default^"
    "int f(int a) const {" "${statements}y()^" " " "z()^" "}" "}^")
plant("3: function: has 71 lines: SECTION(\"\")" tests/d.cpp "TEST_CASE(\"a\")" "{" "SECTION(\"b\") {"
    "${statements}y()^" "z()^" "}" "}")
plant("2: function: has 71 lines: void f()" include/interlock/impl/p.ipp "int b^" "void f()" "{"
    "${statements}y()^" "}")
plant("1: comment: begins with a small letter: small" include/interlock/impl/q.ipp "// small letters."
    "int q^")
plant("1: columns: has 112 characters" include/interlock/impl/r.ipp "${long}")
plant("701: file: has 701 lines" include/interlock/impl/s.ipp "${declarations}int y^" "int z^")
plant("2: class: has 401 lines: class F" tests/f.cpp "int f^" "class F {" "${members}int y^" "}^")
plant("3: class: has 401 lines: template <class T> struct F" tests/f.hpp "namespace n {" " "
    "template <class T> struct F {" "${members}int y^" "}^" "}")
plant("701: file: has 701 lines" tests/e.cpp "${declarations}int y^" "int z^")
plant("1: comment: begins with a small letter: small" tests/g.cpp "// small letters." "int g^")
plant("2: comment: ends in the middle of a sentence: and then" tests/h.cpp "// This begins" "// and then"
    "int h^")
plant("1: undocumented: class Bare" include/interlock/i.hpp "class Bare {" "}^")
plant("3: undocumented: void open()" include/interlock/j.hpp "/// One." "struct J {" "void open()^" "}^")
plant("6: undocumented: int second()" include/interlock/k.hpp "/// One." "struct K {" "    /// This."
    "    int first()^" " " "    int second() { return 1^ }" "}^")
plant("4: undocumented: using other = int" include/interlock/l.hpp "/// One." "template <class T>"
    "struct L {"
    "    using other = int^" "}^")
plant("3: undocumented: enum class M" include/interlock/m.hpp "namespace interlock {" " "
    "enum class M { a, b }^" "}")
plant("1: undocumented: using N = int" include/interlock/n.hpp "using N = int^")
plant("5: undocumented: void later()" include/interlock/o.hpp "/// One." "class O {" "    int private_^"
    "public:" "    void later()^" "}^")
expect_fail("planted tree" "${planted}" ${check})
list(LENGTH planted count)
string(REGEX MATCHALL "\n?[^\n:]+:[0-9]+: " named "${output}")
list(LENGTH named named_count)
if(NOT named_count EQUAL count)
    message(FATAL_ERROR "planted ${count} violations, but ${named_count} were named:\n${output}")
endif()

# The share of comments is one of all public headers together.
source(include/interlock/core/bare.hpp "/// One." "struct Bare {" "${members}}^")
expect_fail("public headers without prose"
    "include:1: prose: 52 of 499 lines of the public headers are comment" ${check})

# So are the entries of core/ and the words of the first page.
clean_tree()
string(REPEAT "word " 1800 words)
source(README.md "${words}")
foreach(i RANGE 1 24)
    source(include/interlock/core/entry_${i}.hpp "${prose}")
endforeach()
expect_pass("26 entries and 1,800 words" ${check})
source(README.md "${words}more")
source(include/interlock/core/room/one.hpp "${prose}")
expect_fail("one entry and one word too many"
    "include/interlock/core:1: entries: has 27 entries;README.md:1: words: has 1801 words" ${check})

# What is known is no violation, as long as it is there.
execute_process(COMMAND ${check} --list OUTPUT_FILE "${known}")
expect_pass("all are known" ${check})
file(APPEND "${known}" "columns CMakeLists.txt\n")
expect_fail("one more is known" "no longer needed: columns CMakeLists.txt" ${check})

file(REMOVE_RECURSE "${WORK}")
file(MAKE_DIRECTORY "${WORK}")
expect_fail("empty tree" "there is no source" ${check})
message(NOTICE "habits: all ${count} planted violations are named, and no other")

# The formatter, where it is installed.
set(format ${CMAKE_COMMAND} -D "ROOT=${WORK}" -D "KNOWN=${known}" -P
    "${CMAKE_CURRENT_LIST_DIR}/check_format.cmake")
execute_process(COMMAND ${format} ERROR_VARIABLE output)
if(output MATCHES "SKIPPED")
    message(NOTICE "${output}")
    return()
endif()
file(COPY "${STYLE}" DESTINATION "${WORK}")
file(WRITE "${known}" "# none\n")
source(tests/good.cpp "int a = 1^")
expect_pass("formatted" ${format})
source(tests/bad.cpp "int  a=1^")
expect_fail("not formatted" "tests/bad.cpp: format:" ${format})
file(WRITE "${known}" "format tests/bad.cpp\n")
expect_pass("known not to be formatted" ${format})
source(tests/bad.cpp "int a = 1^")
expect_fail("no longer needed" "no longer needed: format tests/bad.cpp" ${format})
