"""Made-up plugins that make real files: an exporter, an engine builder, a packer, a converter, a signer."""

from __future__ import annotations

from typing import Any

__all__ = ["TOYS", "install_signer", "install_toys"]

TOYS = """
    import json
    from dataclasses import dataclass

    import numpy as np

    from segplug import Axis, Backend, EngineSpec, ModelMeta, SegmentationModel, hookimpl, option
    from segplug.artifact import write_sidecar
    from segplug.errors import ArtifactError, UsageError
    from segplug.options import NoOptions
    from segplug.providers import Confidence, EngineBuilder, Exporter, ModelSource, Packer, WeightConverter
    from segplug.results import ConversionReport
    from segplug.testing import FunctionEngine

    requests = []
    loaded = []

    @dataclass(frozen=True)
    class Options:
        text: str = option("1.0", help="What is written: the factor of the logits.")
        data: bool = option(False, help="Write external data, too.")
        fail: str = option("", help="Fail in the middle: with a bug, or an error.")

    def written(request, path):
        requests.append(request)
        options = request.options
        path.write_text(options.text)
        if options.data:
            path.with_name(path.name + ".data").write_text("data of " + options.text)
        if options.fail == "bug":
            raise KeyError("a bug")
        if options.fail:
            raise ArtifactError(options.fail)

    class Toy(Exporter[Options]):
        '''Writes toys.'''
        hook_version = 2
        options = Options
        verify_with = "toy"
        precisions = ("fp16", "fp32")
        output_flags = ("--toy-file",)
        precision_flags = {"--half": "fp16", "--single": "fp32"}

        def check_plan(self, plan):
            if plan.options.fail == "early":
                raise UsageError(f"{plan.destination.name} cannot be made in {plan.precision}")

        @hookimpl
        def export(self, request):
            written(request, request.output)
            meta = request.model.meta
            write_sidecar(request.output, meta)
            return request.made(meta)

    class Plain(Exporter[NoOptions]):
        '''Writes one file.'''
        hook_version = 2

        def write_meta(self, path, meta):
            self._meta = meta  # as if it lay in the file, whose bytes are always the same

        def read_meta(self, path):
            return self._meta

        @hookimpl
        def export(self, request):
            requests.append(request)
            request.output.write_text("plain")
            self.write_meta(request.output, request.model.meta)
            return request.made(request.model.meta)

    class Nothing(Exporter[NoOptions]):
        '''Writes nothing.'''
        hook_version = 2

        @hookimpl
        def export(self, request):
            return request.made(request.model.meta)

    class Elsewhere(Exporter[NoOptions]):
        '''Writes another file.'''
        hook_version = 2

        @hookimpl
        def export(self, request):
            request.output.with_name("other").write_text("x")
            from dataclasses import replace
            return replace(request.made(request.model.meta), path=request.output.with_name("other"))

    class Compiler(EngineBuilder[Options]):
        '''Compiles toys.'''
        hook_version = 2
        options = Options
        reads = ("toy",)
        suffix = ".eng"
        verify_with = "toyengine"

        @hookimpl
        def build_engine(self, request):
            written(request, request.output)
            meta = request.meta or ModelMeta(name="m")
            write_sidecar(request.output, meta)
            return request.made(meta)

    class Shelf(Packer[Options]):
        '''Packs toys.'''
        hook_version = 2
        options = Options
        takes = "either"

        @hookimpl
        def export(self, request):
            if (request.destination / "toy").exists() and not request.force:
                raise UsageError(f"{request.destination / 'toy'} already exists", hint="--force replaces it")
            folder = request.output / "toy"
            folder.mkdir()
            written(request, folder / "model")
            return request.made(folder, request.meta or ModelMeta(name="m"))

    class Converter(WeightConverter[Options]):
        '''Converts weights.'''
        hook_version = 2
        options = Options

        @hookimpl
        def convert_weights(self, request):
            written(request, request.output)
            return ConversionReport(destination=request.output)

    class Publisher(WeightConverter[Options]):
        '''Adds to the name.'''
        hook_version = 2
        options = Options
        renames = True

        @hookimpl
        def convert_weights(self, request):
            path = request.output.with_stem(request.output.stem + "-" + request.options.text)
            written(request, path)
            return ConversionReport(destination=path)

    class Opens(Backend[NoOptions]):
        '''Runs toys.'''
        hook_version = 2

        @hookimpl
        def infer(self, request):
            factor = float(request.file.read_text())
            def network(batch):
                return np.ascontiguousarray(batch[:, :2] * np.float32(factor))
            spec = EngineSpec(request.meta, "logits", backend="toy")
            return FunctionEngine(spec, network)

        def companions(self, artifact):
            data = artifact.with_name(artifact.name + ".data")
            return [data] if data.exists() else []

    class Source(ModelSource[NoOptions]):
        '''Loads toys.'''
        hook_version = 2

        def accepts(self, location):
            return Confidence.SURE if location.startswith("toys:") else Confidence.NO

        @hookimpl
        def load_model(self, request):
            import torch

            loaded.append(request)

            class Network(torch.nn.Module):
                def forward(self, images):
                    return images[:, :2]

            from segplug.model import Provenance

            made_from = Provenance(config=request.config, checkpoint=request.checkpoint)
            meta = ModelMeta(
                name="m", classes=("a", "b"), out_channels=2, input_size=(16, 24), provenance=made_from
            )
            network = Network()
            return SegmentationModel(module=network, meta=meta, exportable=lambda: network)

    toy, plain, nothing, elsewhere = Toy(), Plain(), Nothing(), Elsewhere()
    compiler, shelf, converter, publisher = Compiler(), Shelf(), Converter(), Publisher()
    opens, source = Opens(), Source()
"""

