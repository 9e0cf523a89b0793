# cmake -D ROOT=<the repository> -D KNOWN=<known violations> -D PROGRAM=<check_habits> -P write_known.cmake
#
# Writes down what today's violations are, for a change that is not finished.

cmake_minimum_required(VERSION 3.23)

execute_process(COMMAND "${PROGRAM}" "${ROOT}" "${KNOWN}" --list OUTPUT_VARIABLE habits COMMAND_ERROR_IS_FATAL
    ANY)
execute_process(
    COMMAND ${CMAKE_COMMAND} "-DROOT=${ROOT}" -DLIST=ON -P "${CMAKE_CURRENT_LIST_DIR}/check_format.cmake"
    ERROR_VARIABLE format COMMAND_ERROR_IS_FATAL ANY)
if(format MATCHES "SKIPPED")
    message(FATAL_ERROR "${format}")
endif()
file(WRITE "${KNOWN}"
    "# What is not complained about yet, <rule> <file>. The target interlock_known_habits writes it.\n"
    "${habits}${format}")
