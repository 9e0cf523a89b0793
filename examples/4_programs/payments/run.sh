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
        step "$@"
        return
    fi
    # Not local: the trap at the end needs them.
    bank_bin=$(find /usr/lib/postgresql -name initdb -printf '%h\n' | sort -V | tail -n 1)
    bank_folder=$(mktemp -d -t payments-XXXXXX)
    bank_owner=()
    if [[ $EUID -eq 0 ]]; then  # the server refuses to run as root
        bank_owner=(runuser -u postgres --)
        chown postgres "$bank_folder"
    fi
    cd "$bank_folder"
    echo "examples/run: starting a PostgreSQL server of its own in $bank_folder" >&2
    step "${bank_owner[@]}" "$bank_bin/initdb" -D data -A trust -U bank -E UTF8 --locale=C --no-sync \
        >/dev/null
    end_bank() {
        trap '' INT TERM HUP  # whoever presses Ctrl-C twice leaves nothing behind either
        "${bank_owner[@]}" "$bank_bin/pg_ctl" -D "$bank_folder/data" -m fast stop >/dev/null || true
        rm -rf "$bank_folder"
    }
    trap end_bank EXIT
    # Not in this process group: Ctrl-C is for the program, and the server outlives it.
    step setsid --wait "${bank_owner[@]}" "$bank_bin/pg_ctl" -D data -w -l data/log \
        -o "-k $bank_folder -c listen_addresses=''" start >/dev/null
    "$1" --store "postgresql://bank@/postgres?host=$bank_folder" --plug "${@:2}" &
    bank_child=$!
    local code=0
    bank_told=
    trap 'bank_told=yes; kill -TERM "$bank_child" 2>/dev/null || true' INT TERM HUP
    # A trap ends the wait, and not the child.
    while
        wait "$bank_child" && code=0 || code=$?
        [[ -n $bank_told ]]
    do
        bank_told=
    done
    return $code
}
