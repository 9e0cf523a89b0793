# cmake -D PROGRAM=<built with self_test.patch> -D WORK=<folder> -D INCLUDE=<include/> -P self_test.cmake
#
# Mutants that cannot be killed, tests that are not there and patches that do not fit must be reported.

cmake_minimum_required(VERSION 3.23)

# refused(<text> <command>...): the command fails and says so.
function(refused text)
    execute_process(COMMAND ${ARGN} RESULT_VARIABLE code OUTPUT_VARIABLE output ERROR_VARIABLE output)
    if(code EQUAL 0 OR NOT output MATCHES "${text}")
        message(FATAL_ERROR "expected a failure with '${text}', got ${code}:\n${output}")
    endif()
endfunction()

refused("the mutant survives" ${CMAKE_COMMAND} -D "PROGRAM=${PROGRAM}" -D "TEST=[counter]"
    -P "${CMAKE_CURRENT_LIST_DIR}/check_mutant.cmake")
refused("there is no test" ${CMAKE_COMMAND} -D "PROGRAM=${PROGRAM}" -D "TEST=nothing of the kind"
    -P "${CMAKE_CURRENT_LIST_DIR}/check_mutant.cmake")
refused("was not built" ${CMAKE_COMMAND} -D "PROGRAM=${WORK}/nowhere" -D "TEST=[counter]"
    -P "${CMAKE_CURRENT_LIST_DIR}/check_mutant.cmake")

set(patch "${WORK}/does_not_fit.patch")
file(WRITE "${patch}" [[
--- a/include/interlock/version.hpp
+++ b/include/interlock/version.hpp
@@ -1,2 +1,1 @@
 // this line stands nowhere
-// neither does this one
]])
refused("does not apply" ${CMAKE_COMMAND} -D "PATCH=${patch}" -D "INCLUDE=${INCLUDE}" -D "TO=${WORK}/mutant"
    -P "${CMAKE_CURRENT_LIST_DIR}/mutate.cmake")
