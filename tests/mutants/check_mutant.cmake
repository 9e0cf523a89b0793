# cmake -D PROGRAM=<test program> -D "TEST=<name or tags>" -P check_mutant.cmake
#
# Passes when the program, which was built with a mutant, fails that test, crashes in it, or does not end.
# Fails when the mutant survives, and when there is no such test.

cmake_minimum_required(VERSION 3.23)

set(test "${TEST}")
if(NOT test MATCHES "^[[~]")  # a name, not tags: a comma would begin another
    string(REPLACE "," "\\," test "${test}")
endif()
execute_process(
    COMMAND "${PROGRAM}" "${test}" --abort
    TIMEOUT 60
    RESULT_VARIABLE code
    OUTPUT_VARIABLE output
    ERROR_VARIABLE output)
if(output MATCHES "No test cases matched|No tests ran")
    message(FATAL_ERROR "there is no test '${TEST}':\n${output}")
endif()
if(code STREQUAL "0")
    message(FATAL_ERROR "the mutant survives '${TEST}':\n${output}")
endif()
string(REGEX MATCH "[^\n]*: FAILED:[^\n]*" where "${output}")
message(NOTICE "killed (${code}) by '${TEST}' ${where}")