SIGNER = """
    from dataclasses import dataclass
    from typing import Any

    from segplug import AddOn, hookimpl, option
    from segplug.errors import RefusedError

    seen = []

    @dataclass(frozen=True)
    class Options:
        sign: bool = option(True, help="Write a signature.")
        tamper: bool = option(False, help="Change the file.")
        refuse: bool = option(False, help="Refuse what was made.")

    class Signer(AddOn[Options]):
        '''Signs what is made.'''
        hook_versions = {"export": 2, "build_engine": 2, "convert_weights": 2}
        options = Options
        sidecars = (".sig",)

        def signed(self, request):
            result = yield
            settings = self.settings(request)
            path = result.path if hasattr(result, "path") else result.destination
            seen.append((path, getattr(result, "sha256", ""), result))
            if settings.tamper:
                with open(path, "a") as file:
                    file.write(" ")
            if settings.sign:
                path.with_name(path.name + ".sig").write_text(f"signed {path.name}")
            if settings.refuse:
                raise RefusedError("not this one")
            return result

        @hookimpl(wrapper=True)
        def export(self, request):
            return (yield from self.signed(request))

        @hookimpl(wrapper=True)
        def build_engine(self, request):
            return (yield from self.signed(request))

        @hookimpl(wrapper=True)
        def convert_weights(self, request):
            return (yield from self.signed(request))

    signer = Signer()
"""

_ENTRIES = {
    "segplug.export": {
        "toy": "toys_mod:toy",
        "plain": "toys_mod:plain",
        "nothing": "toys_mod:nothing",
        "elsewhere": "toys_mod:elsewhere",
        "shelf": "toys_mod:shelf",
    },
    "segplug.build_engine": {"toyengine": "toys_mod:compiler"},
    "segplug.convert_weights": {"toyweights": "toys_mod:converter", "published": "toys_mod:publisher"},
    "segplug.infer": {"toy": "toys_mod:opens", "toyengine": "toys_mod:opens"},
    "segplug.load_model": {"toys": "toys_mod:source"},
}


def install_toys(install_plugin: Any) -> Any:
    """Install them; returns their module, whose ``requests`` are those of the makers."""
    install_plugin("toys", _ENTRIES, toys_mod=TOYS)
    import toys_mod

    return toys_mod


def install_signer(install_plugin: Any) -> Any:
    """Install an add-on that signs what is made; returns its module."""
    install_plugin("signer", {"segplug.addon": {"signer": "signer_mod:signer"}}, signer_mod=SIGNER)
    import signer_mod

    return signer_mod
