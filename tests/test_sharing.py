"""Engines in processes of their own: found, shared, lost and replaced."""

from __future__ import annotations

import dataclasses
import functools
import gc
import os
import pickle
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
import torch
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from support import sink, troubled
from support.comparing import same
from support.paths import ROOT, TESTS
from support.runs import RUNNER
from support.texts import CORPUS
from support.troubled import Troubled

from pipelines_beam import TextClassification
from transforms.engine import registry
from transforms.engine.errors import BatchTimeoutError, EngineCrashError, EngineError
from transforms.engine.interface import EngineSpec
from transforms.engine.process import launch, server
from transforms.engine.process.remote import RemoteEngine, ReplicaGroup
from transforms.engine.reports import RestartReport
from transforms.engine.tickets import BundleSession, Parameters, Ticket
from transforms.options.spec import Limits, Sharing
from transforms.stages import metrics
from transforms.stages.failure_rows import failure


def spec(load: Callable[[], Any] = Troubled, **sharing_options: Any) -> EngineSpec:
    return EngineSpec(
        identity=f"{load} {time.time()}",
        name="test",
        load=load,
        limits=Limits(batch_size=16),
        sharing=Sharing(**{"share": "machine", **sharing_options}),
    )


@pytest.fixture
def engine() -> Iterator[Callable[..., RemoteEngine]]:
    """Engines that are left when the test ends."""
    engines: list[RemoteEngine] = []

    def make(of: EngineSpec) -> RemoteEngine:
        engines.append(registry._remote(of))
        return engines[-1]

    yield make
    for each in engines:
        each.close()


def ask(engine: RemoteEngine | ReplicaGroup, numbers: list[int]) -> list[Ticket]:
    client = engine.client({})
    for number in numbers:
        client.submit(number, [number])
    return collect(client, len(numbers))


def collect(client: BundleSession, count: int) -> list[Ticket]:
    return [client.answered.get(timeout=240) for _ in range(count)]


def right(tickets: list[Ticket]) -> bool:
    return all(ticket.chunks[0][0] == 2 * ticket.token for ticket in tickets)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def gone(pid: int, seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.1)
    return not alive(pid)


def test_workers_share_one_process_and_it_goes_with_the_last(
    engine: Callable[..., RemoteEngine],
) -> None:
    same = spec()
    one, other = engine(same), engine(same)
    tickets = [*ask(one, list(range(100))), *ask(other, list(range(100)))]
    assert right(tickets)
    (pid,) = {ticket.chunks[0][1] for ticket in tickets}
    assert pid not in (os.getpid(), 0)
    assert pid == one.pid == other.pid
    one.close()
    assert right(ask(other, [1, 2, 3]))
    other.close()
    assert gone(pid)


@pytest.mark.slow
def test_another_job_has_another_process(engine: Callable[..., RemoteEngine]) -> None:
    same = spec()
    other = EngineSpec(**{**vars(same), "sharing": Sharing(share="machine", key=b"other")})
    found = {ask(engine(each), [1])[0].chunks[0][1] for each in (same, other)}
    assert len(found) == 2


def test_errors_and_odd_answers_cross(engine: Callable[..., RemoteEngine]) -> None:
    odd = [troubled.RAISES, troubled.UNPICKLABLE, troubled.STRANGE_ERROR, troubled.UNKNOWN]
    numbers = [1, *odd, 2]
    tickets = {ticket.token: ticket for ticket in ask(engine(spec()), numbers)}
    assert right([tickets[1], tickets[2]])
    raised = tickets[troubled.RAISES].error
    assert type(raised) is ValueError
    assert str(raised) == "not this one"
    assert "troubled.py" in failure("forward", -1, raised).traceback
    assert "pickle" in str(tickets[troubled.UNPICKLABLE].error)
    assert "only_here" in str(tickets[troubled.UNKNOWN].error)
    strange = tickets[troubled.STRANGE_ERROR].error
    assert type(strange).__name__ == "StrangeError"
    assert str(strange) == "odd"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bad", "reason"),
    [(troubled.DIES, "crashed or was killed"), (troubled.BREAKS, "device-side assert")],
)
def test_who_ends_the_process_fails_alone(
    engine: Callable[..., RemoteEngine], bad: int, reason: str
) -> None:
    tickets = ask(engine(spec()), [*range(40), bad, *range(40, 80)])
    assert right([ticket for ticket in tickets if ticket.token != bad])
    (failed,) = [ticket for ticket in tickets if ticket.error is not None]
    assert failed.token == bad
    assert isinstance(failed.error, EngineCrashError)
    assert reason in str(failed.error)
    assert failed.attempts == 3
    restarts = [r for t in tickets for r in t.reports if isinstance(r, RestartReport)]
    assert len(restarts) == 3


