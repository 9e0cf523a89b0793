# shellcheck shell=bash
#
# Sourced by examples/run. Without --store the accounts are in a PostgreSQL server of the program's own, which
# listens on a private socket, and goes with the program.

require_for_program() {
    [[ " $* " != *" --store "* && " $* " != *" --help "* ]] || return 0
    require_to_build_postgres
    require "postgresql" "keeps the accounts, in a server of the program's own" \
        "compgen -G '/usr/lib/postgresql/*/bin/initdb'"
}

# run_program <program> <argument>...
run_program() {
    if [[ " $* " == *" --store "* || " $* " == *" --help "* ]]; then
        exec "$@"
    fi
    # Not local: the traps need them.
    bank_bin=$(find /usr/lib/postgresql -name initdb -printf '%h\n' | sort -V | tail -n 1)
    bank_folder=$(mktemp -d -t payments-XXXXXX)
    bank_owner=()
    bank_child=
    end_bank() {
        trap '' INT TERM HUP  # whoever presses Ctrl-C twice leaves nothing behind either
        "${bank_owner[@]}" "$bank_bin/pg_ctl" -D "$bank_folder/data" -m fast stop >/dev/null 2>&1 || true
        rm -rf "$bank_folder"
    }
    trap end_bank EXIT
    trap 'exit 130' INT TERM HUP
    if [[ $EUID -eq 0 ]]; then  # the server refuses to run as root
        bank_owner=(runuser -u postgres --)
        chown postgres "$bank_folder"
    fi
    cd "$bank_folder"
    echo "examples/run: starting a PostgreSQL server of its own in $bank_folder" >&2
    step "${bank_owner[@]}" "$bank_bin/initdb" -D data -A trust -U bank -E UTF8 --locale=C --no-sync \
        >/dev/null
    # Not in this process group: Ctrl-C is for the program, and the server outlives it.
    step setsid --wait "${bank_owner[@]}" "$bank_bin/pg_ctl" -D data -w -l data/log \
        -o "-k $bank_folder -c listen_addresses=''" start >/dev/null
    bank_code=
    # Waits itself: where a trap has ended a wait, bash 5.2 does not know the code of the child any more.
    end_program() {
        trap '' INT TERM HUP
        bank_code=0
        [[ -n $bank_child ]] || exit 130
        kill -TERM "$bank_child" 2>/dev/null || true
        wait "$bank_child" || bank_code=$?
    }
    trap end_program INT TERM HUP
    "$1" --store "postgresql://bank@/postgres?host=$bank_folder" --plug "${@:2}" &
    bank_child=$!
    local code=0
    wait "$bank_child" || code=$?
    return "${bank_code:-$code}"
}
