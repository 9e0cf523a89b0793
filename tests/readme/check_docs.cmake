# cmake -D SOURCE=<the repository> -D WORK=<scratch folder> -P check_docs.cmake
#
# The reference can be made; it shows concepts, their tables and constraints, and nothing of a detail/.
# Without doxygen nothing is checked, which CTest reports as skipped.

cmake_minimum_required(VERSION 3.23)

execute_process(
    COMMAND ${CMAKE_COMMAND} "-DSOURCE=${SOURCE}" "-DOUTPUT=${WORK}" -DVERSION=1.2.3 "-DBRIEF=A brief word"
        -P "${CMAKE_CURRENT_LIST_DIR}/../../cmake/docs/make_docs.cmake"
    RESULT_VARIABLE code ERROR_VARIABLE output)
if(NOT code EQUAL 0)
    message(FATAL_ERROR "${output}")
endif()

# shows(<page> <regular expression>...)
function(shows page)
    if(NOT EXISTS "${WORK}/html/${page}")
        message(FATAL_ERROR "the reference has no page ${page}")
    endif()
    file(READ "${WORK}/html/${page}" text)
    string(REGEX REPLACE "<[^>]*>" "" text "${text}")
    foreach(expected IN LISTS ARGN)
        if(NOT text MATCHES "${expected}")
            message(FATAL_ERROR "${page} does not show '${expected}'")
        endif()
    endforeach()
endfunction()

shows(index.html "1\\.2\\.3" "A brief word")
shows(conceptinterlock_1_1LeaseRepository.html
    "concept interlock::LeaseRepository" "A store that keeps lock records"
    "r.carry_out\\(create, deadline\\)")
shows(classinterlock_1_1TransactionService.html
    "requires +\\(named&lt;A&gt;" "do_in_transaction" "Outcome" "TransactionService")
shows(structinterlock_1_1SetNxLock.html "SetNxLock")

file(GLOB pages RELATIVE "${WORK}/html" "${WORK}/html/*.html")
list(FILTER pages INCLUDE REGEX "detail|_1_1v0")
if(pages)
    message(FATAL_ERROR "the reference shows internals: ${pages}")
endif()
