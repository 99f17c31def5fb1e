"""Proof: does a selected subset train a better model than a random one of the same size?

plan            Describes a proof completely, before its first step.
arms            From the words of a command to the rows that each arm is trained on.
row_files       Finds the rows of the pool that a file lists.
evaluation      Draws held-out rows, and reads targets as the trained model does.
design          From what is asked for to a plan, the rows of its arms and the rows to evaluate on.
runs            Trains and evaluates one model, stored and resumable.
verdicts        From the figures of training runs to differences from random, with intervals and words.
headline        The result in one sentence.
stored          Proofs in the workspace: plan, rows, result; the proof of a selection.
row_losses      Losses of trained models row by row.
workers         Does training runs beside each other, in processes of their own.
cost            Estimates what the runs of a proof will take.
prove           Runs a proof: all training runs, then verdicts.
collect         Results of a proof that was trained elsewhere, checked and judged.
influence_check Correlates influence with training on random halves of the rows.
"""
