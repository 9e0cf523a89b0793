# cmake -D PROBE=<probe.cmake> -D SOURCE=<file> -D MODE=fail|pass -P check_compile.cmake
#
# Compiles one file with -fsyntax-only, which instantiates templates too and needs no build tree.
#
# MODE=fail: the compiler must refuse, its first error must be on a line of SOURCE itself, and every
# expectation in SOURCE must match one line of the output. Expectations are comment lines:
#
#     // expect: <CMake regex>          for every compiler
#     // expect-gcc: <CMake regex>      for g++ only
#     // expect-clang: <CMake regex>    for clang only
#     // error-elsewhere                the first error may be in another file
#     // options: <flag>...             more flags for this file; likewise options-gcc and options-clang
#
# Echoes of source text are switched off and file names do not count, so an expectation cannot match itself.
#
# MODE=pass: the compiler must accept the file, with our warnings as errors.
#
# PROBE sets compiler, compiler_id, include_directories, implicit_include_directories, definitions,
# options (a list each), warnings and own_directory.

cmake_minimum_required(VERSION 3.23)
include("${CMAKE_CURRENT_LIST_DIR}/../support/lines.cmake")
include("${PROBE}")

if(NOT EXISTS "${SOURCE}")
    message(FATAL_ERROR "there is no file '${SOURCE}'")
endif()

set(command "${compiler}" ${options})
list(REMOVE_ITEM include_directories "" ${implicit_include_directories})
foreach(directory IN LISTS include_directories)
    string(FIND "${directory}/" "${own_directory}/" at)
    if(at EQUAL 0)
        list(APPEND command "-I${directory}")
    else()
        list(APPEND command -isystem "${directory}")
    endif()
endforeach()
list(TRANSFORM definitions PREPEND -D)
list(APPEND command ${definitions} -fsyntax-only -fdiagnostics-color=never)
if(MODE STREQUAL "pass")
    list(APPEND command ${warnings})
elseif(compiler_id STREQUAL "GNU")
    list(APPEND command -fno-diagnostics-show-caret)
else()
    list(APPEND command -fno-caret-diagnostics)
endif()

set(own_suffix -gcc)
if(compiler_id MATCHES "Clang")
    set(own_suffix -clang)
endif()
interlock_read_lines("${SOURCE}" lines)
foreach(line IN LISTS lines)
    if(line MATCHES "^// options(-gcc|-clang)?: *([^ ].*)$")
        set(only_for "${CMAKE_MATCH_1}")
        separate_arguments(flags NATIVE_COMMAND "${CMAKE_MATCH_2}")
        if(only_for STREQUAL "" OR only_for STREQUAL own_suffix)
            list(APPEND command ${flags})
        endif()
    endif()
endforeach()

# The C locale keeps the quotation marks of g++ in ASCII.
execute_process(
    COMMAND ${CMAKE_COMMAND} -E env LC_ALL=C ${command} "${SOURCE}"
    RESULT_VARIABLE code OUTPUT_VARIABLE output ERROR_VARIABLE output)
message(NOTICE "${output}")

if(MODE STREQUAL "pass")
    if(NOT code EQUAL 0)
        message(FATAL_ERROR "the compiler refused a file that it must accept (${code})")
    endif()
    return()
elseif(NOT MODE STREQUAL "fail")
    message(FATAL_ERROR "MODE is '${MODE}', expected fail or pass")
endif()

if(code EQUAL 0)
    message(FATAL_ERROR "the compiler accepted a file that it must refuse")
endif()
if(NOT code MATCHES "^[0-9]+$" OR output MATCHES "internal compiler error|PLEASE submit a bug report")
    message(FATAL_ERROR "the compiler broke down instead of refusing the file (${code})")
endif()

set(expected "")
set(elsewhere FALSE)
foreach(line IN LISTS lines)
    if(line MATCHES "^// expect(-gcc|-clang)?: *([^ ].*)$")
        set(only_for "${CMAKE_MATCH_1}")
        string(STRIP "${CMAKE_MATCH_2}" regex)
        if(only_for STREQUAL "" OR only_for STREQUAL own_suffix)
            list(APPEND expected "${regex}")
        endif()
    elseif(line MATCHES "^// expect")
        interlock_plain("${line}" text)
        message(FATAL_ERROR "malformed expectation: ${text}")
    elseif(line MATCHES "^// error-elsewhere")
        set(elsewhere TRUE)
    endif()
endforeach()
if(NOT expected)
    message(FATAL_ERROR "the file states no '// expect: <regex>' for ${compiler_id}")
endif()

set(first_error "")
set(messages "")
interlock_split_lines("${output}" lines)
foreach(line IN LISTS lines)
    # An expectation is about what is said, so it must not match the name of a file.
    if(NOT line MATCHES "^(In file included| +)from ")
        string(REPLACE "${SOURCE}" "test.cpp" message "${line}")
        string(REGEX REPLACE "^[^ ]+\\.[a-z]+:([0-9]+:)* +" "" message "${message}")
        list(APPEND messages "${message}")
    endif()
    if(NOT first_error AND line MATCHES "^(.+):[0-9]+:[0-9]+: (fatal )?error: ")
        set(first_error "${line}")
        set(first_file "${CMAKE_MATCH_1}")
    endif()
endforeach()
if(NOT first_error)
    message(FATAL_ERROR "the output has no line '<file>:<line>:<column>: error: ...'")
endif()
if(NOT elsewhere AND NOT first_file STREQUAL SOURCE)
    interlock_plain("${first_error}" text)
    message(FATAL_ERROR "the first error is not on a line of the file itself: ${text}")
endif()

foreach(encoded IN LISTS expected)
    interlock_plain("${encoded}" regex)
    set(matched FALSE)
    foreach(line IN LISTS messages)
        interlock_plain("${line}" text)
        if(text MATCHES "${regex}")
            set(matched TRUE)
            break()
        endif()
    endforeach()
    if(NOT matched)
        message(FATAL_ERROR "no line of the output matches: ${regex}")
    endif()
endforeach()
