# cmake -D ROOT=<folder that holds interlock/> -P check_layering.cmake
#
# Who may include what, and that only the runtime seam touches clocks, timers, threads, randomness and
# sockets. Names every violation as `<header>:<line>: <rule>`, then fails.

cmake_minimum_required(VERSION 3.23)
include("${CMAKE_CURRENT_LIST_DIR}/../support/lines.cmake")

# Layer -> layers it may include. A folder of include/interlock that is not listed here is a violation.
set(layers core policies backends patterns http observability)
set(core_may_include core)
set(policies_may_include core policies)
set(backends_may_include core backends)
set(patterns_may_include core policies patterns)
set(http_may_include core http)
set(observability_may_include core policies observability)

# Room of core/ -> rooms of core/ it may include. The room of the headers at its top is called `nouns`, but
# for those that join everything. A folder of core/ that is not listed here is a violation.
set(services core/transaction_service.hpp core/lock_state_service.hpp core/state_repository.hpp
    core/contracts/joint_repository.hpp core/contracts/any_event_repository.hpp
    core/contracts/any_idempotency_store.hpp core/open.hpp)
set(rooms nouns services contracts kit runtime codec detail)
set(nouns_may_include nouns codec contracts)
set(codec_may_include nouns codec)
set(contracts_may_include nouns contracts)
set(runtime_may_include nouns contracts runtime)
set(kit_may_include nouns codec contracts runtime kit)
set(detail_may_include nouns codec contracts runtime kit detail)
set(services_may_include ${rooms})

# Client library -> its include prefixes, and the headers that may use them: see
# cmake/InterlockComponents.cmake.
set(clients "")
file(GLOB component_files "${CMAKE_CURRENT_LIST_DIR}/../../cmake/components/*.cmake")
foreach(file IN LISTS component_files)
    set(component_needs "")
    include("${file}")
    foreach(need IN LISTS component_needs)
        if(DEFINED ${need}_door)
            list(APPEND clients ${need})
        endif()
    endforeach()
endforeach()

# The bodies of x.hpp stand in impl/x.ipp, which may do what x.hpp may. Those of the nouns of core/ stand in
# core/detail/impl/, so that core/ stays open at a glance. Nobody includes them but x.hpp, and for separate
# compilation a src.hpp of their folder or of one above.
function(header_of file result)
    string(REGEX REPLACE "^core/detail/impl/([^/]+)\\.ipp$" "core/\\1.hpp" header "${file}")
    string(REGEX REPLACE "(^|/)impl/([^/]+)\\.ipp$" "\\1\\2.hpp" header "${header}")
    set(${result} "${header}" PARENT_SCOPE)
endfunction()

# Whole libraries behind one include: too slow to compile for a header.
set(umbrella_includes boost/asio.hpp pqxx/pqxx)

# The runtime seam: nothing else may name these. (A member of the runtime may well be called sleep_until.)
set(seam_headers "^core/runtime/[a-z0-9_]+\\.hpp$")
set(seam_words
    steady_timer system_timer high_resolution_timer
    system_clock steady_clock high_resolution_clock clock_gettime gettimeofday
    std::thread std::jthread
    this_thread::sleep_for this_thread::sleep_until nanosleep usleep
    random_device mt19937 mt19937_64 default_random_engine getrandom
    tcp::socket)

set(violations 0)

macro(violation header line_number text)
    message(NOTICE "${header}:${line_number}: ${text}")
    math(EXPR violations "${violations} + 1")
endmacro()

set(string_literal "\"([^\"${INTERLOCK_BACKSLASH}]|${INTERLOCK_BACKSLASH}.)*\"")
set(character_literal "'(${INTERLOCK_BACKSLASH}.[^']*|[^'${INTERLOCK_BACKSLASH}])'")
set(literal "^(${string_literal}|${character_literal})")

# code_of(<line> <code>): the line without comments and with empty string literals.
# The caller's variable in_comment carries an open block comment from line to line.
function(code_of line code)
    set(rest "${line}")
    set(result "")
    while(NOT rest STREQUAL "")
        if(in_comment)
            string(FIND "${rest}" "*/" at)
            if(at EQUAL -1)
                break()
            endif()
            math(EXPR at "${at} + 2")
            string(SUBSTRING "${rest}" ${at} -1 rest)
            string(APPEND result " ")
            set(in_comment FALSE)
        elseif(rest MATCHES "^[^\"'/]+")
            string(APPEND result "${CMAKE_MATCH_0}")
            string(LENGTH "${CMAKE_MATCH_0}" at)
            string(SUBSTRING "${rest}" ${at} -1 rest)
        elseif(rest MATCHES "^//")
            break()
        elseif(rest MATCHES "^/\\*")
            string(SUBSTRING "${rest}" 2 -1 rest)
            set(in_comment TRUE)
        elseif(rest MATCHES "${literal}")
            string(APPEND result "\"\"")
            string(LENGTH "${CMAKE_MATCH_0}" at)
            string(SUBSTRING "${rest}" ${at} -1 rest)
        else()
            string(SUBSTRING "${rest}" 0 1 character)
            string(APPEND result "${character}")
            string(SUBSTRING "${rest}" 1 -1 rest)
        endif()
    endwhile()
    set(in_comment ${in_comment} PARENT_SCOPE)
    set(${code} "${result}" PARENT_SCOPE)
