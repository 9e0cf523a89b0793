# What others have made, as contestants: `install_rivals.sh` installs it there, `cmake --build ... --target
# interlock_queues` calls that. Whatever is missing is reported as not measured.
set(queues "${CMAKE_CURRENT_BINARY_DIR}/queues")
set_property(SOURCE pipeline_redis_postgres/main.cpp APPEND PROPERTY COMPILE_DEFINITIONS
    INTERLOCK_RIVALS_SCRIPTS="${CMAKE_CURRENT_SOURCE_DIR}/pipeline_redis_postgres"
        INTERLOCK_RIVALS_DIRECTORY="${queues}")
add_custom_target(interlock_queues
    COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/pipeline_redis_postgres/install_rivals.sh" "${queues}" USES_TERMINAL)
