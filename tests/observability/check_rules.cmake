# cmake -D METRICS=<program> -D ROOT=<source> -D WORK=<folder> -P check_rules.cmake
#
# The alert rules parse, fire when they should, and ask for metrics that there are.

include("${CMAKE_CURRENT_LIST_DIR}/promtool.cmake")
read_metrics()
set(folder "${ROOT}/examples/4_programs/dashboard")

promtool(check rules "${folder}/alerts.yml")
if(NOT output MATCHES "SUCCESS: 8 rules found")
    message(FATAL_ERROR "not eight rules:\n${output}")
endif()
promtool(test rules "${folder}/alerts_test.yml")

file(READ "${folder}/alerts.yml" rules)
string(REGEX MATCHALL "(interlock|db_client)_[a-z_]+" names "${rules}")
list(REMOVE_DUPLICATES names)
foreach(name IN LISTS names)
    string(REGEX REPLACE "_(bucket|count|sum)$" "" family "${name}")
    if(NOT metrics MATCHES "\n# TYPE (${name}|${family}) ")
        message(FATAL_ERROR "a rule asks for ${name}, which nobody counts")
    endif()
endforeach()
list(LENGTH names count)
message(NOTICE "rules: 8, of ${count} metrics")
