# cmake -D ROOT=<folder that holds interlock/> -P check_umbrella.cmake
#
# interlock.hpp includes every public header that needs no client library, and no other.

cmake_minimum_required(VERSION 3.23)
include("${CMAKE_CURRENT_LIST_DIR}/../support/lines.cmake")

# May be left out.
set(optional_headers fwd.hpp version.hpp core/format.hpp core/codec/json_state_traits.hpp forced_unwinding.hpp
    separate_compilation.hpp
    backends/memory/fwd.hpp
    # Who records or reads events includes these; whoever does not should not compile them.
    backends/memory/event_repository.hpp core/contracts/event_repository.hpp
    core/contracts/any_event_repository.hpp)
# Never in: internals, what separate compilation compiles once, the tools of authors, components of their own,
# and what needs a client library: a store that is a component of its own.
set(excluded_headers "(^|/)detail/|(^|/)src\\.hpp$|^core/(kit|runtime)/|^core/codec/|^patterns/|^http/|^observability/")
file(GLOB stores RELATIVE "${CMAKE_CURRENT_LIST_DIR}/../../cmake/components"
    "${CMAKE_CURRENT_LIST_DIR}/../../cmake/components/*.cmake")
list(TRANSFORM stores REPLACE "\\.cmake$" "")
foreach(store IN LISTS stores)
    string(APPEND excluded_headers "|^backends/${store}/")
endforeach()

set(included "")
interlock_read_lines("${ROOT}/interlock/interlock.hpp" lines)
foreach(line IN LISTS lines)
    if(line MATCHES "^[ \t]*#[ \t]*include[ \t]*<interlock/([^>]+)>")
        list(APPEND included "${CMAKE_MATCH_1}")
    endif()
endforeach()

set(violations 0)
file(GLOB_RECURSE headers RELATIVE "${ROOT}/interlock" "${ROOT}/interlock/*.hpp")
list(REMOVE_ITEM headers interlock.hpp)
foreach(header IN LISTS headers)
    if(header MATCHES "${excluded_headers}")
        if(header IN_LIST included)
            message(NOTICE "interlock.hpp must not include <interlock/${header}>")
            math(EXPR violations "${violations} + 1")
        endif()
    elseif(NOT header IN_LIST included AND NOT header IN_LIST optional_headers)
        message(NOTICE "interlock.hpp does not include <interlock/${header}>")
        math(EXPR violations "${violations} + 1")
    endif()
endforeach()

if(NOT violations EQUAL 0)
    message(FATAL_ERROR "umbrella header: ${violations} violations")
endif()
list(LENGTH included count)
message(NOTICE "umbrella header: includes ${count} headers, none is missing")
