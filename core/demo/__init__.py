"""The demo pool, its preference set and the small model that ships with the app.

    pool          generate the demo pool with planted faults and their answer key
    closed_tasks  task families with one right answer
    open_tasks    task families with many good answers
    words         words for the sentences of the demo pool
    faults        plant known faults in clean rows
    pairs         generate the demo preference set
    measured      unpack the measured results that ship with the app
    build         measure the demo pool and pack the results
    training      how the shipped model was made

The model is in the folder `model` of this package.
"""

from pathlib import Path

MODEL_PATH = Path(__file__).parent / "model"