@pytest.mark.slow
def test_who_takes_too_long_fails_alone(engine: Callable[..., RemoteEngine]) -> None:
    numbers = [*range(20), troubled.HANGS, *range(20, 40)]
    tickets = ask(engine(spec(timeout=2.0)), numbers)
    assert right([ticket for ticket in tickets if ticket.token != troubled.HANGS])
    (failed,) = [ticket for ticket in tickets if ticket.error is not None]
    assert failed.token == troubled.HANGS
    assert isinstance(failed.error, BatchTimeoutError)
    assert "2.0 s" in str(failed.error)
    assert failed.attempts == 2


def test_a_model_that_cannot_be_loaded_says_why_at_once(
    engine: Callable[..., RemoteEngine],
) -> None:
    found = engine(spec(troubled.fails_to_load))
    for ticket in ask(found, [1, 2, 3]):
        assert isinstance(ticket.error, EngineError)
        assert "no such weights" in str(ticket.error)
    assert found.dead
    assert isinstance(ask(found, [4])[0].error, EngineError)


@pytest.mark.slow
def test_a_process_that_never_comes_up_is_given_up(
    engine: Callable[..., RemoteEngine],
) -> None:
    found = engine(spec(troubled.dies_while_loading))
    (ticket,) = ask(found, [1])
    assert isinstance(ticket.error, EngineError)
    assert "died 5 times" in str(ticket.error)
    assert found.dead


def test_a_process_that_is_killed_before_it_has_read_its_settings_leaves_nothing_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(launch, "_PROGRAM", "")
    large = dataclasses.replace(spec(), identity="much" * 100_000)  # more than a pipe holds
    with pytest.raises(BrokenPipeError):
        launch.connect(large)
    gc.collect()  # what was left open warns, and a warning is an error here


@pytest.mark.slow
def test_a_cancelled_bundle_leaves_no_trace(engine: Callable[..., RemoteEngine]) -> None:
    found = engine(spec(functools.partial(Troubled, 0.05)))
    assert right(ask(found, [1]))
    client = found.client({})
    for number in range(200):
        client.submit(number, [number])
    client.cancel()
    assert right(ask(found, [7]))
    end = time.monotonic() + 60
    while found.load and time.monotonic() < end:
        time.sleep(0.05)
    assert found.load == 0
    assert not found.dead
    assert right(ask(found, [8]))


@pytest.mark.slow
def test_replicas_share_the_work(engine: Callable[..., RemoteEngine]) -> None:
    slow = functools.partial(Troubled, 0.1)
    fleet = ReplicaGroup([engine(spec(slow)), engine(spec(slow))])
    tickets = ask(fleet, list(range(200)))
    assert right(tickets)
    pids = [ticket.chunks[0][1] for ticket in tickets]
    counts = [pids.count(pid) for pid in set(pids)]
    assert len(counts) == 2
    assert min(counts) >= 50


@pytest.mark.slow
def test_a_killed_worker_leaves_no_process_behind() -> None:
    script = (
        f"import sys, time; sys.path[:0] = {[str(Path(__file__).parent), str(TESTS)]}\n"
        "import test_sharing as t\n"
        "engine = t.registry._remote(t.spec())\n"
        "print(t.ask(engine, [1])[0].chunks[0][1], flush=True)\n"
        "time.sleep(600)\n"
    )
    worker = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    assert worker.stdout is not None
    with worker, worker.stdout as output:
        pid = int(output.readline())
        assert alive(pid)
        worker.kill()
    assert gone(pid)


