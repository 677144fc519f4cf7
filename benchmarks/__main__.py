"""`python -m benchmarks`: every contender in a process of its own, in turn, several rounds; medians and ratios."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import sys
from pathlib import Path

from benchmarks import memory
from benchmarks.contenders import CONTENDERS, installed
from benchmarks.plot import chart
from benchmarks.processes import Failure, Worker, ask_module, environment
from benchmarks.report import Report
from benchmarks.runner import run, versions
from benchmarks.workloads import WORKLOADS


def cpu() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def arguments() -> argparse.ArgumentParser:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    others = [name for name in CONTENDERS if name != "kernels"]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", action="append", metavar="TEXT", help="only rows named so, or partly; may be repeated"
    )
    parser.add_argument("--vs", default=",".join(others), help="contenders beside the kernels (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="one short round: to try it, not to quote")
    parser.add_argument("--threads", type=int, default=cores, help="of every contender (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contender (default: %(default)s)")
    parser.add_argument(
        "--simd",
        choices=["avx512", "avx2", "generic"],
        default=os.environ.get("MINIDL_SIMD", "").lower() or None,
        help="minidl's vectors; with avx2 the others are held to AVX2 too (default: $MINIDL_SIMD, else the widest)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all times there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a chart there, a PNG; needs the extra `plot`")
    parser.add_argument("--memory", action="store_true", help="instead: peak memory, of ResNet-20 and attention")
    return parser


def main() -> int:
    """Parse, run, print."""
    parser = arguments()
    args = parser.parse_args()
    if args.threads < 1 or args.rounds < 1:
        parser.error("--threads and --rounds must be at least 1")
    if args.plot and importlib.util.find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib: pip install 'minidl[plot]'")
    if args.memory:
        table, numbers = memory.compare(args.threads, args.simd or "")
        print(table)
        if args.markdown:
            args.markdown.write_text(table + "\n", encoding="utf-8")
        if args.json:
            args.json.write_text(json.dumps(numbers, indent=1), encoding="utf-8")
        return 0

    named = [name for name in args.vs.split(",") if name]
    for name in named:
        if name not in CONTENDERS:
            parser.error(f"--vs takes {', '.join(CONTENDERS)}, not {name!r}")
    workloads = [w for w in WORKLOADS if not args.only or any(text in w.name for text in args.only)]
    if not workloads:
        parser.error(
            f"no row's name has {' or '.join(map(repr, args.only))}; rows: {'; '.join(w.name for w in WORKLOADS)}"
        )

    env = environment(args.threads, args.simd or "")
    names = list(dict.fromkeys(["kernels", *named]))
    missing = {name: f"{CONTENDERS[name][1]} is not installed" for name in names if not installed(name)}
    workers = [Worker(name, args.threads, env) for name in names if name not in missing]
    try:
        found, absent = versions(workers)
        about = {
            "threads": args.threads,
            "cpu": cpu(),
            "python": platform.python_version(),
            "simd": args.simd or "",
            "quick": args.quick,
            "rounds": 1 if args.quick else args.rounds,
            "versions": found,
            "absent": missing | absent,
        }
        limits = ask_module("benchmarks.limits", str(args.threads), env=env)
        report = Report(about, [worker.name for worker in workers], limits)
        for line in report.heading():
            print(line, flush=True)
        for row in run(workloads, workers, about["rounds"], 0.05 if args.quick else 0.3):
            report.rows.append(row)
            print(report.line(row), flush=True)
            report.save(args.markdown, args.json)  # a run that is cut short has not been for nothing
    except KeyboardInterrupt:
        return 130
    finally:
        for worker in workers:
            worker.stop()
    print("\n".join(report.closing()), flush=True)
    if args.plot:
        chart(report, args.plot)
    return 1 if any(row.failed for row in report.rows) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit(f"benchmarks: {failure}")
