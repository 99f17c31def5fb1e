"""Readers: from a file, folder or hub id to the JSON texts of its rows.

    sources     recognize what a source is and open its rows
    bytestream  read plain and gzip files in blocks, with lookahead
    json_rows   JSON Lines, JSON arrays, rows under the keys of one object
    tables      CSV, Parquet, and datasets from folders and the hub
    records     the blocks of JSON texts that every reader yields

`sources.open_source` is the entry point.
"""
