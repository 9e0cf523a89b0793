# cmake -D WORK=<scratch folder> -P self_test.cmake
#
# Plants one violation of every rule and asserts that each is named, at its line, and nothing else is.

cmake_minimum_required(VERSION 3.23)
include("${CMAKE_CURRENT_LIST_DIR}/../support/self_test.cmake")

set(check_layering ${CMAKE_COMMAND} -D "ROOT=${WORK}" -P "${CMAKE_CURRENT_LIST_DIR}/check_layering.cmake")
set(check_umbrella ${CMAKE_COMMAND} -D "ROOT=${WORK}" -P "${CMAKE_CURRENT_LIST_DIR}/check_umbrella.cmake")
set(check_stores ${CMAKE_COMMAND} -D "ROOT=${WORK}" -P "${CMAKE_CURRENT_LIST_DIR}/check_stores.cmake")

# header(<path> <line>...)
function(header path)
    list(JOIN ARGN "\n" text)
    file(WRITE "${WORK}/interlock/${path}" "${text}\n")
endfunction()

# plant(<expected text> <path> <line>...): the violation is on the last line.
set(planted "")
function(plant expected path)
    header("${path}" ${ARGN})
    list(LENGTH ARGN line_number)
    set(planted ${planted} "${path}:${line_number}: ${expected}" PARENT_SCOPE)
endfunction()

function(clean_tree)
    file(REMOVE_RECURSE "${WORK}")
    header(version.hpp "#define INTERLOCK_VERSION_MAJOR 0")
    header(fwd.hpp "#include <interlock/version.hpp>" "#include <interlock/core/contracts/store.hpp>")
    header(interlock.hpp
        "#include <interlock/core/key.hpp>"
        "#include <interlock/core/contracts/store.hpp>"
        "#include <interlock/core/transaction_service.hpp>"
        "#include <interlock/backends/memory/store.hpp>"
        "#include <interlock/policies/optimistic.hpp>")
    header(core/key.hpp "#include <concepts>")
    header(core/format.hpp "#include <fmt/format.h>")
    header(src.hpp "#include <interlock/core/detail/impl/key.ipp>"
        "#include <interlock/core/kit/impl/pool.ipp>"
        "#include <interlock/core/detail/locks/src.hpp>")
    header(core/contracts/store.hpp "#include <interlock/core/key.hpp>")
    header(core/runtime/runtime.hpp "#include <boost/asio/steady_timer.hpp>"
        "std::chrono::steady_clock::now()")
    header(core/runtime/clock.hpp "clock_gettime(CLOCK_BOOTTIME, &now)")
    header(core/detail/locks/machine.hpp "#include <interlock/core/runtime/clock.hpp>")
    header(core/transaction_service.hpp
        "#include <interlock/fwd.hpp>"
        "#include <interlock/core/detail/locks/machine.hpp>  // std::thread is not used"
        "/* neither is steady_timer,"
        "   #include <pqxx/pqxx>"
        "   nor std::jthread */ int my_steady_timer_count"
        "const char* url = \"redis://sleep_for/\" \"std::thread \\\"\""
        "char quote = '\"'  // a random_device would be wrong"
        "constexpr int many = 1'000'000  // and a system_clock too"
        "runtime.sleep_until(at)")
    header(policies/optimistic.hpp "#include <interlock/core/transaction_service.hpp>"
        "#include <boost/asio/post.hpp>")
    header(backends/memory/store.hpp
        "#include <interlock/core/transaction_service.hpp>"
            "#include <interlock/backends/memory/detail/table.hpp>")
    header(backends/memory/detail/table.hpp "#include <map>")
    header(backends/redis/store.hpp "#include <interlock/backends/redis/detail/hiredis.hpp>")
    header(backends/redis/detail/hiredis.hpp "#include <hiredis/hiredis.h>")
    header(backends/postgres/detail/pqxx.hpp "#include <pqxx/connection>")
    header(patterns/election.hpp
        "#include <interlock/policies/optimistic.hpp>" "#include <interlock/core/transaction_service.hpp>")
