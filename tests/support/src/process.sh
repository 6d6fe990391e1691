# Runs a program and supervises it. The output of the program is written to the standard error.
# $1: shell code that cleans up after the program has ended; may be empty. Other arguments: the program.
# Standard input: the names of signals to send, one per line. When it ends, the program is killed.
# Standard output: `pid N` at the start, `sent` after each signal, `exit N` when the program has ended.
set -u
tidy_up=$1
shift
exec 3<&0 </dev/null
# While this lock is held, folder.sh does not delete the folder, because the program may still use it.
exec 4<.
flock -s 4
"$@" 3<&- 4<&- >&2 &
program=$!
# From here on the output contains only that of the program, and ends when the program ends.
exec 2>/dev/null
trap '' HUP INT TERM PIPE
echo "pid $program"

# Whether process $1 is in one of the states $2 (proc_pid_status(5)).
in_state() {
    grep -qs "^State:[[:space:]][$2]" "/proc/$1/status"
}

children() {
    local status
    for status in $(grep -ls "^PPid:[[:space:]]$program\$" /proc/[0-9]*/status); do
        status=${status#/proc/}
        echo "${status%/status}"
    done
}

# Sends a signal. KILL, STOP and CONT are also sent to the children (a PostgreSQL server consists of many processes,
# each the leader of its own group); all other signals are sent only to the program.
deliver() {
    local victims process
    # After the end of the program, another process with another parent may have its process id.
    grep -qs "^PPid:[[:space:]]$$\$" "/proc/$program/status" || return
    case $1 in
    KILL | STOP)
        kill -s STOP "$program"
        # Until the program has stopped, it may start another child, to which no signal would be sent.
        while in_state "$program" RSDI; do
            sleep 0.01
            kill -s STOP "$program"
        done
        victims="$program $(children)"
        kill -s "$1" $victims
        [ "$1" = STOP ] && return
        # A zombie (Z) does not run any more and has no open files.
        for process in $victims; do
            while in_state "$process" RSDITt; do sleep 0.01; done
        done
        ;;
    CONT) kill -s CONT "$program" $(children) ;;
    *) kill -s "$1" "$program" ;;
    esac
}

obey() {
    local signal
    while read -r signal <&3; do
        deliver "$signal"
        echo sent
    done
    deliver KILL
}
obey &

wait "$program"
code=$?
eval "$tidy_up" >/dev/null
echo "exit $code"
wait
