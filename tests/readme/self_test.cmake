# cmake -D WORK=<scratch folder> -P self_test.cmake
#
# check_readme.cmake must accept faithful blocks and refuse every kind of unfaithful one.

cmake_minimum_required(VERSION 3.23)
include("${CMAKE_CURRENT_LIST_DIR}/../support/self_test.cmake")
file(REMOVE_RECURSE "${WORK}")

file(WRITE "${WORK}/examples/sum.cpp" [==[
#include <cstdio>

int main()
{
    // #region sum
    int sum = 0;
    int values[] = {1, 2};

    for (int value : values) {
        sum += value;  // a "quoted;\n" remark
    }
    // #endregion sum
    std::printf("%d\n", sum);
}
// #region open
]==])

set(check ${CMAKE_COMMAND} -D "README=${WORK}/README.md" -D "ROOT=${WORK}"
    -P "${CMAKE_CURRENT_LIST_DIR}/check_readme.cmake")

function(passes what text)
    file(WRITE "${WORK}/README.md" "${text}")
    expect_pass("${what}" ${check})
endfunction()
function(fails what expected text)
    file(WRITE "${WORK}/README.md" "${text}")
    expect_fail("${what}" "${expected}" ${check})
endfunction()

set(sum "<!-- example: examples/sum.cpp -->")
set(sum_region "<!-- example: examples/sum.cpp sum -->")
set(elsewhere "the block does not stand in examples/sum.cpp")

passes("a faithful block" [==[
# Title

<!-- example: examples/sum.cpp -->
```cpp
int sum = 0;
int values[] = {1, 2};
for (int value : values) {
  sum += value;  // a "quoted;\n" remark
}

std::printf("%d\n", sum);
```
]==])
passes("a faithful region" "${sum_region}\n\n```cpp\nint sum = 0;\n\nint values[] = {1, 2};\n```\n")
passes("other languages" "```cmake\nadd_executable(x)\n```\n```\n```cpp\n```\n")

fails("a changed line" "README.md:2: ${elsewhere}" "${sum}\n```cpp\nint sum = 1;\n```\n")
fails("part of a line" "README.md:2: ${elsewhere}" "${sum}\n```cpp\nint sum\n```\n")
fails("a left-out line" "README.md:2: ${elsewhere}"
    "${sum}\n```cpp\nint sum = 0;\nfor (int value : values) {\n```\n")
fails("another order" "README.md:2: ${elsewhere}"
    "${sum}\n```cpp\nint values[] = {1, 2};\nint sum = 0;\n```\n")
fails("outside of the region" "README.md:2: ${elsewhere} sum"
    "${sum_region}\n```cpp\n#include <cstdio>\n```\n")
fails("only the second block is wrong" "README.md:6: ${elsewhere}"
    "${sum}\n```cpp\nint sum = 0;\n```\n${sum}\n```cpp\nint sum = 1;\n```\n")
fails("no marker" "README.md:3: no '<!-- example: <path> -->'" "text\n\n```cpp\nint sum = 0;\n```\n")
fails("a marker further up" "README.md:3: no '<!-- example" "${sum}\ntext\n```cpp\nint sum = 0;\n```\n")
fails("a used-up marker" "README.md:5: no '<!-- example"
    "${sum}\n```cpp\nint sum = 0;\n```\n```cpp\nint sum = 0;\n```\n")
fails("another spelling of C++" "README.md:1: no '<!-- example" "~~~ C++\nint sum = 0;\n~~~\n")
fails("an absent file" "README.md:2: there is no file examples/absent.cpp"
    "<!-- example: examples/absent.cpp -->\n```cpp\nint sum = 0;\n```\n")
fails("an absent region" "examples/sum.cpp has no region 'absent'"
    "<!-- example: examples/sum.cpp absent -->\n```cpp\nint sum = 0;\n```\n")
fails("an open region" "examples/sum.cpp has no region 'open'"
    "<!-- example: examples/sum.cpp open -->\n```cpp\nint sum = 0;\n```\n")
fails("an empty block" "README.md:2: the block is empty" "${sum}\n```cpp\n\n```\n")
fails("an open block" "never closed" "${sum}\n```cpp\nint sum = 0;\n")
file(REMOVE "${WORK}/README.md")
expect_fail("no README" "there is no file" ${check})
