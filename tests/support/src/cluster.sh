# Creates the files of a new PostgreSQL cluster in ./data. $1: the owner of the files; if empty, the caller.
# Other arguments: the command line of initdb or pg_basebackup without the folder.
#
# initdb is never killed, because a killed initdb leaves shared memory behind. It takes about a second, and ends
# normally even if its test process has ended and its output is not read. folder.sh waits for the lock.
set -eu
owner=$1
shift
trap '' HUP INT TERM PIPE
exec 4<.
flock -s 4
mkdir -m 700 data
[ -z "$owner" ] || chown "$owner:" data
exec "$@" -D "$PWD/data"