endfunction()

clean_tree()
expect_pass("clean tree, layering" ${check_layering})
expect_pass("clean tree, umbrella" ${check_umbrella})

# Layers.
plant("core may not include policies" core/a.hpp "#include <interlock/policies/optimistic.hpp>")
plant("core may not include backends" core/b.hpp "// first" "#include <interlock/backends/memory/store.hpp>")
plant("core may not include patterns" core/c.hpp "  #  include  <interlock/patterns/election.hpp>")
plant("policies may not include backends" policies/a.hpp "#include <interlock/backends/memory/store.hpp>")
plant("policies may not include patterns" policies/b.hpp "#include <interlock/patterns/election.hpp>")
plant("backends may not include policies" backends/memory/a.hpp
    "#include <interlock/policies/optimistic.hpp>")
plant("backends may not include patterns" backends/memory/b.hpp "#include <interlock/patterns/election.hpp>")
plant("backends may not include each other" backends/memory/c.hpp
    "#include <interlock/backends/redis/store.hpp>")
plant("patterns may not include backends" patterns/a.hpp "#include <interlock/backends/memory/store.hpp>")
# Rooms of core/.
plant("the nouns of core may not include its kit" core/h.hpp "#include <interlock/core/kit/pool.hpp>")
plant("the nouns of core may not include its detail" core/i.hpp
    "#include <interlock/core/detail/locks/machine.hpp>")
plant("the nouns of core may not include its services" core/j.hpp
    "#include <interlock/core/transaction_service.hpp>")
plant("the contracts of core may not include its kit" core/contracts/a.hpp
    "#include <interlock/core/kit/pool.hpp>")
plant("the contracts of core may not include its services"
    core/contracts/b.hpp "#include <interlock/core/transaction_service.hpp>")
plant("the runtime of core may not include its kit" core/runtime/a.hpp
    "#include <interlock/core/kit/pool.hpp>")
plant("the codec of core may not include its contracts" core/codec/a.hpp
    "#include <interlock/core/contracts/store.hpp>")
plant("the kit of core may not include its detail" core/kit/a.hpp
    "#include <interlock/core/detail/locks/machine.hpp>")
plant("the detail of core may not include its services"
    core/detail/a.hpp "#include <interlock/core/transaction_service.hpp>")
plant("'rooms' is no room of core" core/rooms/a.hpp "int a")
plant("<interlock/interlock.hpp> is for users" core/d.hpp "#include <interlock/interlock.hpp>")
plant("version.hpp includes nothing" version.hpp "#include <interlock/core/contracts/store.hpp>")
plant("'helpers' is no layer" helpers/a.hpp "int a")
plant("headers end in .hpp, their bodies stand in impl/" core/e.ipp "int e")
plant("headers end in .hpp, their bodies stand in impl/" core/detail/impl/e.cpp "int e")
plant("write <...> instead of \"concepts.hpp\"" core/f.hpp "#include \"concepts.hpp\"")
# detail/ is private to its folder.
plant("only interlock/core/ may reach its detail/"
    policies/d.hpp "#include <interlock/core/detail/locks/machine.hpp>")
plant("only interlock/core/ may reach its detail/"
    backends/memory/d.hpp "#include <interlock/core/detail/locks/machine.hpp>")
plant("only interlock/backends/memory/ may reach its detail/"
    door.hpp "#include <interlock/backends/memory/detail/table.hpp>")
# The bodies of a header are for that header, and for the src.hpp of its folder or of one above. They may do
# what the header may.
header(core/kit/impl/pool.ipp "#include <interlock/core/kit/pool.hpp>")
header(core/kit/pool.hpp "#include <interlock/core/kit/impl/pool.ipp>")
header(core/detail/impl/key.ipp "#include <interlock/core/key.hpp>")
header(core/runtime/impl/clock.ipp "clock_gettime(CLOCK_BOOTTIME, &now)")
header(core/kit/net/impl/openssl.ipp "#include <openssl/ssl.h>")
header(backends/redis/src.hpp "template class Pipeline<SystemRuntime>")
plant("<interlock/core/kit/impl/pool.ipp> is for <interlock/core/kit/pool.hpp> alone"
    core/kit/b.hpp "#include <interlock/core/kit/impl/pool.ipp>")
