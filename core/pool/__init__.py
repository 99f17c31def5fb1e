"""From a source to the rows of a pool: find the rows, see what they say, set aside what cannot be used.

    sources, hub, bytestream, records, jsonrows, tables    a file, folder or hub id -> JSON texts
    formats, view, turns                                   a JSON text -> prompt, response, turns
    sorting, identity, importer                            good rows with their ids -> the files of a pool

`core.pool.pools` is the door; nothing else needs to know what is in here.
"""
