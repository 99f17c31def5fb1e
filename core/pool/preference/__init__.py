"""Preference data: pairs of a chosen and a rejected response to one prompt.

    target_sets  load a target set and compare it with a pool
    reader       read the pairs of a source and sample `limit` of each sub-task
    labels       read labels that name the better of two responses
    formats      detect the format of preference data and read the pairs of a row

`target_sets.load_target_set` is the entry point.
"""
