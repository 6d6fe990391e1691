# Sends the signal $2 to all processes that run in the folder $1 or below it: Patroni, and the PostgreSQL that it has
# started, which is a child of neither. With STOP returns when none of them runs any more.
set -u
members() {
    find /proc/[0-9]*/cwd -maxdepth 0 -lname "$1*" 2>/dev/null | cut -d/ -f3
}
running() {
    local process
    for process in $(members "$1"); do
        grep -qs '^State:[[:space:]][RSDI]' "/proc/$process/status" && echo "$process"
    done
}
signal_to() {
    [ -z "$2" ] || kill -s "$1" $2 2>/dev/null
}
case $2 in
STOP)
    # Until all have stopped, one may start another.
    while victims=$(running "$1"); [ -n "$victims" ]; do
        signal_to STOP "$victims"
        sleep 0.01
    done
    ;;
*) signal_to "$2" "$(members "$1")" ;;
esac
