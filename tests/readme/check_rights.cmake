# cmake -D README=<README.md> -D HEADER=<header that starts a server> -P check_rights.cmake
#
# The rights that README tells an operator to give are those that the tests run with.

cmake_minimum_required(VERSION 3.23)

file(READ "${README}" readme)
file(READ "${HEADER}" header)
if(NOT readme MATCHES "\n```text\n(ACL SETUSER [^`]+)\n```\n")
    message(FATAL_ERROR "README has no block that begins with ACL SETUSER")
endif()
set(rights "${CMAKE_MATCH_1}")
string(FIND "${header}" "\n${rights}\n" at)
if(at EQUAL -1)
    message(FATAL_ERROR "the tests run with other rights than README says:\n${rights}")
endif()
