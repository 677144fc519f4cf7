"""The door to Numba: when it compiles and what it says, the cache, threads, forks, interrupts, plain Python.

Most tests run toy kernels in a process of their own: jit.py and what it stands on, copied into an empty package.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from minidl.kernels import jit

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
SOURCES = Path(jit.__file__).parent
DOOR = ("cache.py", "compiler.py", "jit.py", "launch.py", "memory.py", "threads.py")

HELPER = """
from minidl.kernels.jit import helper

@helper()
def twice(v):
    return 2 * v
"""

TOY = """
import numpy as np
from minidl.kernels.helper import twice
from minidl.kernels.jit import kernel

@kernel(example=lambda dtype: (2, np.ones((2, 3), dtype), np.zeros(2, dtype)))
def sum_rows(task, x, y):
    total = 0 * x[task, 0]
    for v in x[task]:
        total += twice(v)
    y[task] = total

@kernel(example=lambda dtype: (1, np.ones((1, 3), dtype), 1.0))
def fill(task, x, value):
    x[task] = value

def run(rows=5):
    x = np.arange(rows * 7, dtype=np.float32).reshape(rows, 7)
    y = np.empty(rows, np.float32)
    sum_rows(rows, x, y)
    assert (y == 2 * x.sum(1)).all(), y
    return y
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A folder with minidl/kernels/toy.py and what it needs."""
    root = tmp_path_factory.mktemp("package")
    floor = root / "minidl" / "kernels"
    floor.mkdir(parents=True)
    for file in DOOR:
        shutil.copy(SOURCES / file, floor)
    (floor / "helper.py").write_text(HELPER)
    (floor / "toy.py").write_text(TOY)
    for folder in (floor, floor.parent):
        (folder / "__init__.py").touch()
    return root


@pytest.fixture(scope="module")
def warm(package, tmp_path_factory):
    """A cache in which the toys are compiled."""
    folder = tmp_path_factory.mktemp("warm")
    python(package, "toy.run()", folder)
    return folder


def python(root, code, cache, expect=0, **settings):
    """stdout and stderr of a new Python that imports minidl from `root`; None unsets an environment variable."""
    base = {name: value for name, value in os.environ.items() if not name.startswith(("MINIDL_", "NUMBA_"))}
    settings = {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", "MINIDL_CACHE_DIR": str(cache), **settings}
    environment = {name: value for name, value in (base | settings).items() if value is not None}
    lines = "import os, signal, sys, threading, time\nimport numpy as np\n"
    lines += "from minidl.kernels import jit, threads as policy, toy\n"
    lines += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a suite in the background ignores it
    done = subprocess.run(
        [sys.executable, "-c", lines + textwrap.dedent(code)],
        env=environment,
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == expect, done.stderr
    return done.stdout, done.stderr


def test_importing_minidl_and_its_kernels_does_not_import_numba():
    code = "import sys, minidl.kernels.conv, minidl.kernels.pool; sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=SOURCES.parents[1])


def test_compiles_once_per_machine_and_says_so(package, tmp_path):
    _, first = python(package, "toy.run(); toy.run()", tmp_path)
    assert first.startswith("minidl: ")
    assert "sum_rows for float32" in first
    assert first.count("\n") == 1
    _, second = python(package, "toy.run()", tmp_path)
    assert second == ""
    assert python(package, "toy.fill(3, np.ones((3, 1)), 2.0)", tmp_path, MINIDL_QUIET="1") == ("", "")
    _, more_threads = python(package, "toy.run()", tmp_path, NUMBA_NUM_THREADS="3")
    assert more_threads == "", "the number of threads does not shape the code"


@pytest.mark.parametrize("changes", ["helper", "setting"])
def test_a_stale_kernel_is_impossible(package, tmp_path, changes):
    copy = tmp_path / "copy"
    shutil.copytree(package, copy)
    code = "y = np.empty(1, np.float32); toy.sum_rows(1, np.ones((1, 4), np.float32), y); print(y[0])"
    out, _ = python(copy, code, tmp_path / "cache")
    assert float(out) == 8
    if changes == "setting":
        out, said = python(copy, code, tmp_path / "cache", MINIDL_SIMD="generic")
    else:
        helper = copy / "minidl" / "kernels" / "helper.py"
        stamp = helper.stat()
        helper.write_text(HELPER.replace("2 * v", "3 * v"))
        os.utime(helper, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # neither time nor size give the change away
        out, said = python(copy, code, tmp_path / "cache")
        assert float(out) == 12
    assert "compiled" in said


def test_nothing_is_written_beside_the_sources(package, warm):
    files = {path.name for path in package.glob("**/*") if path.is_file()}
    assert files == {"__init__.py", "helper.py", "toy.py", *DOOR}


def test_cache_folders(package, tmp_path):
    xdg, home = tmp_path / "xdg", tmp_path / "home"
    python(package, "toy.run()", None, MINIDL_CACHE_DIR=None, XDG_CACHE_HOME=str(xdg), HOME=str(home))
    assert list(xdg.glob("minidl/**/*.nbc"))
    python(package, "toy.run()", None, MINIDL_CACHE_DIR=None, XDG_CACHE_HOME=None, HOME=str(home))
    assert list(home.glob(".cache/minidl/**/*.nbc"))


def test_without_a_cache_kernels_work_and_one_warning_says_why(package, tmp_path):
    occupied = tmp_path / "file"
    occupied.touch()
    _, said = python(package, "toy.run(); toy.fill(3, np.ones((3, 1)), 2.0)", occupied)
    assert said.count("cannot be kept") == 1
    _, said = python(package, "toy.run()", None, MINIDL_CACHE_DIR=None, XDG_CACHE_HOME=None, HOME=str(occupied))
    assert said.count("cannot be kept") == 1


def test_a_damaged_cache_is_compiled_anew(package, warm, tmp_path):
    for what in ("*.nbi", "*.nbc"):
        cache = tmp_path / what[2:]
        shutil.copytree(warm, cache)
        for file in cache.glob(f"**/{what}"):
            os.truncate(file, file.stat().st_size // 2)
        python(package, "toy.run()", cache)
        assert python(package, "toy.run()", cache) == ("", ""), "the damage was not repaired"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no resource limits")
def test_a_full_disk_is_no_reason_to_stop(package, tmp_path):
    code = """
        import resource
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # no file larger than this
        toy.run()
    """
    assert "cannot be kept" in python(package, code, tmp_path)[1]


LAYERS = ["omp", "workqueue"]


@pytest.mark.parametrize("layer", LAYERS)
def test_many_threads_at_once(package, warm, layer):
    """Numba's workqueue layer would abort the process."""
    code = """
        expected, wrong = toy.run(), []
        def work():
            for _ in range(200):
                if (toy.run() != expected).any():
                    wrong.append(1)
        threads = [threading.Thread(target=work) for _ in range(5)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print(len(wrong))
    """
    assert python(package, code, warm, NUMBA_THREADING_LAYER=layer)[0] == "0\n"


