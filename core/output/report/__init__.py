"""The report of a selection: one HTML file without scripts, which opens without a server or network.

subject      the selection that a report is about, and what all of its parts read
overlap      its rows compared with those of the other measured methods, at its budget and at every one
make_up      its tasks, lengths and known bad rows, compared with the pool and random selections
examples     rows as text, with lengths bounded
map_picture  the stored map of the pool, with the selected rows in colour
proof        the verdicts that belong to it
origin       how it was made: recipe, models, versions, checksums, commands
svg          figures: arrays in, SVG out
write        the page, from page.html and all of these parts
"""
