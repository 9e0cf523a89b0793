#!/usr/bin/env bash
#
# end_sessions_on_postgres.sh <url>: ends all sessions of the library.

psql -qAtc "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'interlock'" "$1"
