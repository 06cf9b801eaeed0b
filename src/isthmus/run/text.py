"""Layer 8: a result as a person reads it in a terminal; built from the JSON form alone."""

from __future__ import annotations

from typing import Any


def render(results: dict[str, Any], run: dict[str, Any]) -> str:
    """The printed page: what was used, the leaderboard, the verdict, the proof."""
    lines = [""]
    data = ", ".join(f"{entry['rows']:,} {role}" for role, entry in results["data"].items())
    lines.append(f"Data       {data} rows ({results['modality']}, {results['task']})")
    lines.append(f"Backbone   {results['backbone']['name']}")
    lines.append(f"Evidence   {results['evidence']}")
    bad = results["quarantine"]
    if bad["bad"]:
        first = bad["rows"][0]
        lines.append(
            f"Set aside  {bad['bad']} of {bad['seen']} rows, first {first['where']}: "
            f"{first['reason']} (all in quarantine.csv)"
        )
    lines += ["", "Leaderboard", *leaderboard(results, run), *troubles(results), ""]
    lines += [*candidates(results), *untried(results), *network(results), *label_set(results)]
    lines.append(f"Verdict    {results['verdict']['sentence']}")
    lines.append(f"Because    {results['verdict']['reason']}")
    proof = results["proof"]
    lines.append(f"Proof      {proof['outcome']}")
    if proof.get("exact"):
        exact = proof["exact"]
        lines.append(
            f"Exact      {figure(exact, 'accuracy')} for any number of rows ({exact['how']})"
        )
    lines.append(f"Protocol   {proof['protocol']}")
    lines += warnings(results)
    return "\n".join(lines)


def warnings(results: dict[str, Any]) -> list[str]:
    """What the checks before and after the score found, without what is a mere fact."""
    said: list[str] = []
    for entry in results.get("findings", []):
        if entry["severity"] == "info":
            continue
        why = f" ({entry['evidence']})" if entry["evidence"] else ""
        mark = "Overridden" if entry.get("overridden") else "Warning   "
        line = f"{mark} {entry['code']}: {entry['title']}{why}. {entry['remedy']}"
        if line not in said:
            said.append(line)
    return said


def leaderboard(results: dict[str, Any], run: dict[str, Any]) -> list[str]:
    """Aligned rows: route, evidence before the test, score in the proof, cost."""
    proof = results["proof"]
    header = ("", "route", "evidence (before the test)", proof["column"], "seconds")
    rows = [header]
    scores = dict(proof["headline"])
    said: set[str] = set()  # a reason is given once; thirty lines of it hide the figures
    for entry in results["routes"]:
        name = entry["route"]
        evidence = figure(entry["score"], entry["metric"])
        if entry.get("expected_gain"):
            gain = entry["expected_gain"]
            mean, low, high = (100 * gain[name] for name in ("value", "low", "high"))
            evidence = (
                f"expected {mean:+z.1f} points [{low:+z.1f}, {high:+z.1f}]; estimated "
                f"{figure(entry['estimated_accuracy'], 'accuracy')}, no label used"
            )
        if not evidence:
            again = entry["reason"] in said or not entry["reason"]
            evidence = entry["status"] if again else f"{entry['status']}: {entry['reason']}"
            said.add(entry["reason"])
        mark = "*" if name == results["chosen"] else ""
        proved = figure(scores.pop(name, None), proof["metric"])
        seconds = run.get("routes", {}).get(name)
        rows.append((mark, name, evidence, proved, "" if seconds is None else f"{seconds:.1f}"))
    for name, score in scores.items():
        rows.append(("", name, "baseline", figure(score, proof["metric"]), ""))
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in rows]


