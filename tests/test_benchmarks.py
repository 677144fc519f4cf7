"""The benchmark: that it compares, computes and reports rightly. How fast anything is, no test can say."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import limits
from benchmarks.contenders import CONTENDERS, CannotExpress, installed, load
from benchmarks.kinds import Tolerance
from benchmarks.models import bert
from benchmarks.processes import Failure, Inexpressible, Worker, ask_module, environment
from benchmarks.report import Row
from benchmarks.runner import Disagreement, agree, measure, versions
from benchmarks.steps import RESNET20
from benchmarks.worker import Desk, build, seconds
from benchmarks.workloads import BY_NAME, WORKLOADS

ROOT = Path(__file__).parent.parent
GRAPH = "graph of 60 nodes 32×32"
SMALL = ["linear (64,784,128)", GRAPH]
ISSUE = """conv2d (64,1,28,8,5,1,1); conv2d (64,8,14,16,5,1,1); conv2d (64,3,32,32,3,1,1); conv2d (32,64,32,64,3,1,1);
conv2d (32,128,16,128,3,1,1); conv2d (32,256,8,256,3,1,1); conv2d (32,64,32,128,3,2,1); conv2d (32,64,32,64,1,1,1);
conv2d (32,64,32,64,3,1,64); conv2d (8,3,224,64,7,2,1); max_pool2d 2/2; max_pool2d 3/2; avg_pool2d 2; batch_norm;
layer_norm (1024,768); softmax (96,128,128); cross_entropy (4096,1000); gelu; tanh; relu; linear (256,1024,1024);
linear (64,784,128); matmul 1024; adam 10 M; LeNet step (64,1,28,28); ResNet-20 step (32,3,32,32)"""


def benchmarks(*args):
    """`python -m benchmarks args`."""
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *args], cwd=ROOT, capture_output=True, text=True, timeout=300
    )


# Workloads and contenders


def test_every_row_that_was_asked_for():
    assert {*ISSUE.replace("\n", " ").split("; "), GRAPH} <= set(BY_NAME)
    assert len(BY_NAME) == len(WORKLOADS)
    for workload in WORKLOADS:
        assert 0 < workload.tolerance.limit <= (5e-2 if workload.tolerance.mean else 1e-3), workload.name
        assert workload.tolerance.why
        assert len(workload.flops) == len(workload.values) == 2


def test_what_rows_take():
    """By hand: outputs times terms; values in and out."""
    conv = BY_NAME["conv2d (64,1,28,8,5,1,1)"]
    assert conv.flops == (2 * 64 * 8 * 28**2 * 25, 6 * 64 * 8 * 28**2 * 25)
    assert conv.values[0] == 64 * 28**2 + 8 * 25 + 64 * 8 * 28**2
    assert BY_NAME["conv2d (32,64,32,64,3,1,64)"].flops[0] == 2 * 32 * 64 * 32**2 * 9
    assert BY_NAME["conv2d (8,3,224,64,7,2,1)"].flops[0] == 2 * 8 * 64 * 112**2 * 147
    assert BY_NAME["matmul 1024"].flops == (2**31, 3 * 2**31)
    assert BY_NAME["relu"].values == (2 * 2**21, 5 * 2**21)
    assert RESNET20 == 40_551_040


def test_the_graph_has_as_many_nodes_as_it_says():
    import minidl

    workload = BY_NAME[GRAPH]
    tensors = [minidl.tensor(a, requires_grad=True) for a in workload.arrays(np.random.default_rng(0))]
    waiting, seen = [workload.function(minidl.nn.functional, *tensors)._node], set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen and node.parents:
            seen.add(node)
            waiting += node.parents
    assert len(seen) == workload.nodes == 60


@pytest.mark.parametrize("name", [name for name in CONTENDERS if name != "kernels"])
def test_contenders_agree_with_the_kernels(name):
    """Each in a process of its own, as it is meant to run."""
    if not installed(name):
        pytest.skip(f"{CONTENDERS[name][1]} is not installed")
    env = environment(1)
    workers = [Worker("kernels", 1, env), Worker(name, 1, env)]
    try:
        _, absent = versions(workers)
        if absent:
            pytest.skip(f"{absent}")
        row = Row(SMALL[0], "forward+backward")
        measure(row, workers, BY_NAME[SMALL[0]].tolerance, rounds=2, budget=0)
    finally:
        for worker in workers:
            worker.stop()
    assert not row.failed and not row.left_out
    assert {c: len(times) for c, times in row.ms.items()} == {"kernels": 2, name: 2}
    assert row.differences.keys() == {"kernels", name}


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_packed_sequences_come_in_an_order_that_nobody_has_to_choose(kind, monkeypatch):
    """PyTorch's sort leaves equal lengths in an order that depends on the machine: rows were other rows then."""
    import minidl

    workload, packed = BY_NAME[f"{kind} (32,50,64,128), packed"], minidl.nn.utils.rnn.pack_padded_sequence
    seen = []

    def spy(*args, **options):
        seen.append(packed(*args, **options))
        return seen[0]

    monkeypatch.setattr(minidl.nn.utils.rnn, "pack_padded_sequence", spy)
    workload.build(minidl)
    assert seen[0].sorted_indices is None
    assert len(set(seen[0].batch_sizes.tolist())) < 32  # some are of one length
    monkeypatch.undo()
    torch = pytest.importorskip("torch")
    ours, theirs = ([np.asarray(x) for x in workload.build(library)()] for library in (minidl, torch))
    agree(theirs, ours, workload.tolerance)


