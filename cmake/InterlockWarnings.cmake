# Private to this repository: neither target is exported, and no library target links to them.
#
# interlock_warnings   what our tests, examples and benchmarks are compiled with
# interlock_sanitizer  the run-time checks chosen by INTERLOCK_SANITIZE

set(INTERLOCK_SANITIZE "" CACHE STRING
    "Sanitizer for tests, examples and benchmarks: empty, address (with undefined), or thread")
set_property(CACHE INTERLOCK_SANITIZE PROPERTY STRINGS "" address thread)

add_library(interlock_warnings INTERFACE)
target_compile_options(interlock_warnings INTERFACE
    -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror)

add_library(interlock_sanitizer INTERFACE)
if(INTERLOCK_SANITIZE STREQUAL "address")
    set(sanitizers -fsanitize=address,undefined)
    if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
        # clang 14 cannot build coroutines with it.
        list(APPEND sanitizers -fno-sanitize=function)
    endif()
    # A cancelled thread unwinds with an exception without an object: whoever catches it by reference, as its
    # header says to, binds that to null. A null pointer that is used ends the program all the same.
    list(APPEND sanitizers -fno-sanitize=null)
    list(APPEND sanitizers -fno-sanitize-recover=all)
elseif(INTERLOCK_SANITIZE STREQUAL "thread")
    set(sanitizers -fsanitize=thread)
    if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
        # Its own operators new and delete are linked into each program; those of a test that replaces them
        # come first.
        target_link_options(interlock_sanitizer INTERFACE LINKER:--allow-multiple-definition)
    endif()
elseif(NOT INTERLOCK_SANITIZE STREQUAL "")
    message(FATAL_ERROR "INTERLOCK_SANITIZE is '${INTERLOCK_SANITIZE}'; it may be empty, address or thread")
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # g++ 12 cannot follow std::optional through inlining and reports members of disengaged ones.
    target_compile_options(interlock_warnings INTERFACE -Wno-maybe-uninitialized)
endif()
if(INTERLOCK_SANITIZE)
    target_compile_options(interlock_sanitizer INTERFACE ${sanitizers} -fno-omit-frame-pointer)
    target_link_options(interlock_sanitizer INTERFACE ${sanitizers})
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
        # With a sanitizer g++ 12 reports these in Boost.Asio's own code: the fences that TSan does not model,
        # the allocation functions of awaitable frames once one of the pair is inlined, and variables that
        # the added checks hide from its flow analysis.
        target_compile_options(interlock_sanitizer INTERFACE
            -Wno-mismatched-new-delete -Wno-maybe-uninitialized)
        if(INTERLOCK_SANITIZE STREQUAL "thread")
            target_compile_options(interlock_sanitizer INTERFACE -Wno-tsan)
        endif()
    endif()
endif()

set(INTERLOCK_MUTANT "" CACHE STRING
    "A mutant, tests/mutants/<name>.patch, that tests, examples and benchmarks are built with; empty: none")
if(INTERLOCK_MUTANT)
    set(mutant_patch "${PROJECT_SOURCE_DIR}/tests/mutants/${INTERLOCK_MUTANT}.patch")
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${mutant_patch}")
    set(interlock_mutant_folder "${PROJECT_BINARY_DIR}/mutant")
    execute_process(
        COMMAND ${CMAKE_COMMAND} -D "PATCH=${mutant_patch}" -D "INCLUDE=${PROJECT_SOURCE_DIR}/include"
            -D "TO=${interlock_mutant_folder}" -P "${PROJECT_SOURCE_DIR}/tests/mutants/mutate.cmake"
        COMMAND_ERROR_IS_FATAL ANY)
endif()

# interlock_add_own_executable(<target> <source>...)
#
# An executable of this repository: the whole library, our warnings, the chosen sanitizer.
function(interlock_add_own_executable target)
    add_executable(${target} ${ARGN})
    if(INTERLOCK_MUTANT)
        target_include_directories(${target} BEFORE PRIVATE "${interlock_mutant_folder}/include")
    endif()
    target_link_libraries(${target} PRIVATE interlock::interlock interlock_warnings interlock_sanitizer)
endfunction()

get_target_property(components interlock INTERLOCK_COMPONENTS)
foreach(component IN LISTS components)
    if(TARGET interlock_${component}_compiled)
        target_link_libraries(interlock_${component}_compiled PRIVATE interlock_sanitizer)
    endif()
endforeach()

option(INTERLOCK_COMPILE_ONCE
    "Examples share the compiled bodies of the library; OFF: they are header-only" ON)

# interlock_compile_once(<target>)
#
# The bodies of the library are compiled once for all targets that this is called for, instead of in each of
# their units: separate compilation, as a user asks for it by interlock::<component>_compiled. Examples built
# by clang, and all tests and benchmarks, have the header-only form.
function(interlock_compile_once target)
    if(INTERLOCK_MUTANT OR NOT INTERLOCK_COMPILE_ONCE)
        return()  # the headers of a mutant differ from those that are compiled once
    endif()
    get_target_property(components interlock INTERLOCK_COMPONENTS)
    foreach(component IN LISTS components)
        if(TARGET interlock::${component}_compiled)
            target_link_libraries(${target} PRIVATE interlock::${component}_compiled)
        endif()
    endforeach()
endfunction()
