"""Parts of the Export page.

download    what is written and how, the finished files, and the equivalent commands
report      the selection as one HTML file, written and offered for download
score_file  the scores of every row, for other tools
"""