endfunction()

macro(check_include header line_number included)
    if("${included}" MATCHES "^interlock/(.+)$")
        check_own_include("${header}" ${line_number} "${CMAKE_MATCH_1}")
    endif()
    header_of("${header}" as)
    foreach(client IN LISTS clients)
        if("${included}" MATCHES "${${client}_includes}" AND NOT as IN_LIST ${client}_door)
            list(JOIN ${client}_door " and " doors)
            violation("${header}" ${line_number} "<${included}> may be included by ${doors} only")
        endif()
    endforeach()
    if("${included}" IN_LIST umbrella_includes)
        violation("${header}" ${line_number}
            "<${included}> brings in the whole library, include single headers")
    endif()
endmacro()

# room_of(<header> <room>): empty outside of core/.
function(room_of file room)
    set(result "")
    header_of("${file}" header)
    if(header IN_LIST services)
        set(result services)
    elseif(header MATCHES "^core/([^/]+)/")
        set(result ${CMAKE_MATCH_1})
    elseif(header MATCHES "^core/")
        set(result nouns)
    endif()
    set(${room} "${result}" PARENT_SCOPE)
endfunction()

macro(check_own_include header line_number target)
    list(APPEND "reached_from_${header}" "${target}")

    set(from_layer "")
    if("${header}" MATCHES "^([^/]+)/")
        set(from_layer ${CMAKE_MATCH_1})
    endif()
    set(to_layer "")
    if("${target}" MATCHES "^([^/]+)/")
        set(to_layer ${CMAKE_MATCH_1})
    endif()

    room_of("${header}" from_room)
    room_of("${target}" to_room)
    if(from_room IN_LIST rooms AND to_room IN_LIST rooms AND NOT to_room IN_LIST ${from_room}_may_include)
        violation("${header}" ${line_number}
            "the ${from_room} of core may not include its ${to_room}, here <interlock/${target}>")
    endif()

    if("${header}" STREQUAL "version.hpp")
        violation("${header}" ${line_number}
            "version.hpp includes nothing of interlock, here <interlock/${target}>")
    elseif("${header}" STREQUAL "fwd.hpp")
        if(NOT "${target}" STREQUAL "version.hpp" AND NOT to_layer STREQUAL "core")
            violation("${header}" ${line_number}
                "fwd.hpp may include version.hpp and light core headers only, here <interlock/${target}>")
        endif()
    elseif(from_layer)
        if("${target}" STREQUAL "interlock.hpp")
            violation("${header}" ${line_number}
                "<interlock/interlock.hpp> is for users, include single headers")
        elseif(to_layer AND from_layer IN_LIST layers AND NOT to_layer IN_LIST ${from_layer}_may_include)
            violation("${header}" ${line_number}
                "${from_layer} may not include ${to_layer}, here <interlock/${target}>")
        elseif(from_layer STREQUAL "backends" AND to_layer STREQUAL "backends")
            string(REGEX MATCH "^backends/[^/]+/" from_backend "${header}")
            string(REGEX MATCH "^backends/[^/]+/" to_backend "${target}")
            if(NOT from_backend STREQUAL to_backend)
                violation("${header}" ${line_number}
                    "backends may not include each other, here <interlock/${target}>")
            endif()
        endif()
    endif()

    if("/${target}" MATCHES "^/(.*/)?impl/")
        set(owner "${CMAKE_MATCH_1}")
        header_of("${target}" as)
        set(is_src NO)
        if("/${header}" MATCHES "^/(.*/)?src\\.hpp$")
            string(FIND "${owner}" "${CMAKE_MATCH_1}" at)
            if(at EQUAL 0)
                set(is_src YES)
            endif()
        endif()
        if(NOT is_src AND NOT "${header}" STREQUAL "${as}")
            violation("${header}" ${line_number} "<interlock/${target}> is for <interlock/${as}> alone")
        endif()
    endif()
    if("/${target}" MATCHES "^/(.*/)?detail/")
        set(owner "${CMAKE_MATCH_1}")
        string(FIND "${header}" "${owner}" at)
        if(owner AND NOT at EQUAL 0 AND NOT header STREQUAL "src.hpp")
            violation("${header}" ${line_number}
                "only interlock/${owner} may reach its detail/, here <interlock/${target}>")
        endif()
    endif()
