# Finds promtool, and runs it. Whoever has prometheus-cpp to build with needs it to test with.

cmake_minimum_required(VERSION 3.23)

find_program(promtool promtool)
if(NOT promtool)
    message(FATAL_ERROR "promtool is missing, so nothing was tested: install Debian's package prometheus, "
        "as tests/run does")
endif()
file(REMOVE_RECURSE "${WORK}")
file(MAKE_DIRECTORY "${WORK}")

# promtool(<argument>...): must be content. Sets output.
function(promtool)
    execute_process(COMMAND ${promtool} ${ARGN} WORKING_DIRECTORY "${WORK}"
        RESULT_VARIABLE code OUTPUT_VARIABLE output ERROR_VARIABLE output)
    if(NOT code EQUAL 0)
        list(JOIN ARGN " " arguments)
        message(FATAL_ERROR "promtool ${arguments}: ${code}\n${output}")
    endif()
    set(output "${output}" PARENT_SCOPE)
endfunction()

# read_metrics(): sets metrics to what the program counts.
function(read_metrics)
    execute_process(COMMAND "${METRICS}" OUTPUT_FILE "${WORK}/metrics.txt" RESULT_VARIABLE code)
    if(NOT code EQUAL 0)
        message(FATAL_ERROR "${METRICS}: ${code}")
    endif()
    file(READ "${WORK}/metrics.txt" text)
    set(metrics "\n${text}" PARENT_SCOPE)
endfunction()