def test_definitions_are_definitions(monkeypatch):
    import minidl

    seen = []
    monkeypatch.setattr(minidl, "definitions", lambda: seen.append(1) or minidl.mode.definitions())
    desk = build(load("definitions", 1), GRAPH, "forward")
    assert seen == [] and len(desk()) == 1 and seen == [1]


def test_forward_builds_no_graph_and_backward_gives_every_gradient():
    contender = load("kernels", 1)
    workload = BY_NAME[SMALL[0]]
    (y,) = contender.operation(workload, backward=False)()
    assert not y.requires_grad
    function = contender.operation(workload, backward=True)
    once = [array.copy() for array in contender.arrays(function())]
    twice = contender.arrays(function())
    assert [a.shape for a in once] == [(64, 128), (64, 784), (128, 784), (128,)]
    for a, b in zip(once, twice, strict=True):
        np.testing.assert_array_equal(a, b)  # gradients did not pile up


def test_a_training_step_trains():
    function = build(load("kernels", 1), "LeNet step (64,1,28,28)", "step")
    losses = [float(function()[0].item()) for _ in range(6)]
    assert losses[-1] < losses[0]


def test_what_cannot_be_expressed(tmp_path):
    from benchmarks.contenders import Contender, Vocabulary

    with pytest.raises(CannotExpress, match="no conv2d"):
        Vocabulary().conv2d(1)
    with pytest.raises(CannotExpress, match="modules"):
        Contender().training(BY_NAME["adam 10 M"])


def test_seconds_is_a_median_and_leaves_the_first_call_out(monkeypatch):
    clock = iter(np.cumsum([0.0, 9.0, 1.0, 2.0, 3.0, 5.0]))
    monkeypatch.setattr("benchmarks.worker.time", SimpleNamespace(perf_counter=lambda: float(next(clock))))
    assert seconds(list, budget=20.0) == pytest.approx(2.5)
    clock = iter([0.0, 7.0])
    assert seconds(list, budget=0.5) == 7.0


# Agreement

LARGEST, MEAN = Tolerance(1e-3, "few terms"), Tolerance(5e-2, "kinks", mean=True)


def test_agree():
    rng = np.random.default_rng(0)
    a = [rng.standard_normal((3, 4), np.float32), np.float32(2).reshape(())]
    near = [a[0] * np.float32(1 + 1e-6), a[1]]
    assert 0 < agree(a, near, LARGEST) < 1e-5
    assert agree(a, a, Tolerance(1e-9, "")) == 0
    off = [a[0].copy(), a[1]]
    off[0][0, 0] += 0.01  # far off in one of twelve values
    scale = np.sqrt(np.mean(a[0] ** 2))
    assert agree(a, off, Tolerance(1, "")) == pytest.approx(0.01 / scale, rel=1e-3)
    assert agree(a, off, Tolerance(1, "", mean=True)) == pytest.approx(0.01 / scale / 12**0.5, rel=1e-3)


