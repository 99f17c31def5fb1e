"""Readers: from a file, folder, pattern or hub id to the JSON texts of its rows.

    sources     recognize what a source is and open its rows
    file_list   the data files that a folder or a pattern names
    shards      several files read as one source
    bytestream  read plain and gzip files in blocks, with lookahead
    limits      bounds of a row and of what a file unpacks to
    lines       lines of any length in bounded memory
    json_rows   JSON Lines, rows under the keys of one object
    json_array  the elements of a JSON array
    csv_rows    CSV and TSV, read strictly
    hub         files of datasets of the hub, in the cache of its client
    hub_errors  what the client of the hub raises, in sentences
    tables      Parquet, and folders that `datasets` wrote
    records     the blocks of JSON texts that every reader yields

`sources.open_source` is the entry point.
"""
