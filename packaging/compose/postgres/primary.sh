#!/usr/bin/env bash
# Run once by the image of PostgreSQL, on a new data folder: lets a replica follow this server.
set -euo pipefail

# The password is a value for psql, never a part of the statement's text.
psql -v ON_ERROR_STOP=1 -v password="$REPLICATION_PASSWORD" -U "$POSTGRES_USER" -d "$POSTGRES_DB" <<'SQL'
CREATE ROLE replication_user LOGIN REPLICATION PASSWORD :'password';
SQL
echo 'host replication replication_user samenet scram-sha-256' >>"$PGDATA/pg_hba.conf"
