"""A day of recordings in numbers, from the sidecars alone, wherever they are.

    python3 day.py /srv/edgerec/ready 2026-11-22

`kiosk=.../date=...` in the paths is Hive partitioning: DuckDB (`pip install duckdb`) reads a folder
or a bucket of sidecars as one table, and only the days that are asked for.
"""

from __future__ import annotations

import sys

import duckdb

HOURS = """
select
    kiosk,
    hour(started_at::timestamp) as hour,
    count(*) as files,
    round(sum(frames / format.sample_rate) / 60, 1) as minutes,
    max(tracks.user.peak_dbfs) as loudest_user_dbfs,
    round(max(abs(tracks.user.drift_ppm - tracks.bot.drift_ppm)), 1) as apart_ppm
from day group by all order by all
"""
GAPS = """
with gaps as (
    select kiosk, 'user' as track, format.sample_rate as rate, unnest(tracks.user.gaps) as gap
    from day
    union all
    select kiosk, 'bot', format.sample_rate, unnest(tracks.bot.gaps)
    from day
)
select kiosk, track, gap.reason, count(*) as gaps, round(sum(gap.frames / rate), 3) as seconds
from gaps group by all order by all
"""
TABLE = """
create view day as select * from read_json(
    $sidecars, hive_partitioning = true, union_by_name = true, columns = {
        started_at: 'varchar', frames: 'bigint',
        format: 'struct(sample_rate bigint)',
        tracks: 'struct(
            "user" struct(drift_ppm double, peak_dbfs double,
                          gaps struct(frames bigint, reason varchar)[]),
            bot struct(drift_ppm double, peak_dbfs double,
                       gaps struct(frames bigint, reason varchar)[]))'
    })
where "date" = $date
"""


def main() -> int:
    """Print the day's hours, and its gaps."""
    ready, date = sys.argv[1], sys.argv[2]
    sidecars = f"{ready}/kiosk=*/date={date}/*_chunk.json"
    database = duckdb.connect()
    table = TABLE.replace("$sidecars", quoted(sidecars)).replace("$date", quoted(date))
    database.execute(table)
    for query in (HOURS, GAPS):
        print(database.sql(query))
    return 0


def quoted(text: str) -> str:
    """Return a text as SQL has it; a view takes no parameters."""
    return "'" + text.replace("'", "''") + "'"


if __name__ == "__main__":
    sys.exit(main())
