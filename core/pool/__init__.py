"""Pools: from a source of rows to the stored pool that all work starts from.

    pools             open, list, read and search pools in the workspace
    source_files      name the files that a pool was read from, and what has changed in them
    importer          write a source's rows into the files of a pool
    schema_detection  find the schema of a pool and map its fields
    row_view          read prompt, response and turns from an original row
    nested_fields     look up fields by name, also within objects
    turns             read field values as text or as turns of a conversation
    turn_parts        reasoning and tool calls of a turn, apart from its text
    row_block         parse the rows of a block, with the reason for those that are skipped
    validation        separate usable rows from skipped rows
    fingerprint       name rows and pools by their content
    near_duplicates   compute and store the near-duplicates of a pool
    row_lookup        find the rows of a pool that a file lists
    pool_columns      columns of a pool that no run measured
    outside_scores    read scores of other tools, joined to a pool by id
    benchmarks        compute and store the overlap of a pool with benchmark files
    text_overlap      shared n-grams and near-duplicates between two sets of texts
    minhash           MinHash signatures and groups of similar texts
    readers           files, folders and hub ids -> JSON texts of rows
    preference        preference data -> target sets

`core.pool.pools` is the entry point.
"""
