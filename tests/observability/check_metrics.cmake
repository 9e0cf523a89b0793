# cmake -D METRICS=<program> -D WORK=<folder> -P check_metrics.cmake
#
# What PrometheusObserver says is well formed, and has each metric with its unit, type and labels.

include("${CMAKE_CURRENT_LIST_DIR}/promtool.cmake")
read_metrics()

execute_process(COMMAND ${promtool} check metrics INPUT_FILE "${WORK}/metrics.txt"
    RESULT_VARIABLE code OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(NOT code EQUAL 0 OR NOT output STREQUAL "")
    message(FATAL_ERROR "promtool check metrics: ${code}\n${output}")
endif()

# has(<name> <type> <regular expression of the labels> <of the value>): one series of it at least.
function(has name type labels value)
    if(NOT metrics MATCHES "\n# TYPE ${name} ${type}\n")
        message(FATAL_ERROR "${name} is no ${type}:\n${metrics}")
    endif()
    set(suffix "")
    if(type STREQUAL "histogram")
        set(suffix "_count")
    endif()
    if(labels)
        set(labels "{${labels}}")
    endif()
    if(NOT metrics MATCHES "\n${name}${suffix}${labels} ${value}\n")
        message(FATAL_ERROR "there is no ${name}${suffix}${labels} ${value}:\n${metrics}")
    endif()
endfunction()

set(optimistic "policy=\"optimistic_versioning\",backend=\"memory\"")
set(locked "policy=\"set_nx_lock\",backend=\"memory\"")
has(interlock_transaction_duration_seconds histogram "${optimistic},operation=\"sell\"" 1)
has(interlock_transaction_duration_seconds histogram
    "${optimistic},operation=\"sell\",error_type=\"not_found\"" 1)
has(interlock_transaction_duration_seconds histogram
    "${locked},operation=\"sell\",error_type=\"user_exception\"" 1)
has(interlock_transaction_duration_seconds histogram "${optimistic}" 1)
has(interlock_transaction_attempts histogram "${optimistic}" 4)
has(interlock_retries_total counter "policy=\"optimistic_versioning\",reason=\"version_conflict\"" 1)
has(interlock_lock_wait_seconds histogram "phase=\"local_queue\",result=\"ok\"" "[1-9][0-9]*")
has(interlock_lock_wait_seconds histogram "phase=\"store\",result=\"ok\"" "[1-9][0-9]*")
has(interlock_lock_wait_seconds histogram "phase=\"wake_up\",result=\"deadline_exceeded\"" 1)
has(interlock_lock_hold_seconds histogram "handed_on=\"true\"" 1)
has(interlock_lock_hold_seconds histogram "handed_on=\"false\"" "[1-9][0-9]*")
has(interlock_lock_held gauge "backend=\"memory\"" 0)
has(interlock_lock_waiting gauge "backend=\"memory\"" 0)
has(interlock_lock_lost_total counter "reason=\"removed\"" 1)
has(interlock_lock_lost_total counter "reason=\"taken\"" 0)
has(interlock_lock_fenced_out_total counter "" 1)
has(interlock_lock_in_doubt_total counter "" "[0-9]+")
has(interlock_lock_renewal_lag_seconds histogram "" "[1-9][0-9]*")
has(interlock_outcome_unknown_total counter "cause=\"unavailable\",resolved=\"unknown\"" 1)
has(interlock_outcome_unknown_total counter "cause=\"unavailable\",resolved=\"applied\"" 1)
has(interlock_idempotency_requests_total counter "result=\"executed\"" 1)
has(interlock_idempotency_requests_total counter "result=\"replayed\"" 1)
has(interlock_idempotency_requests_total counter "result=\"mismatch\"" 1)
has(db_client_operation_duration_seconds histogram
    "db_system_name=\"memory\",db_operation_name=\"create_and_load\"" 2)
has(db_client_operation_duration_seconds histogram
    "db_system_name=\"memory\",db_operation_name=\"load\",error_type=\"not_found\"" 1)
set(elsewhere "db_system_name=\"elsewhere_sql\"")
has(db_client_connections gauge "${elsewhere}" 8)
has(db_client_connection_pending_requests gauge "${elsewhere}" 2)
has(db_client_connection_timeouts_total counter "${elsewhere}" 1)
has(db_client_connection_wait_time_seconds histogram "${elsewhere}" 1)
has(interlock_connection_changes_total counter "${elsewhere},change=\"lost\"" 1)

# Seconds, not nanoseconds: a call in memory takes less than one.
set(below_one "(0\\.[0-9]+|[0-9.]+e-[0-9]+)")
if(NOT metrics MATCHES "\ninterlock_transaction_duration_seconds_sum{${optimistic}} ${below_one}\n")
    message(FATAL_ERROR "the sum of a duration is not in seconds:\n${metrics}")
endif()
if(metrics MATCHES "sku-1")
    message(FATAL_ERROR "a key became a label")
endif()
message(NOTICE "metrics: each is there")
