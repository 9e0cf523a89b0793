# cmake -D WORK=<scratch folder> -D INCLUDE=<folder of the headers> -P check_patches.cmake
#
# Every patch still applies to the headers and changes one of them. The lane that builds and runs the mutants
# is slow and seldom run; a patch that no longer fits is found here, with the change that moved what it takes
# out.

cmake_minimum_required(VERSION 3.23)

file(GLOB patches "${CMAKE_CURRENT_LIST_DIR}/*.patch")
set(failed 0)
foreach(patch IN LISTS patches)
    execute_process(
        COMMAND ${CMAKE_COMMAND} -D "PATCH=${patch}" -D "INCLUDE=${INCLUDE}" -D "TO=${WORK}"
            -P "${CMAKE_CURRENT_LIST_DIR}/mutate.cmake"
        RESULT_VARIABLE code
        OUTPUT_VARIABLE output
        ERROR_VARIABLE output)
    if(NOT code EQUAL 0)
        message(NOTICE "${output}")
        math(EXPR failed "${failed} + 1")
    endif()
endforeach()
list(LENGTH patches count)
if(count EQUAL 0)
    message(FATAL_ERROR "there is no patch")
endif()
if(NOT failed EQUAL 0)
    message(FATAL_ERROR "${failed} of ${count} patches do not apply")
endif()
message(NOTICE "mutants: all ${count} patches apply")
