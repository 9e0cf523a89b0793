# The policies that can sell on Redis.
set(policies "unguarded optimistic lock idempotent")