@pytest.mark.parametrize("tolerance", [LARGEST, MEAN])
@pytest.mark.parametrize("wrong", ["value", "sign", "nan", "shape", "missing", "zeros"])
def test_agree_catches(wrong, tolerance):
    a = [np.arange(12, dtype=np.float32).reshape(3, 4), np.ones(2, np.float32)]
    b = [a[0].copy(), a[1].copy()]
    if wrong == "value":
        b[1][1] = 1.1
    elif wrong == "sign":
        b[0] *= -1
    elif wrong == "nan":
        b[0][0, 0] = np.nan
    elif wrong == "shape":
        b[0] = b[0].T
    elif wrong == "missing":
        b.pop()
    else:
        b[0][:] = 0
    with pytest.raises(Disagreement):
        agree(a, b, tolerance)


class Actor:
    """A worker that plays its part without a process: results to write, or an exception to raise."""

    def __init__(self, name, results=None, checks=None, times=None):
        self.name, self.results, self.checks, self.times = name, results, checks, times
        self.orders = []

    def ask(self, **order):
        self.orders.append(order["do"])
        error = self.checks if order["do"] == "check" else self.times
        if error:
            raise error
        if order["do"] == "check":
            np.savez(order["file"], *self.results)
            return None
        return 0.002


def test_a_contender_that_fails_does_not_stop_the_others():
    right, wrong = [np.ones(3)], [np.ones(3) * 2]
    cast = [
        Actor("kernels", right),
        Actor("definitions", right),
        Actor("torch", wrong),
        Actor("jax", checks=Inexpressible("no words")),
        Actor("tinygrad", checks=Failure("broke")),
        Actor("mygrad", right, times=Failure("died")),
    ]
    row = Row("row", "forward")
    measure(row, cast, LARGEST, rounds=3, budget=0.1)
    assert row.ms == {"kernels": [2.0] * 3, "definitions": [2.0] * 3}
    assert row.left_out == {"jax": "no words"}
    assert row.failed.keys() == {"torch", "tinygrad", "mygrad"} and "something else" in row.failed["torch"]
    assert cast[2].orders == ["check"], "timed, though it computes something else"
    assert cast[5].orders == ["check", "time"]


def test_turns_are_taken_in_turn():
    turns = []
    cast = [Actor("kernels", [np.ones(2)]), Actor("torch", [np.ones(2)])]
    for actor in cast:
        ask = actor.ask
        actor.ask = lambda ask=ask, whose=actor.name, **order: turns.append(whose) or ask(**order)
    measure(Row("row", "forward"), cast, LARGEST, rounds=2, budget=0.1)
    assert turns == ["kernels", "torch"] * 3


# Processes


def test_a_worker_that_died_comes_back():
    worker = Worker("kernels", 1, environment(1))
    try:
        with pytest.raises(Failure, match=r"took more than 0 s"):
            worker.ask(do="version", patience=0.01)
        assert worker.ask(do="version")
        worker.process.kill()
        worker.process.wait()
        with pytest.raises(Failure, match="its process died"):
            worker.ask(do="version")
        with pytest.raises(Failure, match="KeyError"):
            worker.ask(do="check", name="no such row", **{"pass": "forward"})
        assert worker.ask(do="version")
    finally:
        worker.stop()


def test_a_contender_that_cannot_start_takes_no_part():
    workers = [Worker("nobody", 1, environment(1))]
    try:
        found, absent = versions(workers)
    finally:
        for worker in workers:
            worker.stop()
    assert found == {} and "KeyError" in absent["nobody"] and workers == []


def test_only_the_last_workload_is_kept():
    desk = Desk("kernels", 1)
    order = {"do": "time", "budget": 0, "pass": "forward"}
    desk.carry_out({**order, "name": SMALL[0]})
    first = desk.current
    desk.carry_out({**order, "name": SMALL[0]})
    assert desk.current is first
    desk.carry_out({**order, "name": SMALL[1]})
    assert desk.current[0] == (SMALL[1], "forward")


def test_nothing_that_happens_only_at_first_is_timed(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr("benchmarks.worker.build", lambda *args: lambda: calls.append(1) or [np.ones(2)])
    desk = Desk("kernels", 1)
    desk.contender = SimpleNamespace(arrays=list)
    desk.carry_out({"do": "check", "name": "row", "pass": "forward", "file": str(tmp_path / "results.npz")})
    assert len(calls) >= 3
    with np.load(tmp_path / "results.npz") as results:
        np.testing.assert_array_equal(results["arr_0"], np.ones(2))


def test_environment(monkeypatch):
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    env = environment(3)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "NPROC"):
        assert env[name] == "3"
    assert "ATEN_CPU_CAPABILITY" not in env
    env = environment(1, "avx2")
    assert env["MINIDL_SIMD"] == env["ATEN_CPU_CAPABILITY"] == "avx2"
    assert env["ONEDNN_MAX_CPU_ISA"] == env["MKL_ENABLE_INSTRUCTIONS"] == "AVX2"
    assert "ATEN_CPU_CAPABILITY" not in environment(1, "generic")