def test_first_calls_from_many_threads_at_once(package, tmp_path):
    code = """
        threads = [threading.Thread(target=toy.run) for _ in range(5)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
    """
    assert python(package, code, tmp_path)[1].count("compiled sum_rows") == 1


@needs_fork
@pytest.mark.parametrize("layer", LAYERS)
def test_forked_children(package, warm, layer):
    """GNU OpenMP would abort the child."""
    code = """
        expected = toy.run()
        for generation in range(2):
            child = os.fork()
            if not child:
                if generation == 0:
                    os._exit(int((toy.run() != expected).any()))
                grandchild = os.fork()
                if not grandchild:
                    os._exit(int((toy.run() != expected).any()))
                os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), int((toy.run() != expected).any()))
    """
    assert python(package, code, warm, NUMBA_THREADING_LAYER=layer)[0] == "0 0\n0 0\n"


@needs_fork
def test_multiprocessing_that_forks(package, warm):
    code = """
        import multiprocessing
        expected = toy.run()
        def equal(_): return bool((toy.run() == expected).all())
        with multiprocessing.get_context("fork").Pool(2) as workers:
            print(all(workers.map(equal, range(6))))
    """
    assert python(package, code, warm)[0] == "True\n"


@needs_fork
def test_fork_while_another_thread_compiles(package, warm):
    """The child must not wait for ever for a lock of Numba's, which a thread held that it does not have."""
    code = """
        thread = threading.Thread(target=lambda: toy.sum_rows(1, np.ones((1, 1)), np.ones(1)))  # not in the cache
        thread.start()
        while jit.state.compiler is None and thread.is_alive(): time.sleep(0.001)
        time.sleep(0.1)
        child = os.fork()
        if not child:
            signal.alarm(60)
            try:
                toy.run()
            except RuntimeError as error:
                print(error, flush=True)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        thread.join()
        toy.run()
    """
    out, _ = python(package, code, warm)
    assert out.endswith("0\n")
    assert "sum_rows: this process was forked while another thread compiled" in out


