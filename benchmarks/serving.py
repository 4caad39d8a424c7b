"""Overhead and throughput of TorchServe, `segplug serve`, and the request handler without a server.

    python benchmarks/serving.py --model fastscnn_480x360_camvid --requests 200 --rounds 3

Each server runs the same ONNX file in ONNX Runtime with one worker of one thread, on the images of CamVid's
test set. All servers run at once and are measured in turns within each round: changes of the machine's speed
affect all of them. The client (``analyze serving``) runs on the same processors. The overhead of a
request is its latency without the server's times of decoding, model and encoding: HTTP, queues, batching.
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
from segplug.serving.served_model import ServedModel, open_served_model
from segplug.serving.service import Service

CLIENTS = (1, 4)

# The helper that runs TorchServe belongs to the tests of segplug-torchserve.
sys.path.insert(0, str(Path(__file__).parents[1] / "plugins" / "torchserve" / "tests"))


def main() -> None:
    """Export the model, start the servers, let them take turns, print medians and shares."""
    arguments = _arguments()
    data = data_folder()
    images = sorted((data / "camvid" / "test").iterdir())
    with tempfile.TemporaryDirectory() as work, ExitStack() as stack:
        folder = Path(work)
        model = _exported(data / "models" / arguments.model, folder)
        handler = stack.enter_context(_handler(model))
        servers = {
            "segplug serve": stack.enter_context(_segplug_serve(model)),
            "TorchServe": stack.enter_context(_torchserve(model, folder)),
        }
        rates: list[float] = []
        found: dict[str, list[dict]] = {name: [] for name in servers}
        for number in range(arguments.rounds):
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
            rates.append(_handler_rate(handler, images, arguments.requests))
            for name, url in servers.items():
                found[name].append(_measured(url, images, arguments.requests))
    _print(arguments, rates, found)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="fastscnn_480x360_camvid")
    parser.add_argument("--requests", type=int, default=200, help="requests for each number of clients")
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
    """The request handler of both servers, in this process and without a server."""
    with open_served_model(
        Segplug(), model.parent, ServedModel("onnxruntime", model.name, threads=1)
    ) as engine:
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
    from torchserve_support.local_server import run_torchserve

    store = folder / "store"
    Segplug().pack("torchserve", model, folder=store, threads=1, workers=1)
    with run_torchserve(store, {"model": "model.mar"}) as server:
        yield server.predictions_url("model")


def _measured(url: str, images: list[Path], requests: int) -> dict:
    report = Segplug().analyze(
        "serving", url=url, image=tuple(images), concurrency=CLIENTS, requests=requests
    )
    if report.failures:
        sys.exit(f"{url}: {report.failures[0]}")
    return {level["clients"]: level for level in report.data["levels"]}


def _print(arguments: argparse.Namespace, rates: list[float], found: dict[str, list[dict]]) -> None:
    title = f"{arguments.model}: {arguments.requests} requests a row, medians of {arguments.rounds} rounds"
    rows: list[tuple[object, ...]] = [("handler, no server", 1, 1000 / median(rates), "", median(rates), 1.0)]
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
    columns = ("server", "clients", "latency ms", "overhead ms", "images/s", "relative to the handler")
    show(title, columns, rows)


if __name__ == "__main__":
    main()