endmacro()

if(NOT IS_DIRECTORY "${ROOT}/interlock")
    message(FATAL_ERROR "there is no folder '${ROOT}/interlock'")
endif()
file(GLOB_RECURSE headers RELATIVE "${ROOT}/interlock" "${ROOT}/interlock/*")
list(JOIN seam_words "|" any_seam_word)
set(heavy_headers "")

list(FILTER headers EXCLUDE REGEX "(^|/)README\\.md$")  # the pages of the folders
foreach(header IN LISTS headers)
    if(header MATCHES "^([^/]+)/" AND NOT CMAKE_MATCH_1 IN_LIST layers)
        violation("${header}" 1 "'${CMAKE_MATCH_1}' is no layer, expected one of: ${layers}")
    endif()
    if(header MATCHES "^core/([^/]+)/" AND NOT CMAKE_MATCH_1 IN_LIST rooms)
        violation("${header}" 1 "'${CMAKE_MATCH_1}' is no room of core, expected one of: ${rooms}")
    endif()
    if(NOT header MATCHES "\\.hpp$" AND NOT header MATCHES "(^|/)impl/[^/]+\\.ipp$")
        violation("${header}" 1 "headers end in .hpp, their bodies stand in impl/ and end in .ipp")
    endif()

    header_of("${header}" declared_in)
    interlock_read_lines("${ROOT}/interlock/${header}" lines)
    set(in_comment FALSE)
    set(line_number 0)
    foreach(line IN LISTS lines)
        math(EXPR line_number "${line_number} + 1")
        set(was_in_comment ${in_comment})
        if(in_comment OR line MATCHES "[\"'/]")
            code_of("${line}" code)
        else()
            set(code "${line}")
        endif()

        if(NOT was_in_comment AND line MATCHES "^[ \t]*#[ \t]*include[ \t]*([<\"])([^>\"]+)[>\"]")
            set(quote "${CMAKE_MATCH_1}")
            set(included "${CMAKE_MATCH_2}")
            if(quote STREQUAL "\"")
                violation("${header}" ${line_number} "write <...> instead of \"${included}\"")
            endif()
            check_include("${header}" ${line_number} "${included}")
            if(included MATCHES "^boost/asio(/|\\.hpp)")
                list(APPEND heavy_headers "${header}")
            endif()
        endif()

        if(header STREQUAL "fwd.hpp" AND code MATCHES "namespace[ ]+([a-z0-9_]+)")
            set(named "${CMAKE_MATCH_1}")
            if(IS_DIRECTORY "${ROOT}/interlock/backends/${named}")
                violation("${header}" ${line_number}
                    "fwd.hpp names no store, '${named}' has a fwd.hpp of its own")
            endif()
        endif()
        # A store runs on any runtime. Only its fwd.hpp says which one a user gets, and its src.hpp for which
        # one it is compiled once.
        if(code MATCHES "(^|[^A-Za-z0-9_])SystemRuntime($|[^A-Za-z0-9_])"
           AND NOT header MATCHES "^backends/[^/]+/(fwd|src)\\.hpp$" AND header MATCHES "^backends/([^/]+)/")
            violation("${header}" ${line_number}
                "'SystemRuntime' is not for '${CMAKE_MATCH_1}' to choose, its runtime is a template argument")
        endif()

        if(NOT declared_in MATCHES "${seam_headers}"
           AND code MATCHES "(^|[^A-Za-z0-9_])(${any_seam_word})($|[^A-Za-z0-9_])")
            foreach(word IN LISTS seam_words)
                if(code MATCHES "(^|[^A-Za-z0-9_])${word}($|[^A-Za-z0-9_])")
                    violation("${header}" ${line_number} "'${word}' belongs behind the runtime seam")
                endif()
            endforeach()
        endif()
    endforeach()
endforeach()

# What fwd.hpp reaches, directly or not, must stay free of Asio.
set(reached fwd.hpp)
set(todo fwd.hpp)
while(todo)
    list(POP_FRONT todo next)
    if(next IN_LIST heavy_headers)
        violation("fwd.hpp" 1 "fwd.hpp reaches Boost.Asio through <interlock/${next}>")
    endif()
    foreach(target IN LISTS "reached_from_${next}")
        if(NOT target IN_LIST reached)
            list(APPEND reached "${target}")
            list(APPEND todo "${target}")
        endif()
    endforeach()
endwhile()

list(LENGTH headers header_count)
if(header_count EQUAL 0)
    message(FATAL_ERROR "there is no header under '${ROOT}/interlock'")
endif()
if(NOT violations EQUAL 0)
    message(FATAL_ERROR "layering: ${violations} violations in ${header_count} headers")
endif()
message(NOTICE "layering: ${header_count} headers, no violation")