def test_pytorch_obeys_the_environment():
    pytest.importorskip("torch")
    code = "import torch; print(torch.backends.cpu.get_cpu_capability(), torch.get_num_threads())"
    done = subprocess.run([sys.executable, "-c", code], env=environment(1, "avx2"), capture_output=True, text=True)
    assert done.stdout.split() == ["AVX2", "1"]


def test_limits(monkeypatch):
    monkeypatch.setattr(limits, "SIDE", 128)
    monkeypatch.setattr(limits, "MEGABYTES", 2)
    assert 0.01 < limits.gflops(0.01) < 1e5
    assert 0.01 < limits.gigabytes(2, 0.01) < 1e5
    clock = iter([0.0, 4.0, 6.0, 9.0, 20.0])
    monkeypatch.setattr(limits, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    assert limits.best(lambda: None, budget=10) == 2.0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory():
    for _ in range(2):  # the first one may have to compile, which takes memory that the step then uses
        found = ask_module("benchmarks.memory", "resnet", "kernels", "1", env=environment(1))
    assert 10 < found["step_mb"] < 1000
    assert found["peak_mb"] == pytest.approx(found["before_mb"] + found["step_mb"])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory_of_attention_is_less_than_one_matrix_of_scores():
    for _ in range(2):
        found = ask_module("benchmarks.memory", "attention", "kernels", "1", env=environment(1))
    assert 10 < found["step_mb"] < 2 * 4096**2 * 4 / 1e6


def test_bert_is_that_of_the_models():
    import minidl
    from minidl.models import BertConfig, BertModel

    sizes = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 4, "intermediate_size": 32}
    theirs = BertModel(BertConfig(50, type_vocab_size=0, **sizes), add_pooling_layer=False).eval()
    ours = bert(minidl.nn, minidl.nn.functional, 50, 2, 16, 4, 32)
    # in the order in which a layer has them
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        a.data[...] = b.detach()
    rng = np.random.default_rng(0)
    ids, mask = minidl.tensor(rng.integers(0, 50, (3, 7))), minidl.tensor(np.arange(7) < [[7], [2], [5]])
    found, wanted = ours(ids, mask[:, None, None]), theirs(ids, mask).last_hidden_state
    assert np.abs(np.asarray(found.detach()) - np.asarray(wanted.detach())).max() < 1e-6


def test_a_module_that_fails_says_why():
    with pytest.raises(Failure, match="KeyError: 'nobody'"):
        ask_module("benchmarks.memory", "resnet", "nobody", "1", env=environment(1))


# The command


def test_a_quick_run(tmp_path):
    files = {kind: tmp_path / f"run.{kind}" for kind in ("json", "markdown")}
    vs = ["definitions", *(["torch"] if installed("torch") else [])]
    options = [x for kind, file in files.items() for x in (f"--{kind}", str(file))]
    done = benchmarks("--quick", "--only", "graph", "--threads", "1", "--vs", ",".join(vs), *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip() == files["markdown"].read_text().rstrip()
    found = json.loads(files["json"].read_text())
    assert [(row["name"], row["pass"]) for row in found["rows"]] == [(GRAPH, "forward"), (GRAPH, "forward+backward")]
    assert found["contenders"] == ["kernels", *vs] and found["threads"] == 1 and found["limits"]["gflops"] > 0
    for row in found["rows"]:
        assert row["failed"] == row["left_out"] == {}
        assert all(len(times) == 1 and times[0] > 0 for times in row["ms"].values())
        assert row["median_ms"].keys() == {"kernels", *vs}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--only", "no such row"], "no row's name has 'no such row'"),
        (["--vs", "nobody"], "--vs takes kernels, definitions"),
        (["--threads", "0"], "must be at least 1"),
    ],
)
def test_wrong_arguments(args, message):
    done = benchmarks(*args)
    assert done.returncode == 2 and message in done.stderr and not done.stdout
