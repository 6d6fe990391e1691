# Fills a database with consistent schedules and bookings by COPY. To be sourced after servers.sh.
#
# Every schedule has one section A with rows of 100 seats, as those of `seatlock bench`. From the first seat on, each
# five seats are a booking of three and a booking of two. One journal entry has the seats of ten such pairs, and the
# batches are a month old: their records have been purged.

# A view of the groups of schedules: kind, first schedule, number of schedules, seats, sold seats.
# With the scale 1: 10,000 schedules, 30.9 million seats, 10 million bookings.
create_groups() { # database, scale, number of schedules that are nearly sold out
    sql "$1" <<SQL
CREATE TABLE filled (kind TEXT, first BIGINT, schedules INTEGER, seats INTEGER, sold INTEGER);
INSERT INTO filled VALUES ('arena', 1, ceil(1000 * $2), 10000, 8000);
INSERT INTO filled SELECT 'nearly', first + schedules, $3, 100000, 95000 FROM filled WHERE kind = 'arena';
INSERT INTO filled SELECT 'hall', first + schedules, ceil((9000 - $3) * $2), 1800, 1400 FROM filled WHERE kind = 'nearly';
CREATE VIEW filled_schedule AS
    SELECT f.*, f.first + s AS id, 1790000000000 + (f.first + s) * 1000 AS at
    FROM filled f, generate_series(0, f.schedules - 1) s;
-- A pair of bookings: of the five seats from 5 * pair on.
CREATE VIEW filled_pair AS SELECT s.*, pair FROM filled_schedule s, generate_series(0, s.sold / 5 - 1) pair;
CREATE FUNCTION claim(at BIGINT, schedule BIGINT, number BIGINT) RETURNS UUID IMMUTABLE LANGUAGE sql RETURN
    (lpad(to_hex(at), 12, '0') || '70008' || lpad(to_hex(schedule), 7, '0') || lpad(to_hex(number), 8, '0'))::uuid;
SQL
}

copy() { # database, table, columns, query
    sql "$1" -c "COPY ($4) TO STDOUT" | sql "$1" -1 -c "TRUNCATE $2" -c "COPY $2 ($3) FROM STDIN (FREEZE)"
}

# Fills a database whose schema exists.
fill() { # database, scale, number of schedules that are nearly sold out
    local database=$1 tables="'seat', 'booking', 'booking_seat', 'journal', 'hold'" indexes
    create_groups "$@"
    sql "$database" <<SQL
INSERT INTO event (id, name, created_at) VALUES (1, 'Growth', 1790000000000);
INSERT INTO seat_plan SELECT kind, 1, json_build_object('sections', json_build_array(json_build_object('name', 'A', 'rows',
    (SELECT json_agg(json_build_object('name', r::text, 'seats', (SELECT json_agg(json_build_object(
        'number', n::text, 'label', 'A-' || r || '-' || n, 'price', 1000) ORDER BY n) FROM generate_series(1, 100) n))
        ORDER BY r) FROM generate_series(1, seats / 100) r)))), seats, 1790000000000 FROM filled;
INSERT INTO schedule (id, event_id, starts_at, currency, max_seats_per_booking, hold_ttl_ms, plan_id, plan_version, seats,
    created_at) SELECT id, 1, 1900000000000, 'EUR', 10, 600000, kind, 1, seats, at FROM filled_schedule;
SELECT setval(pg_get_serial_sequence('event', 'id'), 1), setval(pg_get_serial_sequence('schedule', 'id'), max(id)) FROM schedule;
INSERT INTO schedule_version SELECT id, 1 + sold / 50 FROM filled_schedule;
SQL
    # Indexes that are not in the order of the rows are created afterwards.
    indexes=$(sql "$database" -c "SELECT indexdef || ';' FROM pg_indexes WHERE tablename IN ($tables) AND indexname NOT LIKE '%_pkey'")
    sql "$database" -c "SELECT 'DROP INDEX ' || indexname || ';' FROM pg_indexes WHERE tablename IN ($tables)
        AND indexname NOT LIKE '%_pkey'" | sql "$database"
    copy "$database" seat "schedule_id, number, label, price, state, booking_id" "SELECT id, n, 'A-' || n / 100 + 1 || '-' ||
        n % 100 + 1, 1000, CASE WHEN n < sold THEN 2 ELSE 0 END,
        CASE WHEN n < sold THEN claim(at, id, n / 5 * 2 + (n % 5) / 3) END
        FROM filled_schedule, generate_series(0, seats - 1) n"
    copy "$database" booking_seat "schedule_id, number, booking_id" "SELECT id, n, claim(at, id, n / 5 * 2 + (n % 5) / 3)
        FROM filled_schedule, generate_series(0, sold - 1) n"
    # Two million customers, with five bookings each.
    copy "$database" booking "schedule_id, id, customer_id, seats, live_seats, status, created_at" "SELECT id,
        claim(at, id, pair * 2 + half), 'bench-' || (id * 7919 + pair * 2 + half) % ceil(2000000 * $2)::bigint,
        CASE half WHEN 0 THEN format('[%s,%s,%s]', pair * 5, pair * 5 + 1, pair * 5 + 2)
            ELSE format('[%s,%s]', pair * 5 + 3, pair * 5 + 4) END, 3 - half, 0, at
        FROM filled_pair, generate_series(0, 1) half"
    copy "$database" journal "schedule_id, version, batch_id, at, changes" "SELECT id, e + 2, claim(at, id, e), at,
        (SELECT '[' || string_agg('[' || n || ',2]', ',' ORDER BY n) || ']' FROM generate_series(e * 50, e * 50 + 49) n)
        FROM filled_schedule, generate_series(0, sold / 50 - 1) e"
    PGOPTIONS='-c maintenance_work_mem=512MB' sql "$database" <<<"$indexes"
    sql "$database" -c 'VACUUM (ANALYZE)' -c CHECKPOINT
}
