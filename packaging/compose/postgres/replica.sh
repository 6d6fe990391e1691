#!/usr/bin/env bash
# A streaming replica of the server PGHOST: copies it once, into an empty PGDATA, and then follows it.
set -euo pipefail

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    # What a copy that was interrupted has left would be in the way.
    find "$PGDATA" -mindepth 1 -delete
    # -R writes down whom to follow, password included, for the server below.
    pg_basebackup -d "host=$PGHOST user=replication_user application_name=replica" -D "$PGDATA" -R -X stream -c fast
fi
# Docker creates the folder with access for all users, and the server refuses to start in such a folder.
chmod 0700 "$PGDATA"
exec postgres
