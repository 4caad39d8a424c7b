"""What each server adds to a request, and how much it serves: TorchServe, segplug serve, the handler alone.

    python benchmarks/serving.py --model fastscnn_480x360_camvid --requests 200 --rounds 3

The same ONNX file in ONNX Runtime with one thread, behind each server with one worker; the images of CamVid's
test set. All servers are up together and take turns within each round, so that a machine whose speed drifts
favours none. The client (``analyze serving``) runs on the same processors. Overhead is what it waits beyond
what the server says that decoding, the model and encoding took: HTTP, queues, waiting for a batch.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from measure import PYTHON, data_folder, run, show

from segplug import Segplug
from segplug.serving.requests import Request
from segplug.serving.served import Served, open_served
from segplug.serving.service import Service

CLIENTS = (1, 4)


def main() -> None:
    """Export the model, start the servers, let them take turns, print medians and shares."""
    arguments = _arguments()
    data = data_folder()
    images = sorted((data / "camvid" / "test").iterdir())
    with tempfile.TemporaryDirectory() as work, ExitStack() as stack:
        folder = Path(work)
        model = _exported(data / "models" / arguments.model, folder)
        alone = stack.enter_context(_handler(model))
        servers = {
            "segplug serve": stack.enter_context(_segplug_serve(model)),
            "TorchServe": stack.enter_context(_torchserve(model, folder)),
        }
        rates: list[float] = []
        found: dict[str, list[dict]] = {name: [] for name in servers}
        for number in range(arguments.rounds):
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
            rates.append(_handler_rate(alone, images, arguments.requests))
            for name, url in servers.items():
                found[name].append(_measured(url, images, arguments.requests))
    _print(arguments, rates, found)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="fastscnn_480x360_camvid")
    parser.add_argument("--requests", type=int, default=200, help="of each level")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def _exported(source: Path, folder: Path) -> Path:
    path = folder / "model.onnx"
    config, checkpoint = f"{source}.py", f"{source}.pth"
    run(
        (
            PYTHON,
            "-m",
            "segplug",
            "run",
            "export",
            "onnx",
            config,
            "--checkpoint",
            checkpoint,
            "--output",
            str(path),
        )
    )
    return path


@contextlib.contextmanager
def _handler(model: Path) -> Iterator[Service]:
    """What both servers wrap, in this process and without a server."""
    with open_served(Segplug(), model.parent, Served("onnxruntime", model.name, threads=1)) as engine:
        yield Service(engine)


def _handler_rate(service: Service, images: list[Path], requests: int) -> float:
    contents = [path.read_bytes() for path in images]
    start = time.perf_counter()
    for number in range(requests):
        service.answer([Request(contents[number % len(contents)])])
    return requests / (time.perf_counter() - start)


@contextlib.contextmanager
def _segplug_serve(model: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        PYTHON,
        "-m",
        "segplug",
        "serve",
        str(model),
        "--port",
        str(port),
        "--threads",
        "1",
        "--name",
        "model",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(f"http://127.0.0.1:{port}/ready", process)
        yield f"http://127.0.0.1:{port}/predictions/model"
    finally:
        process.terminate()
        process.wait()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if process.poll() is not None:
            sys.exit("segplug serve has ended")
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.1)
    sys.exit("segplug serve did not get ready")


@contextlib.contextmanager
def _torchserve(model: Path, folder: Path) -> Iterator[str]:
    from segplug_torchserve.local import serving

    store = folder / "store"
    Segplug().pack("torchserve", model, folder=store, threads=1, workers=1)
    with serving(store, {"model": "model.mar"}) as server:
        yield server.predictions_url("model")


def _measured(url: str, images: list[Path], requests: int) -> dict:
    report = Segplug().analyze(
        "serving", url=url, image=tuple(images), concurrency=CLIENTS, requests=requests
    )
    if report.failures:
        sys.exit(f"{url}: {report.failures[0]}")
    return {level["clients"]: level for level in report.data["levels"]}


def _print(arguments: argparse.Namespace, rates: list[float], found: dict[str, list[dict]]) -> None:
    title = f"{arguments.model}, {arguments.requests} requests a level, median of {arguments.rounds} rounds"
    rows: list[tuple[object, ...]] = [("handler alone", 1, 1000 / median(rates), "", median(rates), 1.0)]
    for name, rounds in found.items():
        for clients in CLIENTS:
            levels = [each[clients] for each in rounds]
            per_second = [level["images_per_second"] for level in levels]
            rows.append(
                (
                    name,
                    clients,
                    median(level["latency_ms"]["p50"] for level in levels),
                    median(level["inside_ms"]["overhead"] for level in levels),
                    median(per_second),
                    median(ours / base for ours, base in zip(per_second, rates, strict=True)),
                )
            )
    columns = ("server", "clients", "latency ms", "overhead ms", "images/s", "of the handler alone")
    show(title, columns, rows)


if __name__ == "__main__":
    main()
