"""Facts as people read them: labels in place of keys, units, and tables. Programs get the facts unchanged (--json)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from core.cli.arguments import Facts
from core.columns import cut_in_words, duplicates_of
from core.measurement import find_column
from core.measurement.stage_times import STAGES
from core.progress import format_duration
from core.proof.headline import format_difference
from core.proof.plan import MACRO
from core.workspace.inventory import format_size

LABELS = {
    "coverage": "coverage f(S)",
    "coverage_of_pool": "coverage f(pool)",
    "coverage_share": "share of f(pool)",
    "cut": "truncated rows",
    "duplicates": "exact duplicates",
    "fields_not_read": "unread fields",
    "filled_by_score": "rows filled by score",
    "held_out": "validation split",
    "held_out_rows": "rows of the validation split",
    "planted": "known bad rows",
    "prompt_chars": "prompt length (characters)",
    "rejected": "unselected rows",
    "release_rows": "rows by the authors' rule",
    "release_selects": "rows that the authors' rule selects",
    "response_chars": "response length (characters)",
    "set_aside": "skipped rows",
    "shortfall": "unfilled budget",
    "sha256": "SHA-256",
    "unmatched_rows": "used rows that the pool does not have",
    "used": "rows used already",
    "without": "rows without a position",
    "without_response": "rows without a response",
}
MAX_FILES = 8  # of a pool, listed
FIGURES = {"nll": "NLL", "preference_accuracy": "preference accuracy", "exact_match": "exact match"}
COSTS = {
    "estimated_seconds": "estimated time",
    "training_seconds": "training time",
    "evaluation_seconds": "evaluation time",
}
ANSWER_PROBLEMS = {
    "missing": "missing",
    "empty": "empty",
    "refused": "seem to be refusals",
    "truncated": "hit the token limit",
}


def in_words(command: str, facts: Facts) -> Facts:
    """Return the facts of a command with labels, units and tables for people."""
    shown = COMMANDS[command](facts) if command in COMMANDS else facts
    if "unmatched_rows" in facts:  # of files of rows used already
        names = f" (such as {', '.join(facts['unmatched_rows'])})" if facts["unmatched"] else ""
        shown = shown | {"unmatched_rows": f"{facts['unmatched']:,}{names}"}
        del shown["unmatched"]
    return {LABELS.get(name, name): value for name, value in shown.items()}


def _inspect(facts: Facts) -> Facts:
    fields = {name: " + ".join(v) if isinstance(v, tuple) else v for name, v in facts["fields"].items()}
    skipped = [f"{n:,} × {reason}" for reason, n in facts["set_aside"].items()] or "none"
    unread = ", ".join(facts["fields_not_read"]) or "none"
    files = [f"{file['name']}: {file['rows']:,} row{'s' * (file['rows'] != 1)}" for file in facts["files"]]
    shown = facts | {"set_aside": skipped, "fields": fields, "fields_not_read": unread, "files": _abridge(files)}
    if len(files) < 2:
        del shown["files"]
    return shown


def _abridge(lines: list[str]) -> list[str]:
    """Return the first lines, and how many more there are."""
    more = len(lines) - MAX_FILES
    return [*lines[:MAX_FILES], f"and {more:,} more (all with --json)"] if more > 0 else lines


def _imported(facts: Facts) -> Facts:
    unknown, ids = f"{facts['unmatched']:,}", ", ".join(facts["unmatched_ids"])
    return {
        "pool": facts["pool"],
        "scores": ", ".join(f"{one} (low is good)" if one in facts["low"] else one for one in facts["columns"]),
        "rows with scores": f"{facts['matched']:,} of {facts['rows']:,}",
        "ids that the pool does not have": f"{unknown} (such as {ids})" if ids else unknown,
        "ids given twice": f"{facts['repeated']:,} (the last counts)" if facts["repeated"] else "0",
        "rank by one with": f"--method imported --set field={facts['columns'][0]}",
    }


def _overlap(facts: Facts) -> Facts:
    overlapping = facts["overlapping"]
    by_side = ", ".join(f"{count:,} by {side}" for side, count in facts["by_side"].items() if count)
    return {
        "pool": facts["pool"],
        "benchmark": f"{facts['name']}: {facts['benchmark_rows']:,} rows in {len(facts['files']):,} files",
        "texts too short to compare": f"{facts['short']:,}",
        "rows that overlap": f"{overlapping:,} of {facts['rows']:,}" + (f" ({by_side})" if overlapping else ""),
        "exclude them with": f"--filter {facts['column']}=0",
    }


def _duplicates(facts: Facts) -> Facts:
    kind = duplicates_of(facts["column"])
    assert kind is not None
    return {
        "pool": facts["pool"],
        "rows": facts["rows"],
        "exact duplicates": facts["exact_duplicates"],
        f"{kind.name}s": f"{facts[kind.key]:,} (column {facts['column']})",
        "groups": f"{facts['groups']:,}, the largest of {facts['largest_group']:,} rows" if facts["groups"] else "none",
        **({"embeddings by": facts["model"]} if kind.embedding else {}),
    }


def _measure(facts: Facts) -> Facts:
    shown: Facts = {"run": facts["run"], "rows": facts["rows"], "tokens read": facts["tokens"]}
    shown["model"] = f"{facts['model']['name']}, revision {facts['model']['revision']}"
    if "start_model" in facts:
        shown["start model"] = _start_model(facts["start_model"])
    if "groups" in facts:
        shown["groups"] = [each | {"expand": _percent(each["expand"])} for each in facts["groups"]]
    if "tasks" in facts:
        names = facts["tasks"]["names"]
        shown["tasks"] = f"{len(names):,} from {facts['tasks']['source']} ({', '.join(names)})"
    if "answers" in facts:
        shown["answers"] = _answers(facts["answers"])
    columns = facts["columns"].items()
    shown["columns"] = [{"column": name, "meaning": _column_label(name)} | about for name, about in columns]
    cut = facts["cut"]
    shown["truncated rows"] = f"{cut['rows']:,}: {cut_in_words(cut)}" if cut["rows"] else 0
    shown["time"] = _times([(*STAGES.get(kind, (kind, "")), seconds) for kind, seconds in facts["seconds"].items()])
    shown["total time"] = format_duration(sum(facts["seconds"].values()))
    shown |= _curves(facts)
    if "others" in facts:
        shown["other methods"] = [{"method": other["also"], "run": other["run"]} for other in facts["others"]]
    return shown | {"warnings": facts["warnings"]}


def _estimate(facts: Facts) -> Facts:
    shown: Facts = {"rows": facts["rows"], "tokens": f"about {facts['tokens']:,}"}
    if facts["takes"]:
        shown["base model measures"] = facts["takes"]
    shown["stages"] = _times([(each["stage"], each["what"], each["seconds"]) for each in facts["stages"]])
    shown["total time"] = format_duration(facts["seconds"])
    if facts["cards"] > 1:
        shown["workers"] = f"{facts['cards']:,}, one for each GPU; the times are for one worker"
    shown["peak memory"] = format_size(facts["memory_bytes"])
    shown["disk"] = f"{format_size(facts['disk_bytes'])} of {format_size(facts['disk_free_bytes'])} free"
    if facts["generated"] and not facts["answering_seconds"]:
        shown["server"] = f"generates up to {facts['generated']:,} tokens; its time is not included"
    trial = f"{facts['trial_rows']:,} rows in {format_duration(facts['trial_seconds'])}"
    return shown | {"trial": f"{trial} on {facts['device']} ({facts['dtype']})"}


def _select(facts: Facts) -> Facts:
    keys = {"chosen": "file", "tokens": "response tokens"}
    shown = {keys.get(name, name): value for name, value in facts.items()}
    shown["excluded"] = _counts(facts["excluded"])
    if "cut" in facts:
        shown["cut"] = f"{facts['cut']['rows']:,}: {cut_in_words(facts['cut'])}" if facts["cut"]["rows"] else 0
    if not facts["held_out_rows"]:
        del shown["held_out_rows"]
    own = dict(facts.get("facts", {}))
    if "start_model" in own:
        shown["start model"] = _start_model(own.pop("start_model"))
    if "coverage_share" in own:
        own["coverage_share"] = _percent(own["coverage_share"])
    return {name: value for name, value in shown.items() if name != "facts"} | own


def _export(facts: Facts) -> Facts:
    facts = dict(facts)
    push = facts.pop("push", None)
    shown = _select(facts)
    if push is None:
        return shown
    shown["repository"] = f"{push['url']} ({'private' if push['private'] else 'public'})"
    shown["builds on"] = push["revision"] or "nothing: the repository is new"
    shown["files"] = [
        {"file": file["name"], "size": format_size(file["bytes"]), "replaces": "yes" if file["replaces"] else ""}
        for file in push["files"]
    ]
    shown["notices"] = list(push["notices"])
    shown["sent"] = push["commit"] or "nothing; add --yes to send these files"
    return shown


def _replay(facts: Facts) -> Facts:
    return {"file": facts["chosen"], "rows": facts["rows"], "SHA-256": facts["sha256"], "identical bytes": True}


def _check_influence(facts: Facts) -> Facts:
    shown = {name: facts[name] for name in ("result", "pool", "target")}
    shown["halves"] = f"{len(facts['measured']):,} of {facts['rows']:,} rows"
    shown["training"] = f"{facts['steps']:,} steps × {facts['tokens_per_step']:,} response tokens on each"
    for name, label in (("spearman", "Spearman"), ("pearson", "Pearson")):
        value, low, high = (f"{facts[name][key]:+.2f}".replace("-", "−") for key in ("value", "low", "high"))
        shown[label] = f"{value} ({low} to {high})"
    shown["time"] = format_duration(facts["seconds"])
    return shown | {"warnings": [facts["warning"]] if facts["warning"] else []}


def _workspace(facts: Facts) -> Facts:
    return facts | ({"freed": format_size(facts["freed"])} if "freed" in facts else {})


def _prove(facts: Facts) -> Facts:
    plan = facts["plan"]
    work, rates = plan["work"], ", ".join(f"{rate:g}" for rate in plan["rates"])
    shown: Facts = {"proof": facts["id"], "pool": f"{plan['pool']['name']}, {plan['pool']['rows']:,} rows"}
    shown["trained model"] = f"{plan['train_model']['name']}, revision {plan['train_model']['revision']}"
    if plan["measured_with"]:
        shown["measured with"] = plan["measured_with"]
    epochs = f", then {work['epochs']:,} {'epoch' if work['epochs'] == 1 else 'epochs'}" if work["epochs"] else ""
    shown["training"] = f"{work['steps']:,} steps of {work['tokens_per_step']:,} response tokens{epochs}"
    shown["seeds"], shown["learning rates"] = len(plan["seeds"]), rates
    shown["arms"] = [
        {"arm": arm["name"], "rows": _range(arm["rows"]), "response tokens": _range(arm["response_tokens"])}
        for arm in plan["arms"]
    ]
    shown["evaluated on"] = [
        {"target": each["name"], each["kind"]: each["rows"], "tasks": len(each["tasks"])}
        | {"same prompt in the pool": each["prompts_in_pool"], "near-duplicates in the pool": each["near_duplicates"]}
        for each in plan["targets"]
    ]
    macro = [each for each in facts["verdicts"] if each["task"] == MACRO]
    shown["verdicts"] = [_verdict(each) for each in macro]
    shown |= {name: facts[name] for name in ("folder", "trainings", "collected", "missing") if name in facts}
    costs = {k: v for k, v in facts["cost"].items() if k.endswith("_seconds") and isinstance(v, int | float)}
    shown |= {COSTS.get(name, name): format_duration(seconds) for name, seconds in costs.items()}
    shown |= _curves(facts)
    return shown | ({"result": facts["headline"]} if facts.get("headline") else {})


def _curves(facts: Facts) -> Facts:
    if "curves" not in facts:
        return {}
    sent = facts["curves"]
    before = f", {sent['sent_before']:,} before" if sent["sent_before"] else ""
    where = f", files in {sent['folder']}" if sent["folder"] else ""
    return {"curves": f"{sent['sent']:,} sent to {sent['to']}{before}, project {sent['project']}{where}"}


def _verdict(each: Mapping[str, Any]) -> Facts:
    unit = "nats" if each["figure"] == "nll" else "points"
    low, high, difference = (format_difference(each[name], each["figure"]) for name in ("low", "high", "difference"))
    return {
        "target": each["target"],
        "figure": FIGURES[each["figure"]],
        "at equal": each["work"],
        "arm": each["arm"],
        "difference from random": f"{difference} {unit}",
        "95% interval": f"{low} to {high}",
        "p (Holm)": f"{each['p']:.3f}",
        "verdict": each["verdict"],
    }


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {name}" for name, n in counts.items()) or "none"


def _start_model(about: Mapping[str, str]) -> str:
    return f"{about['kind']}, {about['evidence']}; the paper uses {about['paper']}"


def _answers(counts: Mapping[str, int]) -> str:
    problems = [f"{counts[name]:,} {words}" for name, words in ANSWER_PROBLEMS.items() if counts[name]]
    if counts.get("tokens"):  # runs stored before do not say
        problems.append(f"{counts['tokens']:,} tokens")
    if unknown := counts.get("tokens_unknown"):
        problems.append(f"{unknown:,} without a token count")
    return f"{counts['asked']:,} requested" + "".join(f", {problem}" for problem in problems)


def _column_label(name: str) -> str:
    column = find_column(name)
    return column.label if column else ""


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{share:.0%}"


def _times(lines: Sequence[tuple[str, str, float]]) -> list[Facts]:
    return [{"stage": stage, "what": what, "time": format_duration(seconds)} for stage, what, seconds in lines]


COMMANDS: dict[str, Callable[[Facts], Facts]] = {
    "inspect": _inspect,
    "duplicates": _duplicates,
    "decontaminate": _overlap,
    "import_scores": _imported,
    "measure": _measure,
    "estimate": _estimate,
    "select": _select,
    "export": _export,
    "run": _select,
    "replay": _replay,
    "check_influence": _check_influence,
    "workspace": _workspace,
    "prove": _prove,
}
