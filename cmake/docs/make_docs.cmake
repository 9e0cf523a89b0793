# cmake -D SOURCE=<the repository> -D OUTPUT=<folder> -D VERSION=<x.y.z> -D BRIEF=<one line>
#     -P make_docs.cmake
#
# Makes a browsable reference of the public headers in <folder>/html, and fails where Doxygen does not
# understand one.

cmake_minimum_required(VERSION 3.23)

find_program(doxygen doxygen)
if(NOT doxygen)
    message(FATAL_ERROR
        "SKIPPED: the reference needs doxygen 1.9.4 or newer (Debian: apt-get install doxygen)")
endif()
set(source "${SOURCE}")
set(output "${OUTPUT}")
set(version "${VERSION}")
set(brief "${BRIEF}")
file(REMOVE_RECURSE "${OUTPUT}")
file(MAKE_DIRECTORY "${OUTPUT}")
configure_file("${CMAKE_CURRENT_LIST_DIR}/Doxyfile.in" "${OUTPUT}/Doxyfile" @ONLY)
execute_process(COMMAND "${doxygen}" "${OUTPUT}/Doxyfile" RESULT_VARIABLE code ERROR_VARIABLE errors)
if(NOT code EQUAL 0)
    message(FATAL_ERROR "doxygen failed: ${errors}")
endif()
# It says this of each specialisation of somebody else's template, as of std::hash.
file(STRINGS "${OUTPUT}/warnings.txt" warnings)
list(FILTER warnings EXCLUDE REGEX
    "Internal inconsistency: scope for class [^ ]+< interlock::[A-Za-z]+ > not found!")
if(warnings)
    list(JOIN warnings "\n" warnings)
    message(FATAL_ERROR "doxygen does not understand everything:\n${warnings}")
endif()
message(NOTICE "the reference: ${OUTPUT}/html/index.html")
