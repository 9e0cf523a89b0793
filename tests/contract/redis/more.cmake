# What only the tests of Redis need.

# Shifts the clocks of a server. It goes into a foreign program, so it is built without what a sanitizer would
# add.
add_library(interlock_clock_shift MODULE EXCLUDE_FROM_ALL support/clock_shift.cpp)
add_library(interlock_test_support_redis INTERFACE)
add_dependencies(interlock_test_support_redis interlock_clock_shift)
target_compile_definitions(interlock_test_support_redis INTERFACE
    INTERLOCK_CLOCK_SHIFT_MODULE="$<TARGET_FILE:interlock_clock_shift>")

interlock_add_script_test(readme.rights readme readme/check_rights.cmake
    "-DREADME=${PROJECT_SOURCE_DIR}/include/interlock/backends/redis/README.md"
    "-DHEADER=${CMAKE_CURRENT_SOURCE_DIR}/support/redis_server.hpp")
