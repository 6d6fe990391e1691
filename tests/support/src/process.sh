# Runs a program and watches over it. The program's output goes to the standard error.
# $1: shell code that tidies up after the program when it has ended, may be empty. Rest: the program.
# Standard input: the names of signals to send, one a line; its end is the end of the program.
# Standard output: `pid N` at the start, `sent` after each signal, `exit N` when the program has ended.
set -u
tidy_up=$1
shift
exec 3<&0 </dev/null
# folder.sh does not delete the folder under a program that is being ended.
exec 4<.
flock -s 4
"$@" 3<&- 4<&- >&2 &
program=$!
# From here on the output ends when the program does, and holds nothing but the program's.
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

# KILL, STOP and CONT mean the children too (a PostgreSQL server is many processes, and each leads a
# group of its own), all else is for the program to understand.
deliver() {
    local victims process
    # After its end the number may belong to somebody else, who then has another parent.
    grep -qs "^PPid:[[:space:]]$$\$" "/proc/$program/status" || return
    case $1 in
    KILL | STOP)
        kill -s STOP "$program"
        # Until it stands still it may have another child, which would be missed.
        while in_state "$program" RSDI; do
            sleep 0.01
            kill -s STOP "$program"
        done
        victims="$program $(children)"
        kill -s "$1" $victims
        [ "$1" = STOP ] && return
        # A zombie (Z) is not running any more and holds nothing.
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