plant("<interlock/core/kit/impl/pool.ipp> is for <interlock/core/kit/pool.hpp> alone"
    core/kit/net/src.hpp "#include <interlock/core/kit/impl/pool.ipp>")
plant("the nouns of core may not include its kit"
    core/detail/impl/k.ipp "#include <interlock/core/kit/pool.hpp>")
plant("'getrandom' belongs behind the runtime seam" core/kit/impl/c.ipp "getrandom(0, 0, 0)")
plant("'SystemRuntime' is not for 'redis' to choose" backends/redis/impl/i.ipp "using R = SystemRuntime")
# One door per client library.
plant("<hiredis/read.h> may be included by backends/redis/detail/hiredis.hpp only"
    backends/redis/e.hpp "#include <hiredis/read.h>")
plant("<openssl/ssl.h> may be included by core/kit/net/openssl.hpp only"
    backends/redis/f.hpp "#include <openssl/ssl.h>")
plant("<boost/asio/ssl/stream.hpp> may be included by core/kit/net/openssl.hpp only"
    backends/redis/g.hpp "#include <boost/asio/ssl/stream.hpp>")
string(CONCAT doors "backends/postgres/detail/pqxx.hpp and "
    "backends/postgres/detail/pqxx_values.hpp")
plant("<pqxx/result> may be included by ${doors} only"
    patterns/e.hpp "#include <pqxx/result>")
plant("<libpq-fe.h> may be included by backends/postgres/detail/pqxx.hpp only"
    backends/postgres/e.hpp "#include <libpq-fe.h>")
# The runtime of a store.
plant("'SystemRuntime' is not for 'redis' to choose" backends/redis/h.hpp "auto now = SystemRuntime::now()")
plant("'SystemRuntime' is not for 'memory' to choose" backends/memory/detail/e.hpp
    "// fine" "using R = SystemRuntime")
plant("'SystemRuntime' is not for 'postgres' to choose" backends/postgres/detail/f.hpp
    "SystemRuntimes fine" "return SystemRuntime{}")
plant("'SystemRuntime' is not for 'a_new_store' to choose" backends/a_new_store/a.hpp
    "using R = SystemRuntime")
header(backends/postgres/fwd.hpp "// A comment may say SystemRuntime."
    "using Pool = BasicPool<SystemRuntime>")
header(backends/redis/fwd.hpp "using Client = BasicClient<SystemRuntime>")
# Umbrella includes of dependencies.
plant("<boost/asio.hpp> brings in the whole library" core/g.hpp "#include <boost/asio.hpp>")
plant("<pqxx/pqxx> brings in the whole library" backends/postgres/detail/pqxx.hpp "#include <pqxx/pqxx>")
# The runtime seam, every word of it.
foreach(word IN ITEMS
        steady_timer system_timer high_resolution_timer
        system_clock steady_clock high_resolution_clock clock_gettime gettimeofday
        std::thread std::jthread this_thread::sleep_for this_thread::sleep_until nanosleep usleep
        random_device mt19937 mt19937_64 default_random_engine getrandom tcp::socket)
    string(REPLACE "::" "_" name "${word}")
    plant("'${word}' belongs behind the runtime seam" core/seam_${name}.hpp "// fine"
        "x(${word}{})  // planted")
endforeach()
plant("'steady_timer' belongs behind" core/seam_include.hpp "#include <boost/asio/steady_timer.hpp>")
plant("'std::thread' belongs behind" core/seam_after_url.hpp "f(\"redis://host\", std::thread{})")
plant("'this_thread::sleep_for' belongs behind"
    core/seam_after_comment.hpp "/* one" "two */ std::this_thread::sleep_for(1)")
