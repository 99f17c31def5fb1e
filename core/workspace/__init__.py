"""The workspace: the folder where everything slow is stored, so that nothing is computed twice.

files   write files and folders atomically; turn disk errors into sentences
folder  the folder's layout, content keys and locks
parts   tables stored in parts, so that long work can be resumed
stages  run stages: locks, plans, missing parts, progress
jobs    run commands as detached processes with their state in files
"""