@pytest.mark.parametrize("delay", [0, 0.4])
def test_an_interrupt_while_compiling(package, tmp_path, delay):
    """It is answered once the kernel is compiled: Numba, interrupted, could not compile the kernel a second time."""
    code = f"""
        def interrupt():
            while "numba.core.dispatcher" not in sys.modules: time.sleep(0.001)
            time.sleep({delay})
            os.kill(os.getpid(), signal.SIGINT)
        threading.Thread(target=interrupt).start()
        try:
            toy.run()
            time.sleep(5)
        except KeyboardInterrupt:
            print("interrupted")
        toy.run()
        toy.sum_rows(1, np.ones((1, 1)), np.ones(1))
    """
    assert python(package, code, tmp_path)[0] == "interrupted\n"


def test_an_interrupt_while_a_kernel_runs(package, warm):
    """It is answered after the kernel, whose output is then complete; the lock is free again."""
    code = """
        x = np.zeros((30, 1_000_000))
        toy.fill(30, x, 1.0)
        threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            while True:
                toy.fill(30, x, 2.0)
        except KeyboardInterrupt:
            print("interrupted", (x == 2).all())
        toy.run()
    """
    assert python(package, code, warm)[0] == "interrupted True\n"


def test_plain_python(package, tmp_path):
    code = "toy.run(); toy.fill(3, np.ones((3, 1)), 2.0); print(list(jit.compile_ahead((np.dtype('float32'),)))[0][0])"
    assert python(package, code, tmp_path, NUMBA_DISABLE_JIT="1") == ("sum_rows\n", "")


SETTINGS = [("3", "3"), ("99", "4"), ("", "4"), ("0", "ValueError"), ("two", "ValueError")]


@pytest.mark.parametrize(("setting", "expected"), SETTINGS)
def test_the_number_of_threads_from_the_environment(package, warm, setting, expected):
    code = """
        try:
            print(policy.get_num_threads())
            import numba
            toy.run()
            assert numba.get_num_threads() == policy.get_num_threads()
        except ValueError as error:
            assert "MINIDL_NUM_THREADS" in str(error)
            print("ValueError")
    """
    out, _ = python(package, code, warm, MINIDL_NUM_THREADS=setting, NUMBA_NUM_THREADS="4")
    assert out == expected + "\n"


def test_every_thread_of_the_program_obeys_set_num_threads(package, warm):
    code = """
        import numba
        seen = []
        def look():
            toy.run()
            seen.append(numba.get_num_threads())
        for n in (3, 2, 4):
            policy.set_num_threads(n)
            look()
            thread = threading.Thread(target=look)
            thread.start(); thread.join()
        print(*seen)
    """
    assert python(package, code, warm, NUMBA_NUM_THREADS="4")[0] == "3 3 2 2 4 4\n"