@pytest.mark.slow
def test_processes_that_were_killed_leave_nothing_in_the_folder(
    engine: Callable[..., RemoteEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # a short one, as sockets need it
        monkeypatch.setattr(launch, "folder", lambda: Path(name))
        killed = engine(spec())
        assert right(ask(killed, [1]))
        os.kill(killed.pid, signal.SIGKILL)
        assert gone(killed.pid)
        time.sleep(2)  # its last threads hold the socket for a moment
        killed.close()
        other = engine(spec())
        assert right(ask(other, [1]))
        assert sorted(path.suffix for path in Path(name).iterdir()) == ["", ".socket"]
        other.close()
        assert gone(other.pid)
        assert [path.name for path in Path(name).iterdir()] == ["lock"]


def test_the_folder_must_be_private(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(launch, "_LONGEST", 1000)
    folder = launch.folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    with pytest.raises(PermissionError, match="0700"):
        launch.folder()


def test_a_stranger_is_turned_away(engine: Callable[..., RemoteEngine]) -> None:
    ours = spec()
    found = engine(ours)
    assert right(ask(found, [1]))
    stranger = RemoteEngine(
        functools.partial(launch.connect, ours), b"guess", "stranger", None, 1 << 20
    )
    (ticket,) = ask(stranger, [1])
    assert isinstance(ticket.error, EngineError)
    stranger.close()
    assert right(ask(found, [2]))


@pytest.mark.slow
def test_everything_is_answered_once_however_often_the_process_is_killed(
    engine: Callable[..., RemoteEngine],
) -> None:
    found = engine(spec(functools.partial(Troubled, 0.05)))
    client = found.client({})
    count = 10_000

    def submit() -> None:
        for number in range(count):
            client.submit(number, [number])

    threading.Thread(target=submit).start()
    tickets: list[Ticket] = []
    chance = random.Random(0)
    for _ in range(10):
        tickets += collect(client, 16 + chance.randrange(400))
        os.kill(found.pid, signal.SIGKILL)
        time.sleep(chance.random() * 0.2)
    tickets += collect(client, count - len(tickets))
    assert sorted(ticket.token for ticket in tickets) == list(range(count))
    assert all(ticket.error is None for ticket in tickets)
    assert right(tickets)
    assert len({ticket.chunks[0][1] for ticket in tickets}) == 11
    assert client.answered.empty()


class Watch:
    """The engines' processes that a job has, seen from outside."""

    def __init__(self) -> None:
        self.name = f"watched-{random.random()}"
        self.seen: set[int] = set()
        self.most = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Watch:
        os.environ["WATCHED"] = self.name
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        self._thread.join()
        del os.environ["WATCHED"]

    def now(self) -> list[int]:
        """Their process ids."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                ours = self.name.encode() in (path / "environ").read_bytes()
                if ours and b"transforms.engine.process.server" in (path / "cmdline").read_bytes():
                    found.append(int(path.name))
            except OSError:  # it has gone
                continue
        return found

    def _look(self) -> None:
        while not self._done.wait(0.1):
            pids = self.now()
            self.most = max(self.most, len(pids))
            self.seen.update(pids)


def _predictions(path: Path) -> list[tuple[str, str, float]]:
    table = pq.read_table(sorted(path.parent.glob(f"{path.name}*")))
    return sorted(
        zip(*(table[name].to_pylist() for name in ("text", "label", "score")), strict=True)
    )


@pytest.mark.slow
def test_worker_processes_share_one_model(model: Callable[[str], str], tmp_path: Path) -> None:
    directory = model("bert-classification")
    texts = [CORPUS[i % len(CORPUS)] for i in range(2000)]

    def job(name: str, *options: str) -> None:
        with beam.Pipeline(RUNNER, PipelineOptions(list(options))) as p:
            (
                p
                | beam.Create([beam.Row(text=text) for text in texts])
                | TextClassification(directory, input="text")
                | beam.io.WriteToParquet(str(tmp_path / name))
            )

    job("one")
    with Watch() as watch:
        job("many", "--direct_running_mode=multi_processing", "--direct_num_workers=4")
        assert watch.most == 1
        assert len(watch.seen) == 1
    assert all(gone(pid) for pid in watch.seen)
    one, many = _predictions(tmp_path / "one"), _predictions(tmp_path / "many")
    assert len(one) == len(many) == 2000
    for a, b in zip(one, many, strict=True):
        assert a[:2] == b[:2]
        assert a[2] == pytest.approx(b[2], abs=1e-5)


@pytest.mark.slow
def test_a_job_answers_everything_once_though_its_engine_is_killed_ten_times(
    model: Callable[[str], str],
) -> None:
    directory = model("bert-classification")
    count = 10_000
    pairs = [(i, f"{CORPUS[i % len(CORPUS)][:60]} {i}") for i in range(count)]
    chance = random.Random(1)
    killed: list[int] = []

    def answers(**options: Any) -> tuple[list[Any], Any]:
        sink.collected.clear()
        with beam.Pipeline(RUNNER) as p:
            task = TextClassification(directory, keyed=True, device="cpu", **options)
            p | beam.Create(pairs, reshuffle=False) | task | beam.Map(sink.collect)
        return sorted(sink.collected, key=lambda pair: pair[0]), p.result

    def kill(watch: Watch) -> None:
        counts = metrics.counts()
        while len(killed) < 10:
            target = counts.answered + chance.randrange(20, 500)
            while counts.answered < target:
                time.sleep(0.002)
            while not (pids := watch.now()):  # the next one is about to start
                time.sleep(0.01)
            (pid,) = pids
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
            gone(pid)

    expected, _ = answers(share="process")
    metrics.reset()
    with Watch() as watch:
        killer = threading.Thread(target=kill, args=(watch,), daemon=True)
        killer.start()
        found, result = answers(share="machine")
        killer.join(60)
    assert len(set(killed)) == 10
    assert [key for key, _ in found] == list(range(count))
    for (_, one), (_, other) in zip(expected, found, strict=True):
        assert one.example == other.example
        assert same(one.inference, other.inference)
    named = MetricsFilter().with_name("engine_restarts")
    (restarts,) = result.metrics().query(named)["counters"]
    assert restarts.committed == 10


def test_features_of_a_class_that_is_not_known_there_fail_alone(
    engine: Callable[..., RemoteEngine],
) -> None:
    class Local(int):
        """Pickled by its name in this function: nobody finds it there."""

    found = engine(spec())
    client = found.client({})
    client.submit("odd", [Local(3)])
    client.submit(1, [1])
    tickets = {ticket.token: ticket for ticket in collect(client, 2)}
    assert right([tickets[1]])
    assert "Local" in str(tickets["odd"].error)


def test_what_keeps_a_worker_from_its_engine_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, engine: Callable[..., RemoteEngine]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(launch, "_LONGEST", 1000)
    launch.folder().chmod(0o755)
    (ticket,) = ask(engine(spec()), [1])
    assert isinstance(ticket.error, EngineError)
    assert "0700" in str(ticket.error)


@pytest.mark.slow
def test_a_worker_that_stands_still_does_not_stop_the_others(
    engine: Callable[..., RemoteEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    same, over = spec(), threading.Event()
    with monkeypatch.context() as patched:
        patched.setattr(RemoteEngine, "_listen", lambda self: over.wait())
        still = engine(same)
        client = still.client({})
        for number in range(4_000):  # answers that no socket holds
            client.submit(number, [number])
    other = engine(same)
    try:
        assert right(ask(other, list(range(100))))
    finally:
        over.set()


def test_functions_among_parameters_share_batches_and_programs() -> None:
    connection = server._Connection(SimpleNamespace(engine=None), SimpleNamespace())  # type: ignore[arg-type]
    parameters = Parameters({"stop": lambda text: text == "."})
    # As another worker has them.
    equal = Parameters(pickle.loads(parameters.pickled))
    other = Parameters({"stop": lambda text: text == "!"})
    for number, each in enumerate([parameters, equal, other]):
        connection._accept("client", number, each.key, each.pickled)
    keys = [connection._clients[number].key for number in range(3)]
    assert keys[0] == keys[1] != keys[2]


def test_cores_are_divided_once(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = [8]
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[-1])
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    registry._threads.cache_clear()
    for _ in range(3):
        registry._in_process(spec(share="process", processes=4))
    registry._threads.cache_clear()
    assert threads == [8, 2, 2, 2]
