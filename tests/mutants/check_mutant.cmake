# cmake -D PROGRAM=<test program> -D "TEST=<name or tags>" -P check_mutant.cmake
# cmake -D PROGRAM=<program> -D "TEST=--<arguments>" -P check_mutant.cmake
#
# Passes when the program, which was built with a mutant, fails that test, crashes in it, or does not end. For
# a program of its own, not to end is to survive. Fails when the mutant survives, when it was not built, and
# when there is no such test.

cmake_minimum_required(VERSION 3.23)

if(NOT EXISTS "${PROGRAM}")
    message(FATAL_ERROR "the mutant was not built: there is no ${PROGRAM}")
endif()
if("${TEST}" MATCHES "^--")
    separate_arguments(arguments UNIX_COMMAND "${TEST}")
else()
    set(arguments "${TEST}" --abort)
    if(NOT "${TEST}" MATCHES "^[[~]")  # a name, not tags: a comma would begin another
        string(REPLACE "," "\\," arguments "${TEST}")
        list(APPEND arguments --abort)
    endif()
endif()
execute_process(
    COMMAND "${PROGRAM}" ${arguments}
    TIMEOUT 60
    RESULT_VARIABLE code
    OUTPUT_VARIABLE output
    ERROR_VARIABLE output)
if(output MATCHES "No test cases matched|No tests ran|^usage:")
    message(FATAL_ERROR "there is no test '${TEST}':\n${output}")
endif()
# A program of seeds is given more of them than end in time.
if(code STREQUAL "0" OR ("${TEST}" MATCHES "^--" AND code MATCHES "timeout"))
    message(FATAL_ERROR "the mutant survives '${TEST}':\n${output}")
endif()
string(REGEX MATCH "[^\n]*(: FAILED:|FAILED [a-z ]+:)[^\n]*" where "${output}")
message(NOTICE "killed (${code}) by '${TEST}' ${where}")
