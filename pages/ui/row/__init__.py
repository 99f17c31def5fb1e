"""Tables of rows, and the reader of the open one.

table              a table of rows; a click on a row opens it
reader             the open row, docked at the right
keys               keys of the keyboard, and what each does
anchor             script that keeps what was clicked where it is on the screen
pins               rows that are included or excluded always
tags               the tags of a row, and buttons that add one to rows or remove it
inspector          the parts of an open row, one of them drawn
scores             percentile of each score, and rank under every measured method
tokens             one row token by token, read by a job
neighbours         the nearest selected row, and the duplicates of a row
duplicates         near- and semantic duplicates: marks of a row, labels of filters, the job that finds them
answers            one row's generated answers: texts, map, similarities, verdict
answer_source      load the answers of one row from its stored part
answer_drawings    HTML of the map and the similarities of answers
drawings           HTML of the token strip and of the tables of scores and ranks
"""
