# The policies that can sell on PostgreSQL, and how a server ends all sessions of the sale.
set(policies "unguarded optimistic pessimistic lock idempotent")
set(end_sessions "${CMAKE_CURRENT_SOURCE_DIR}/end_sessions_on_postgres.sh")
