# cmake -D PROBE=<probe.cmake> -D WORK=<scratch folder> -P self_test.cmake
#
# check_compile.cmake must refuse every file that does not fail the way it says it does.

cmake_minimum_required(VERSION 3.23)
include("${CMAKE_CURRENT_LIST_DIR}/../support/self_test.cmake")
file(REMOVE_RECURSE "${WORK}")

include("${PROBE}")
set(other clang)
if(compiler_id MATCHES "Clang")
    set(other gcc)
endif()

# source(<name> <text>)
function(source name text)
    file(WRITE "${WORK}/${name}" "${text}\n")
endfunction()

function(check_command mode name)
    set(check ${CMAKE_COMMAND} -D "PROBE=${PROBE}" -D "SOURCE=${WORK}/${name}" -D MODE=${mode}
        -P "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/check_compile.cmake" PARENT_SCOPE)
endfunction()

# fails(<expected text> <name> <text>), passes(<name> <text>): one file each, under MODE=fail.
function(fails expected name text)
    source(${name} "${text}")
    check_command(fail ${name})
    expect_fail(${name} "${expected}" ${check})
endfunction()
function(passes name text)
    source(${name} "${text}")
    check_command(fail ${name})
    expect_pass(${name} ${check})
endfunction()

source(broken.hpp "template <class T> void broken() { static_assert(sizeof(T) == 0, \"in a header\"); }")

passes(as_expected.cpp "// expect: only [a-z]+\\(\\) here\nstatic_assert(false, \"only this() here\");")
passes(several.cpp
    "// expect: one\n// expect: two\nstatic_assert(false, \"one\");\nstatic_assert(false, \"two\");")
passes(elsewhere.cpp
    "// expect: in a header\n// error-elsewhere\n#include \"broken.hpp\"\nvoid f() { broken<int>(); }")
passes(per_compiler.cpp
    "// expect-gcc: static assertion failed\n// expect-clang: static_assert failed
static_assert(sizeof(int) == 1);")
passes(instantiated.cpp
    "// expect: too late\ntemplate <class T> void f() { static_assert(sizeof(T) == 0, \"too late\"); }
void g() { f<int>(); }")

fails("accepted a file that it must refuse" compiles.cpp "// expect: anything\nint x{};")
fails("no line of the output matches: two"
    one_of_two.cpp "// expect: one\n// expect: two\nstatic_assert(false, \"one\");")
fails("no line of the output matches: missing"
    misspelled.cpp "// expect: missing\nint main() { syntax }")
fails("no line of the output matches: file_name"
    file_name.cpp "// expect: file_name\nint x = nonsense;")
fails("no line of the output matches: echo_of_source"
    echo.cpp "// expect: echo_of_source\nint x = nonsense;  // echo_of_source")
fails("states no '// expect: <regex>'" no_expectation.cpp "int x = nonsense;")
fails("states no '// expect: <regex>'" other_compiler.cpp "// expect-${other}: x\nint x = nonsense;")
fails("malformed expectation: // expect-icc: x" unknown_compiler.cpp "// expect-icc: x\nint x = nonsense;")
fails("malformed expectation: // expect:" empty.cpp "// expect: \nint x = nonsense;")
fails("first error is not on a line of the file itself"
    in_header.cpp "// expect: in a header\n#include \"broken.hpp\"\nvoid f() { broken<int>(); }")
check_command(fail absent.cpp)
expect_fail(absent.cpp "there is no file" ${check})

source(accepted.cpp "#include <interlock/version.hpp>\nstatic_assert(INTERLOCK_VERSION_MAJOR >= 0);")
check_command(pass accepted.cpp)
expect_pass(accepted.cpp ${check})
source(refused.cpp "#include <interlock/no_such_header.hpp>")
check_command(pass refused.cpp)
expect_fail(refused.cpp "refused a file that it must accept" ${check})
source(warned.cpp "int f(long x) { return x; }")
check_command(pass warned.cpp)
expect_fail(warned.cpp "refused a file that it must accept" ${check})
