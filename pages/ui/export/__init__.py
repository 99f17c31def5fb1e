"""Parts of the Export page.

download    what is written and how, the finished files, and the equivalent commands
"""
