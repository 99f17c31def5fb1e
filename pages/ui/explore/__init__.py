"""Parts of the Explore page, one module per topic, and the sections that combine them.

answer_bins            rows selected from each semantic bin
answers                dispersion and directions of generated answers
clusters               rows selected from each activation cluster
coverage               coverage that a selection reaches
influence              score, target and warnings of preference influence
influence_agreement    agreement between targets, with LESS and between sub-tasks; pair accuracy
influence_check        training on random halves against summed influence
influence_extremes     the most helpful and the most harmful rows
influence_spread       distribution of influence, and its relation to response length
picks                  figures in which rows are picked, by a click or a lasso
scores                 distribution and correlations of one score
sections               the sections of the page, each combining these modules
shifts                 ΔNLL and ΔH of each row, and by task
tasks                  confidence by task, and the budget of each task
"""