plant("'getrandom' belongs behind" backends/memory/runtime.hpp "getrandom(0, 0, 0)")
plant("'getrandom' belongs behind" core/detail/my_runtime_x.hpp "getrandom(0, 0, 0)")

expect_fail("planted tree, layering" "${planted}" ${check_layering})
list(LENGTH planted count)
string(REGEX MATCHALL "\n[^\n:]+:[0-9]+: " named "\n${output}")
list(LENGTH named named_count)
if(NOT named_count EQUAL count)
    message(FATAL_ERROR "planted ${count} violations, but ${named_count} were named:\n${output}")
endif()
message(NOTICE "layering: all ${count} planted violations are named, and no other")

# The row of fwd.hpp: its includes, and what they reach.
clean_tree()
set(planted "")
plant("fwd.hpp may include version.hpp and light core headers only" fwd.hpp
    "#include <interlock/policies/optimistic.hpp>")
expect_fail("fwd.hpp includes a policy" "${planted}" ${check_layering})
clean_tree()
set(planted "")
plant("fwd.hpp names no store, 'redis' has a fwd.hpp of its own" fwd.hpp
    "namespace detail {" "namespace redis {")
expect_fail("fwd.hpp names a store" "${planted}" ${check_layering})
clean_tree()
header(core/key.hpp "#include <interlock/core/awaitable.hpp>")
header(core/awaitable.hpp "#include <boost/asio/awaitable.hpp>")
expect_fail("fwd.hpp reaches Asio"
    "fwd.hpp:1: fwd.hpp reaches Boost.Asio through <interlock/core/awaitable.hpp>" ${check_layering})

# An empty or a missing tree must not read as clean.
file(REMOVE_RECURSE "${WORK}")
expect_fail("missing tree" "there is no folder" ${check_layering})
file(MAKE_DIRECTORY "${WORK}/interlock")
expect_fail("empty tree" "there is no header" ${check_layering})

# The umbrella header.
clean_tree()
header(core/forgotten.hpp "int a")
header(policies/forgotten.hpp "int a")
expect_fail("umbrella misses headers"
    "does not include <interlock/core/forgotten.hpp>;does not include <interlock/policies/forgotten.hpp>"
    ${check_umbrella})
clean_tree()
file(APPEND "${WORK}/interlock/interlock.hpp" "#include <interlock/backends/redis/store.hpp>\n")
expect_fail("umbrella includes a client library"
    "must not include <interlock/backends/redis/store.hpp>" ${check_umbrella})

# Shared files that name a store.
function(store_tree)
    file(REMOVE_RECURSE "${WORK}")
    file(WRITE "${WORK}/CMakeLists.txt" "the components are found by their files\n")
    file(WRITE "${WORK}/cmake/components/redis.cmake" "redis\n")
    file(WRITE "${WORK}/include/interlock/backends/redis/store.hpp" "namespace redis\n")
    file(WRITE "${WORK}/include/interlock/core/a.hpp" "\"redis://url\"; predisposed\n")
    file(WRITE "${WORK}/tests/contract/redis/backends.hpp" "redis\n")
    file(WRITE "${WORK}/tests/support/redis_server.hpp" "redis\n")
    file(WRITE "${WORK}/tests/README.md" "redis\n")
    file(WRITE "${WORK}/tests/compile_pass/support_matrix.cpp" "redis::StateRepository\n")
endfunction()
store_tree()
expect_pass("clean tree, stores" ${check_stores})
foreach(file IN ITEMS CMakeLists.txt include/interlock/core/a.hpp tests/run tests/contract/backends.hpp)
    foreach(text IN ITEMS "using redis::StateRepository" "#ifdef REDIS" "if(x MATCHES \"redis|other\")")
        store_tree()
        file(APPEND "${WORK}/${file}" "${text}\n")
        expect_fail("a shared file names a store" "${file}: a shared file names the store redis: ${text}"
            ${check_stores})
    endforeach()
endforeach()
file(REMOVE_RECURSE "${WORK}")
expect_fail("no store" "there is no store" ${check_stores})
