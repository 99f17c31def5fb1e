"""What the pages share: figures, cached data, state, and a folder for the parts of each page.

shell       Holds the state of a visit, the sidebar, jobs and the web server around the pages.
data        Loads and caches what pages show, and computes live selections.
charts      Draws figures and HTML from arrays.
controls    Draws the budget, the method's parameters and the filters.
row         Lists rows and shows everything about an open one.
targets     Shows, checks and adds target sets.
pool        Draws the parts of the Pool page.
measure     Draws the parts of the Measure page.
explore     Draws the parts of the Explore page.
map         Draws the map of the Explore page.
compare     Draws the parts of the Compare page.
select      Draws the parts of the Select page.
export      Draws the parts of the Export page.
words       Names every column, with its unit and the meaning of its two ends.
theme       Defines the colours that have a meaning.
"""
