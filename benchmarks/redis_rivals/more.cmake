# What others have made, as contestants: `install_rivals.sh` installs it there, `cmake --build ... --target
# interlock_rivals` calls that. Whatever is missing is reported as not measured.
target_sources(benchmark_redis_rivals PRIVATE redis_pipeline/hiredis.cpp)
set(rivals "${CMAKE_CURRENT_BINARY_DIR}/rivals")
set_property(SOURCE redis_rivals/main.cpp APPEND PROPERTY COMPILE_DEFINITIONS
    INTERLOCK_RIVALS_SCRIPTS="${CMAKE_CURRENT_SOURCE_DIR}/redis_rivals"
        INTERLOCK_RIVALS_DIRECTORY="${rivals}")
add_custom_target(interlock_rivals
    COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/redis_rivals/install_rivals.sh" "${rivals}" USES_TERMINAL)
