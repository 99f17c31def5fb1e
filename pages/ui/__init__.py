"""What the pages share, and a folder for the parts of each page.

shell       the session, the sidebar, jobs, and the web server around the pages
data        cached data, live selections, distributions
charts      figures and HTML drawn from arrays
controls    budget, parameters of the method, filters
row         tables of rows, and the reader of the open one
targets     target sets: choice, facts, pairs
pool        parts of the Pool page
measure     parts of the Measure page
explore     parts of the Explore page
map         the map of the Explore page
compare     parts of the Compare page
select      parts of the Select page
proof       parts of the Proof page
export      parts of the Export page
workbench   the frame of every page: bar, highlight, reader
words       labels, units and meanings of columns; names for display
glossary    definitions of terms, and `link("delta_entropy", "ΔH")`: markdown of a word that opens its entry
theme       colours with a meaning
"""
