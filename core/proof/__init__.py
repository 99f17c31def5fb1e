"""Proof: does a selected subset train a better model than a random one of the same size?

plan            Describes a proof completely, before its first step.
"""
