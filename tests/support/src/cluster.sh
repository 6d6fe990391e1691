# Makes the files of a new PostgreSQL cluster in ./data. $1: whose they are, empty for the caller's.
# Rest: initdb or pg_basebackup without the folder.
#
# Nobody kills initdb, which would leave shared memory behind: it takes a second, and ends in order
# even if its test process is gone and nobody reads what it says. folder.sh waits for the lock.
set -eu
owner=$1
shift
trap '' HUP INT TERM PIPE
exec 4<.
flock -s 4
mkdir -m 700 data
[ -z "$owner" ] || chown "$owner:" data
exec "$@" -D "$PWD/data"