def candidates(results: dict[str, Any]) -> list[str]:
    """The candidates of the automatic choice: weight, expectation, evidence."""
    choice = results.get("choice")
    if not choice:
        return []
    if "diagnosis" not in choice:
        kept = sorted(choice["candidates"], key=lambda one: -one["weight"])
        named = [f"{one['candidate']} {100 * one['weight']:.0f} %" for one in kept if one["weight"]]
        judged = any(one["evidence"] for one in choice["candidates"])
        how = "from held-out labels" if judged else "set beforehand: too few labels to hold out"
        return [f"Blend      {', '.join(named)} (weights {how})", *networks(choice), ""]
    task = choice["diagnosis"]
    auc = task["domain_auc"]
    apart = (
        "hardly" if auc < 0.6 else "somewhat" if auc < 0.8 else "far" if auc < 0.97 else "wholly"
    )
    lines = [
        f"Diagnosis  the domains are {apart} apart (domain AUC {auc:.2f}); source-only has "
        f"{100 * task['held_out_accuracy']:.1f} % on held-out source rows, and its confidence "
        f"falls by {100 * task['confidence_drop']:.1f} points on the target"
    ]
    seen = choice.get("classes") or {}
    if seen.get("absent"):
        lines.append(
            f"Classes    perhaps absent from the target: {', '.join(seen['absent'])}; --classes "
            "partial weighs their rows down"
        )
    if seen.get("novel"):
        lines.append(
            f"Classes    {figure(seen['novel'], 'accuracy')} of the target rows may be of classes "
            f"that the source lacks; the same mark hits {100 * seen['false_alarm']:.1f} % of the "
            "source rows; --classes open abstains on them"
        )
    rows = [("candidate", "weight", "expected", "at worst about", "agrees with all", "")]
    for line in sorted(choice["candidates"], key=lambda one: -one["weight"]):
        if line["expected_gain"] is None:
            rows.append((line["candidate"], "", "", "", "", line["reason"]))
            continue
        gain, down = 100 * line["expected_gain"], 100 * line["downside"]
        agrees = f"{100 * line['evidence']['agreement']:.0f} %"
        worst = f"{gain - 2 * down:+z.1f}"
        rows.append(
            (line["candidate"], f"{100 * line['weight']:.0f} %", f"{gain:+z.1f}", worst, agrees, "")
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines += ["Candidates"]
    lines += ["  " + "  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in rows]
    return [*lines, *networks(choice), *validators(choice), ""]


def networks(choice: dict[str, Any]) -> list[str]:
    """Whether trained networks were among the candidates, and why."""
    found = choice.get("networks")
    return [f"Networks   {found['why']}"] if found else []


def untried(results: dict[str, Any]) -> list[str]:
    """That networks were asked for in vain, where no automatic choice speaks of them."""
    notes = [] if results.get("choice") else results["notes"]
    told = [f"Networks   {note}" for note in notes if "--deep" in note]
    return [*told, ""] if told else []


def network(results: dict[str, Any]) -> list[str]:
    """Whether the pretrained network itself was trained, and what came of it."""
    found = results.get("network")
    return [f"Network    {found['why']}", ""] if found else []


def label_set(results: dict[str, Any]) -> list[str]:
    """What was done about classes of one side only, and what came of it on the sealed labels."""
    found = results.get("label_set") or {}
    lines = []
    if partial := found.get("partial"):
        gone, left = partial["absent"], partial["source_rows"] - partial["source_rows_kept"]
        lines.append(
            f"Partial    {len(gone)} classes estimated absent from the target: "
            f"{', '.join(gone)}; {100 * partial['share_of_source_rows']:.1f} % of the source rows "
            f"are theirs, {left} of {partial['source_rows']} were left out"
            if gone
            else "Partial    no class of the source seems to be absent from the target"
        )
    if opened := found.get("open"):
        false = opened["false_refusal"]
        rate = "" if false is None else f"; {100 * false:.1f} % of held-out source rows would be"
        lines.append(
            f"Open       {100 * opened['refused']:.1f} % of the target rows answered unknown{rate}"
        )
        novel = opened["novel_share"]
        told = novel["high"] - novel["low"] < 1
        share = figure(novel, "accuracy") if told else "cannot be told"
        lines.append(f"           share of novel rows: {share} ({novel['how']})")
        lines.append(f"           {opened['rule']}")
    lines += open_scores(results["proof"]["metrics"])
    return [*lines, ""] if lines else []


def open_scores(metrics: dict[str, Any]) -> list[str]:
    """The figures of rows of unknown classes, where the labels hold some."""
    score = metrics.get("h_score") or {}
    if score.get("value") is None:
        return []
    shown = (
        ("H-score", "h_score"), ("known classes (OS*)", "os_star"),
        ("unknown rows found (UNK)", "unknown_recall"), ("all (OS)", "os"),
        ("known rows refused", "false_refusal"),
    )  # fmt: skip
    told = ", ".join(f"{name} {figure(metrics[key], 'accuracy')}" for name, key in shown)
    return [f"Unknown    {told}"]


def validators(choice: dict[str, Any]) -> list[str]:
    """What the label-free validators would pick, and what such picks were worth elsewhere."""
    lines: list[tuple[str, str, str]] = []
    for entry in choice.get("validators", []):
        known = entry["measured"]
        if "picks" not in entry:
            continue
        worth = "not measured"
        if known:
            worth = (
                f"rank correlation {known['rank']['value']:+z.2f}, its picks "
                f"{100 * known['gain']:+z.1f} points, hurt {100 * known['hurt']:.0f} %"
            )
        lines.append((f"  {entry['validator']}", f"picks {entry['picks']}", f"({worth})"))
    silent = [e for e in choice.get("validators", []) if "picks" not in e]
    if not lines:
        return []
    wide = [max(len(row[i]) for row in lines) for i in range(2)]
    told = ["Validators (what each was worth on the benchmark; the weights do not follow them)"]
    told += [f"{a.ljust(wide[0])}  {b.ljust(wide[1])}  {c}" for a, b, c in lines]
    if silent:
        named = ", ".join(e["validator"] for e in silent)
        told.append(f"  not asked: {named} (reasons in results.json)")
    return told


def troubles(results: dict[str, Any]) -> list[str]:
    """What the methods themselves report: numerical trouble with its remedy."""
    lines = [
        f"note: {entry['route']}: {trouble['reason']}. {trouble['remedy']}"
        for entry in results["routes"]
        for trouble in entry.get("troubles", [])
    ]
    by_hand = sum(bool(entry.get("by_hand")) for entry in results["routes"])
    if by_hand > 1 and results["proof"]["kind"] == "sealed":
        lines.append(
            "note: the best of many figures on one test set is too good; a method picked by this "
            "column needs another test set."
        )
    return lines


def figure(score: dict[str, Any] | None, metric: str) -> str:
    """``87.4 % [85.0, 89.6]`` for shares, plain numbers otherwise; empty when there is none."""
    if score is None or score.get("value") is None:
        return ""
    value, low, high = score["value"], score.get("low"), score.get("high")
    share = "accuracy" in metric or metric in ("macro F1",)
    form = (lambda x: f"{100 * x:.1f}") if share else (lambda x: f"{x:.4g}")
    text = form(value) + (" %" if share else "")
    return text if low is None or high is None else f"{text} [{form(low)}, {form(high)}]"
