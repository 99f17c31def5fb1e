"""The workspace: the folder where everything slow is stored, so that nothing is computed twice.

checksums  checksums of stored files, written before them and verified when they are read
files      write files and folders atomically; turn disk errors into sentences
folder     the folder's layout, content keys and locks
leftovers  remove what killed workers left
parts      tables stored in parts, so that long work can be resumed
shards     processes that run one command together
stages     run slow work on a pool in parts, once, under a lock
jobs       run commands as detached processes with their state in files
inventory  list what a workspace holds, with sizes, last use and dependencies
deletion   delete items that no worker uses
"""
