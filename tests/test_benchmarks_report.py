"""The benchmark's report: ratios, means, fractions of the limits, and the three forms they are written in."""

import json
import math

import pytest

from benchmarks.report import Report, Row


def report():
    """Three rows, whose ratios to PyTorch are 2, 1/2 and unknown."""
    about = {"threads": 2, "cpu": "a processor", "python": "3", "simd": "avx2", "quick": False, "rounds": 3}
    about |= {"versions": {"kernels": "1", "torch": "2"}, "absent": {"jax": "is not installed"}}
    rows = [
        Row("a", "forward", flops=4e9, values=1e6, ms={"kernels": [9.0, 10.0, 15.0], "torch": [20.0, 20.0, 20.0]}),
        Row("b", "step", flops=1e6, values=2.5e8, nodes=50, ms={"kernels": [200.0], "torch": [100.0]}),
        Row("c", "step", ms={"torch": [1.0]}, failed={"kernels": "broke"}),
    ]
    return Report(about, ["kernels", "torch"], {"gflops": 1000.0, "gigabytes": 10.0}, rows)


def test_numbers_of_a_row():
    a, b, c = report().rows
    assert (a.time("kernels"), a.spread("kernels"), a.ratio("kernels")) == (10.0, 3.0, 2.0)
    assert a.of_limit("kernels", report().limits) == (pytest.approx(0.4), "flops")
    assert b.of_limit("kernels", report().limits) == (pytest.approx(0.5), "bytes")
    assert math.isnan(c.ratio("kernels"))


def test_geometric_means():
    of = report().means()["kernels"]
    assert of == pytest.approx({"forward": 2, "with backward": 0.5, "all": 1, "lowest": 0.5, "rows": 2})


def test_markdown():
    page = report().markdown()
    lines = page.splitlines()
    assert "| a | forward | 10.00 ±3.00 | 20.00 ±0.00 | 2.00 | 40% flops |" in lines
    assert "| b (µs a node) | step | 4000.00 ±0.00 | 2000.00 ±0.00 | 0.50 | 50% bytes |" in lines
    assert "| c | step | failed | 1.00 ±0.00 | - | - |" in lines
    assert "| kernels | 2.00 | 0.50 | 1.00 | 0.50 | 2 |" in lines
    assert "- c, step: kernels: broke" in lines
    assert "PyTorch held to AVX2" in page and "jax takes no part: is not installed." in page
    header = next(line for line in lines if line.startswith("| workload"))
    assert header.count("|") == lines[lines.index(header) + 1].count("|") == lines[lines.index(header) + 2].count("|")


def test_json(tmp_path):
    report().save(tmp_path / "page.md", tmp_path / "numbers.json")
    found = json.loads((tmp_path / "numbers.json").read_text())
    assert (tmp_path / "page.md").read_text() == report().markdown()
    assert found["threads"] == 2 and found["limits"]["gflops"] == 1000 and found["contenders"] == ["kernels", "torch"]
    a, b, c = found["rows"]
    assert (a["name"], a["pass"], a["ms"]["kernels"]) == ("a", "forward", [9, 10, 15])
    assert (a["median_ms"]["kernels"], a["spread_ms"]["kernels"], a["ratio"]["kernels"]) == (10, 3, 2)
    assert a["of_limit"]["kernels"] == pytest.approx(0.4)
    assert c["failed"] == {"kernels": "broke"} and found["geometric_means"]["kernels"]["lowest"] == 0.5


def test_chart(tmp_path):
    pytest.importorskip("matplotlib")
    from benchmarks.plot import chart

    chart(report(), tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
