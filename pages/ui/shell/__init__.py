"""Shell: what surrounds every page.

state         Collects what pages need of the session: settings, changes, the open pool, widgets.
current       Returns the open pool, and the run, method, budget and recipe of its settings.
settings      Defines the settings of a pool, and stores them in the workspace.
changes       Changes the settings, pins rows, and undoes changes.
saved         Saves, loads, renames and deletes selections under a name.
saved_files   Reads and writes the files of saved selections.
address       Writes the open view into the address bar.
visit         Initializes a session, and opens what a link names.
widgets       Sets the values of widgets, and stores a notice to show once.
show          Shows text, messages, files and formatted numbers.
context       Draws the sidebar.
jobs          Plans, starts and shows jobs.
tour          Draws the guided tour of the demo pool.
roots         Checks which files and servers a browser may name.
server        Adds headers, downloads and warm-up to the web server.
warmup        Fills the caches that every first visit needs.
"""
