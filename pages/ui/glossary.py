"""The glossary: terms of the pages, and markdown links from a word to its entry.

`link("delta_entropy", "ΔH")` works in markdown, help texts and labels; `shell.term_dialog` opens the entry. Small print
with a link is `st.markdown(f":small[... {link(...)} ...]")`: st.caption fades links until they are hard to read.
"""

from dataclasses import dataclass

ANCHOR = "#glossary-"  # of a link, before the key of its term


@dataclass(frozen=True)
class Term:
    """One entry: what a word means, its formula, and which end is good."""

    name: str
    meaning: str  # one or two sentences
    formula: str = ""  # LaTeX
    good: str = ""  # which end is good, of a number that has one
    see: tuple[str, ...] = ()  # keys of related terms


def link(key: str, text: str = "") -> str:
    """Return markdown that shows a word and opens its entry: `text`, by default the name of the term.

    Raises KeyError for a key without an entry.
    """
    name = TERMS[key].name
    return f"[{text or name}]({ANCHOR}{key})"


GROUPS: dict[str, dict[str, Term]] = {
    "Pool": {
        "pool": Term(
            "Pool",
            "The dataset that is open: rows with a prompt, and usually a response and a task. Winnow reads it once and "
            "never changes it.",
            see=("row", "skipped_rows", "budget"),
        ),
        "row": Term(
            "Row",
            "One training example: a prompt, which is everything before the last answer, and its response, which is "
            "that answer.",
            see=("pool", "response_length"),
        ),
        "skipped_rows": Term(
            "Skipped rows",
            "Lines of the source that cannot be used, such as empty prompts or broken JSON. Each is listed with its "
            "line number and the reason.",
            see=("pool",),
        ),
        "exact_duplicate": Term(
            "Exact duplicate",
            "A row with the same prompt and response as an earlier row. It stays in the pool unless a filter excludes "
            "it.",
            see=("near_duplicate",),
        ),
        "near_duplicate": Term(
            "Near-duplicate",
            "A row that is almost the same as another row. Similarity is the share of pairs of neighbouring words that "
            "both rows have.",
            r"\text{similarity} = |A \cap B| \,/\, |A \cup B|",
            see=("exact_duplicate", "semantic_duplicate", "overlap"),
        ),
        "semantic_duplicate": Term(
            "Semantic duplicate",
            "A row whose embedding nearly agrees with that of an earlier, kept row: the model reads almost the same in "
            "both. Similarity is the cosine of the two embeddings after the mean of the pool is subtracted.",
            r"\text{similarity} = \cos(x_a - m,\; x_b - m)",
            see=("near_duplicate",),
        ),
        "known_bad_rows": Term(
            "Known bad rows",
            "Rows of the demo pool that were made bad on purpose: swapped or truncated responses, gibberish, "
            "duplicates. They show which methods discard bad data.",
            good="Fewer in a selection are better.",
            see=("expected_by_chance",),
        ),
        "fingerprint": Term(
            "Fingerprint",
            "A checksum of all rows of a pool. Measurements, recipes and manifests name it, so they never apply to "
            "other rows.",
            see=("manifest",),
        ),
    },
    "Model": {
        "token": Term(
            "Token",
            "The unit that a model reads: a word or a part of one. Each model has its own tokens.",
            see=("response_length",),
        ),
        "response_length": Term(
            "Response length",
            "The number of tokens of a response, end of turn included. Many scores follow it, so check them against "
            "the baseline Longest response.",
            see=("baseline", "rank_correlation"),
        ),
        "base_model": Term(
            "Base model", "The model that measures, before any training by Winnow.", see=("calibrated_model", "warm_up")
        ),
        "warm_up": Term(
            "Warm-up training",
            "A short training of the base model on a random share of the pool. Entropy shift and preference influence "
            "need it.",
            see=("calibrated_model",),
        ),
        "calibrated_model": Term(
            "Calibrated model",
            "The base model after warm-up training. Entropy shift compares the two.",
            see=("base_model", "delta_entropy", "delta_nll"),
        ),
        "nll": Term(
            "NLL",
            "Negative log-likelihood: how much the response surprises the model, as a mean per token in nats.",
            r"\mathrm{NLL} = -\tfrac{1}{|y|} \sum_t \log \pi(y_t \mid x, y_{<t})",
            "No end is good in itself: low means predictable, high means new or noisy.",
            ("entropy", "delta_nll"),
        ),
        "entropy": Term(
            "Entropy (H)",
            "How uncertain the model is about each next token of the response, as a mean per token in nats. It is 0 "
            "where only one token is possible.",
            r"H = -\tfrac{1}{|y|} \sum_t \sum_v \pi(v \mid \cdot) \log \pi(v \mid \cdot)",
            "No end is good in itself.",
            ("nll", "delta_entropy"),
        ),
        "generated_answer": Term(
            "Generated answer",
            "An answer that a model writes to a prompt of the pool. The pool's own answer is called the response.",
            see=("divergence", "confidence"),
        ),
        "active_neuron": Term(
            "Active neuron",
            "One of the neurons of a layer that a row activates most, by default the top 1%.",
            see=("coverage", "activation_cluster"),
        ),
    },
    "Methods": {
        "delta_entropy": Term(
            "ΔH",
            "The change of entropy through warm-up training. Below 0 the model became less certain (expansion), above "
            "0 more certain (compression).",
            r"\Delta H = H_{\text{base}} - H_{\text{calibrated}}",
            "Entropy shift selects the lowest first.",
            ("entropy", "nll_band", "calibrated_model"),
        ),
        "delta_nll": Term(
            "ΔNLL",
            "The change of NLL through warm-up training. Below 0 the response became easier to predict, above 0 "
            "harder.",
            r"\Delta\mathrm{NLL} = \mathrm{NLL}_{\text{calibrated}} - \mathrm{NLL}_{\text{base}}",
            "Neither end is good: entropy shift excludes both.",
            ("nll", "nll_band"),
        ),
        "nll_band": Term(
            "ΔNLL band",
            "The rows that entropy shift keeps eligible: all but the share γ with the lowest and the share γ with the "
            "highest ΔNLL.",
            see=("delta_nll", "eligible", "filter"),
        ),
        "coverage": Term(
            "Coverage",
            "How much of what the pool activates in the model is activated by the selected rows as well. A neuron that "
            "many rows activate counts more, but less and less.",
            r"f(S) = \textstyle\sum_n g(\mathrm{count}_n(S)), \quad \text{coverage} = f(S) \,/\, f(\text{pool})",
            "Higher is better: the selection repeats itself less.",
            ("active_neuron", "coverage_gain"),
        ),
        "coverage_gain": Term(
            "Coverage gain",
            "What a row adds to coverage at the moment it is selected.",
            r"f(S \cup \{i\}) - f(S)",
            "Higher is better: the row adds variety.",
            ("coverage",),
        ),
        "activation_cluster": Term(
            "Activation cluster",
            "A group of rows that activate similar neurons. Its number is a name and not an amount.",
            see=("active_neuron",),
        ),
        "confidence": Term(
            "Confidence",
            "How sure the base model is of its own greedy continuation of a prompt, between 0 and 1.",
            r"\exp\big(\tfrac{1}{m} \sum_t \log p(\hat y_t)\big)",
            "Task confidence gives more rows to tasks with a low mean.",
            ("task_weight", "generated_answer"),
        ),
        "task_weight": Term(
            "Task weight",
            "The share of the budget that task confidence gives to a task, as long as the task has rows left.",
            r"w_t \propto 1 \,/\, c_t, \quad c_t = \text{mean confidence of task } t",
            see=("confidence", "budget"),
        ),
        "dispersion": Term(
            "Dispersion (D)",
            "How far apart the generated answers to a prompt lie, as embeddings. It is 0 where all are the same.",
            r"D = \mathrm{tr}(S_c) \,/\, K",
            "Answer divergence selects the highest first.",
            ("anisotropy", "divergence"),
        ),
        "anisotropy": Term(
            "Anisotropy (I)",
            "In how many directions the generated answers to a prompt differ. It is 0 where all differences lie on one "
            "line; the name is the paper's, although a high value means many directions.",
            r"I = 1 - \lambda_1 \,/\, \mathrm{tr}(S_c)",
            "Answer divergence selects the highest first.",
            ("dispersion", "divergence"),
        ),
        "divergence": Term(
            "Divergence",
            "The score of answer divergence: dispersion and anisotropy together, by default with w = 0.6.",
            r"w \cdot D + (1 - w) \cdot I",
            "The highest is selected first, within each semantic bin.",
            ("dispersion", "anisotropy", "semantic_bin"),
        ),
        "semantic_bin": Term(
            "Semantic bin",
            "A group of rows with similar prompts. Answer divergence selects rows from each bin in proportion to its "
            "size.",
            see=("divergence",),
        ),
        "influence": Term(
            "Influence",
            "How far a training step on the row would move the model towards the target set, as a cosine from −1 to 1.",
            r"\max_s \textstyle\sum_c \bar\eta_c \, \mathrm{mean}_{j \in s} \cos(\Gamma_i^c, v_j^c)",
            "Higher is better; below 0 the row moves the model away.",
            ("target_set", "warm_up"),
        ),
        "target_set": Term(
            "Target set",
            "Pairs of a chosen and a rejected answer that show what the trained model should prefer.",
            see=("influence",),
        ),
        "baseline": Term(
            "Baseline",
            "A simple order that a method has to beat: random, longest response, lowest or highest NLL.",
            see=("expected_by_chance", "response_length"),
        ),
    },
    "Selection": {
        "score": Term(
            "Score",
            "A number per row that a method computes from measurements. A missing score is counted, shown and never "
            "selected.",
            see=("measurement", "rank"),
        ),
        "rank": Term(
            "Rank",
            "The place of a row in the order of a method; rank 1 is selected first. Excluded rows have none.",
            see=("eligible", "budget"),
        ),
        "budget": Term(
            "Budget",
            "How much to select: a number of rows, a share of the pool or a number of response tokens.",
            see=("selection", "cutoff"),
        ),
        "selection": Term(
            "Selection",
            "The first rows of a method's order, as many as the budget allows, together with the rows that are always "
            "included.",
            see=("budget", "eligible", "pin"),
        ),
        "eligible": Term(
            "Eligible",
            "A row is eligible if no filter excludes it and it has all scores that the method needs. Only eligible "
            "rows are ranked.",
            see=("filter", "rank"),
        ),
        "filter": Term(
            "Filter",
            "A rule that excludes rows before the method ranks them, such as a range of a score or a task.",
            see=("eligible", "nll_band"),
        ),
        "pin": Term(
            "Always include, always exclude",
            "A decision by hand about one row, with an optional reason. Included rows count against the budget.",
            see=("selection",),
        ),
        "used_rows": Term(
            "Rows used already",
            "Rows of an earlier selection, which the present one tops up. They count in the budget, in quotas, for "
            "coverage and as duplicates, and are never selected again.",
            see=("budget", "selection"),
        ),
        "tag": Term(
            "Tag",
            "A free label on rows, given by hand. Rows can be filtered and highlighted by it, and exported with it.",
            see=("filter", "pin"),
        ),
        "cutoff": Term(
            "Cutoff",
            "The score of the last selected row, or the limit that you set. No row beyond it is selected.",
            see=("budget", "score"),
        ),
        "quantile": Term(
            "Quantile",
            "A value with a given share of all rows below it. The 50% quantile is the median.",
            see=("score",),
        ),
    },
    "Comparison": {
        "expected_by_chance": Term(
            "Expected by chance", "The mean of a figure over random selections of the same size.", see=("chance_range",)
        ),
        "chance_range": Term(
            "Chance range",
            "The 95% range of a figure for random selections of the same size. A figure within it shows no difference "
            "from random.",
            see=("expected_by_chance", "baseline"),
        ),
        "overlap": Term(
            "Overlap",
            "Jaccard index of two selections: the share of their rows that both have. It is 1 for the same rows and 0 "
            "for none in common.",
            r"|A \cap B| \,/\, |A \cup B|",
            see=("expected_by_chance",),
        ),
        "rank_correlation": Term(
            "Rank correlation",
            "Spearman's ρ: whether two columns put the rows in the same order. It is 1 for the same order, −1 for the "
            "reversed one and near 0 for unrelated ones.",
            r"\rho = \mathrm{corr}(\mathrm{rank}(a), \mathrm{rank}(b))",
            see=("response_length",),
        ),
        "shift": Term(
            "Shift",
            "The share of selected rows that you would have to replace to match the pool's distribution over groups "
            "(total variation distance).",
            r"\tfrac{1}{2} \textstyle\sum_k |p_k - q_k|",
            see=("chance_range",),
        ),
    },
    "Proof": {
        "proof": Term(
            "Proof",
            "An experiment: a model is trained on each selection and on as many random rows. The trained models are "
            "compared on rows that none of them was trained on.",
            see=("arm", "target_of_proof", "verdict"),
        ),
        "arm": Term(
            "Arm",
            "The rows that one model is trained on: a selection, a baseline or the whole pool. Every arm is trained "
            "once for each seed and learning rate.",
            see=("proof", "baseline", "equal_steps"),
        ),
        "target_of_proof": Term(
            "Target of a proof",
            "The rows that every trained model is judged on: held-out rows of the pool, or a file of your own.",
            see=("held_out_rows", "nll"),
        ),
        "held_out_rows": Term(
            "Held-out rows",
            "Random rows that leave the pool before any arm selects, together with their near-duplicates.",
            see=("target_of_proof", "near_duplicate"),
        ),
        "equal_steps": Term(
            "Equal steps",
            "Every arm is trained for the same number of steps, on the same number of response tokens a step. Short "
            "responses are then repeated more often than long ones.",
            see=("equal_epochs",),
        ),
        "equal_epochs": Term(
            "Equal epochs",
            "Every arm is trained on each of its rows equally often. Arms of longer responses then see more tokens.",
            see=("equal_steps",),
        ),
        "forest_plot": Term(
            "Forest plot",
            "One line for each arm: its difference from random as a mark, and the 95% interval as a bar. The arm "
            "differs from random if its bar does not reach the line of random.",
            see=("interval", "verdict"),
        ),
        "interval": Term(
            "95% interval",
            "The range that contains the true difference in 95% of proofs. It counts that other seeds and other rows "
            "would give other figures.",
            see=("forest_plot", "chance_range"),
        ),
        "smallest_effect": Term(
            "Smallest effect of interest",
            "A difference below which it does not matter which arm is better: by default 1% of the NLL of random. It "
            "is fixed before the first training run.",
            see=("verdict",),
        ),
        "verdict": Term(
            "Verdict",
            "Better than random, worse than random, no difference shown; with fewer than 5 seeds only an indication. "
            "A difference counts if it is significant among all arms, its interval reaches the smallest effect of "
            "interest, and its sign is the same at every learning rate.",
            see=("interval", "smallest_effect", "proof"),
        ),
        "preference_accuracy": Term(
            "Preference accuracy",
            "The share of pairs whose chosen answer the trained model finds likelier than the rejected one, by the "
            "mean log-probability of a token.",
            good="Higher is better.",
            see=("target_set",),
        ),
        "exact_match": Term(
            "Exact match",
            "The share of rows with a short response that the trained model answers with exactly this response.",
            good="Higher is better.",
            see=("target_of_proof",),
        ),
    },
    "Work and files": {
        "measurement": Term(
            "Measurement",
            "What a model says about every row, such as NLL or generated answers. It is slow, is stored, and never has "
            "to be repeated.",
            see=("run", "score"),
        ),
        "run": Term(
            "Run",
            "A finished measurement of one pool by one model with one set of settings.",
            see=("measurement", "workspace"),
        ),
        "workspace": Term(
            "Workspace", "The folder in which Winnow stores pools, runs, saved selections and exports.", see=("run",)
        ),
        "manifest": Term(
            "Manifest",
            "A file beside an export with checksums and everything that decided the selection. "
            "`python -m core replay` reproduces the export from it, byte for byte.",
            see=("recipe", "fingerprint"),
        ),
        "recipe": Term(
            "Recipe",
            "A YAML file with the pool, method, settings, budget, filters and pins of a selection. "
            "`python -m core run` measures what is missing and exports it.",
            see=("manifest",),
        ),
    },
}
TERMS = {key: term for terms in GROUPS.values() for key, term in terms.items()}
COLUMN_TERMS = {  # columns that are explained by the entry of another name
    "nll_cal": "nll",
    "nll_adapted": "nll",
    "entropy_cal": "entropy",
    "response_tokens": "response_length",
    "task_confidence": "confidence",
    "less": "influence",
}


def key_of_column(name: str) -> str:
    """Return the key of the entry that explains a column; "" if there is none."""
    column = name.partition(".")[0]
    key = COLUMN_TERMS.get(column, column)
    return key if key in TERMS else ""
