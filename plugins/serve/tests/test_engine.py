"""``infer http``: the engine contract, addresses, and the same scores as without a server."""

from __future__ import annotations

import json

import numpy as np
import pytest
from serve_support.models import Project
from serve_support.servers import Running, picture, png

from segplug import Segplug
from segplug.cli.root import run_command_line
from segplug.engine import Engine
from segplug.errors import EngineError, UsageError
from segplug.runtime.preprocess import Preprocessor
from segplug.runtime.segment import Segmenter
from segplug.testing import EngineConformance

pytestmark = pytest.mark.server


class TestHttpEngine(EngineConformance):
    @pytest.fixture
    def engine(self, server):
        # The suite closes the engine, and so does the context.
        with Segplug().open(server.address, backend="http") as engine:
            yield engine


@pytest.fixture(scope="module")
def token_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("token") / "token"
    file.write_text("abc")
    return file


def test_the_address_of_the_server_is_enough(server):
    for url, options in (
        (server.address, {}),
        (server.address + "/", {"model_name": server.model}),
        (server.url, {}),
    ):
        with Segplug().open(url, backend="http", **options) as engine:
            assert engine.spec.input == "image"
            assert engine.spec.meta.classes == ("road", "building", "sky", "car")


def test_wrong_addresses_are_one_line(server, paced, token_file):
    guarded: Running = paced(0.0, "--token-file", str(token_file))
    with pytest.raises(UsageError, match="another model"), _opened(server.url, model_name="x"):
        pass
    with (
        pytest.raises(EngineError, match="nothing at /predictions/x"),
        _opened(server.address, model_name="x"),
    ):
        pass
    with pytest.raises(EngineError, match="requires a token"), _opened(guarded.address):
        pass
    with pytest.raises(EngineError, match="refused"), _opened("http://127.0.0.1:9"):
        pass
    with pytest.raises(UsageError, match="address"), _opened("127.0.0.1"):
        pass
    with _opened(guarded.address, token="abc") as engine:
        assert engine.spec.meta.name == "paced one"


def _opened(url, **options):
    return Segplug().open(url, backend="http", **options)


@pytest.mark.parametrize("kind", ["config", ".onnx", ".pt"])
def test_served_masks_are_pytorchs(started, project: Project, kind: str):
    weights = ["--checkpoint", str(project.checkpoint)] if kind == "config" else []
    subject = project.config if kind == "config" else project.artifact(kind)
    server: Running = started(subject, *weights, "--threads", "1")
    session = Segplug()
    model = session.load_model(project.config, checkpoint=project.checkpoint)
    with session.open(model, backend="pytorch", threads=1) as engine:
        for image in (picture(seed, *size) for seed in range(6) for size in ((48, 64), (40, 57))):
            served, wanted = server.post(png(image)).image, Segmenter(engine)([image])[0].labels
            if kind == ".onnx":  # other kernels, which round otherwise
                if image.shape[:2] == (48, 64):  # the network's own size
                    decided = _margins(engine, image) > 1e-4
                    assert decided.mean() > 0.99
                    assert np.array_equal(served[decided], wanted[decided])
                assert (served != wanted).mean() < 0.001
            else:
                assert np.array_equal(served, wanted)


def _margins(engine: Engine, image: np.ndarray) -> np.ndarray:
    """Largest less second largest logit of each pixel, as a share of the logits' range."""
    prepared = Preprocessor(engine.spec.meta, engine.spec)(image, "it")
    (logits,) = engine.run(prepared.array[None])
    second, first = np.sort(logits, axis=0)[-2:]
    return (first - second) / np.ptp(logits)


@pytest.mark.slow
def test_scores_over_http_are_pytorchs(started, data_dir, capsys):
    name = "fastscnn_480x360_camvid"
    config, weights = (str(data_dir / "models" / f"{name}.{kind}") for kind in ("py", "pth"))
    server: Running = started(config, "--checkpoint", weights, "--threads", "1")
    data = ["--eval", "mIoU", "--cfg-options", f"data.test.data_root={data_dir / 'camvid'}", "--json"]

    def scores(*arguments: str) -> dict[str, float]:
        assert run_command_line(["run", "infer", *arguments, *data]) == 0
        return json.loads(capsys.readouterr().out)["scores"]

    over_http = scores("http", server.address, "--dataset", config, "--batch-size", "3")
    assert over_http == scores("pytorch", config, "--checkpoint", weights, "--threads", "1")
    assert over_http["mIoU"] == pytest.approx(0.4867, abs=1e-4)
