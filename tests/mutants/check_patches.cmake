# cmake -D WORK=<scratch folder> -D INCLUDE=<folder of the headers> -P check_patches.cmake
#
# Every patch still applies to the headers and changes one of them. The lane that builds and runs the mutants
# is slow and seldom run; a patch that no longer fits is found here, with the change that moved what it takes
# out. Nothing is applied, so that one copy of the headers serves all patches.

cmake_minimum_required(VERSION 3.23)
find_program(git git REQUIRED)

file(REMOVE_RECURSE "${WORK}/include")
file(MAKE_DIRECTORY "${WORK}")
file(COPY "${INCLUDE}" DESTINATION "${WORK}" FILES_MATCHING PATTERN "*.hpp" PATTERN "*.ipp")
file(GLOB patches "${CMAKE_CURRENT_LIST_DIR}/*.patch")
set(failed 0)
foreach(patch IN LISTS patches)
    # Without a repository around it, as in mutate.cmake.
    execute_process(
        COMMAND ${CMAKE_COMMAND} -E env "GIT_CEILING_DIRECTORIES=${WORK}/.." "GIT_DIR=${WORK}/no_repository"
            ${git} apply --check --numstat "${patch}"
        WORKING_DIRECTORY "${WORK}"
        RESULT_VARIABLE code
        OUTPUT_VARIABLE changed
        ERROR_VARIABLE output)
    if(NOT code EQUAL 0 OR NOT changed MATCHES "\tinclude/")
        message(NOTICE "${patch} does not apply, or changes no header:\n${output}${changed}")
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
