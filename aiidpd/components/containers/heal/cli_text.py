"""Heals as text for people."""

from __future__ import annotations

from aiidpd.cli.text import UNKNOWN, Document, Paint, moment, plain, span, table

_LOUD = ("parked", "healing", "heal", "notify", "wait")


def healing_table(document: Document, paint: Paint) -> list[str]:
    """Return the table of who is healed: first those about which something is decided."""
    order = sorted(document["containers"], key=lambda each: (_quiet(each), each["name"]))
    rows = [
        (
            each["name"],
            each["policy"]["mode"],
            each["decision"] if each["decision"] != "nothing" else UNKNOWN,
            f"{each['budget_left']} of {each['policy']['budget']} in {span(each['policy']['window'])}",
            _last(each["last"]),
            each["policy"]["origin"],
        )
        for each in order
    ]
    lines = table(("CONTAINER", "MODE", "NOW", "BUDGET LEFT", "LAST HEAL", "BY"), rows, paint) if rows else []
    for each in order:
        if each["reason"] and each["decision"] != "nothing":
            text = plain(f"{each['name']}: {each['reason']}{_next(each)}")
            lines.append(paint.bad(text) if each["decision"] == "parked" else paint.warn(text))
        if each["suspended_by"]:
            until = each["suspended_until"]
            span_text = "until it is resumed" if until is None else f"until {moment(until)}"
            lines.append(
                paint.warn(plain(f"{each['name']}: suspended by {each['suspended_by']} {span_text}"))
            )
        lines += [paint.bad(plain(f"{each['name']}: {problem}")) for problem in each["policy"]["problems"]]
    return lines


def plan_lines(plan: Document) -> list[str]:
    """Return what a heal by hand would do."""
    act = "created anew" if plan["cure"] == "recreate" else "restarted"
    lines = [f"{plan['name']} would be {act}, after its evidence was collected"]
    if plan["refusal"]:
        lines = [f"{plan['name']} can't be created anew: {plan['refusal']}"]
        lines += [plan["remedy"]] if plan["remedy"] else []
    elif plan["drain"]:
        lines.append(f"requests that run would have {span(plan['drain'])} to end first, where they are known")
    lines.append(f"it would have {span(plan['stop_grace'])} to end before it is killed")
    if plan["dependants"]:
        lines.append(f"containers that need it, in the order of their start: {', '.join(plan['dependants'])}")
    if plan["restarted"]:
        lines.append(f"of these would be restarted after it: {', '.join(plan['restarted'])}")
    by_itself = plan["reason"] or "nothing is wrong with it"
    lines.append(f"by itself aiidpd decides: {plan['decision']} ({by_itself})")
    return [plain(line) for line in lines]


def heal_result(job: Document) -> list[str]:
    """Return what came of a heal by hand."""
    result = job["result"]
    lines = [result["reason"]] if result.get("reason") else []
    lines += [f"evidence: aiidpctl incidents show {result['incident']}"] if result.get("incident") else []
    return [plain(line) for line in lines]


def _next(each: Document) -> str:
    """Return what is next for a container about which something is decided, after a semicolon."""
    if each["remedy"]:
        return f"; {each['remedy']}"
    return "" if each["until"] is None else f"; decided again at {moment(each['until'])}"


def _quiet(each: Document) -> bool:
    return each["decision"] not in _LOUD and not each["suspended_by"] and not each["policy"]["problems"]


def _last(last: Document | None) -> str:
    return UNKNOWN if last is None else f"{last['outcome']} {moment(last['at'])}"
