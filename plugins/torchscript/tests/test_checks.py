"""What a file may do is found before PyTorch opens it: nothing runs and nothing is written without trust."""

from __future__ import annotations

import contextlib
import io
import json
import re
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import torch
from segplug_torchscript import archive as archives
from segplug_torchscript import checks
from segplug_torchscript.checks.expressions import check_condition, check_size
from segplug_torchscript.checks.findings import Finding
from segplug_torchscript.checks.operators import harmless_operators, other_operators
from torch import nn
from torchscript_support import hostile
from torchscript_support.hostile import Touch, edited, pickled, rewritten, scripted
from torchscript_support.networks import ByValue, images, make_model, open_file

from segplug.errors import ArtifactError, SegplugError, UntrustedError

pytestmark = [pytest.mark.filterwarnings("ignore:.*jit.*:DeprecationWarning")]


@pytest.fixture(scope="module")
def program(export) -> Path:
    return export("torch-export", make_model(), dynamic=True).path


@pytest.fixture(scope="module")
def script(export) -> Path:
    return export("torchscript", make_model(), dynamic=True).path


EMPTY, OTHER = (
    f"c__torch__.torch.nn.modules.activation\nReLU\n){end}".encode("latin-1") for end in ("\x81", "\x81}b")
)
"""Objects of a class that is not the declared one: without attributes, and with none."""


def opened(path: Path, *, trust: bool = False) -> None:
    target = "torchscript" if path.suffix == ".pt" else "torch-export"
    engine = open_file(path, target, trust_artifact=trust)
    engine.run(images(1, 32, 48))
    engine.close()


def refused(path: Path, words: str) -> None:
    with pytest.raises(UntrustedError, match=words) as caught:
        opened(path)
    assert caught.value.hint.startswith("if you trust whoever made it, add --trust-artifact")
    assert "\n" not in str(caught.value)


def in_all_sizes(text: str) -> Callable[[str], str]:
    """Replaces every size that varies."""
    return lambda graph: re.sub(
        r"\"Symbol\('s[0-9]+', positive=True, integer=True\)\"", json.dumps(text), graph
    )


class TestPrograms:
    def test_a_pickle_among_the_members(self, program, tmp_path):
        made = tmp_path / "made"
        path = rewritten(program, tmp_path / "m.pt2", {hostile.SAMPLE: pickled(Touch(made))})
        refused(path, "holds a pickle that may run code: data/sample_inputs/model.pt")
        assert not made.exists()
        with pytest.raises(SegplugError):  # PyTorch runs it, and then misses the inputs
            opened(path, trust=True)
        assert made.exists()

    def test_a_size_that_is_code(self, program, tmp_path):
        made = tmp_path / "made"
        path = edited(program, tmp_path / "m.pt2", in_all_sizes(f"__import__('os').mkdir('{made}')"))
        refused(path, "has an expression that segplug does not know to be harmless: __import__")
        assert not made.exists()
        with pytest.raises(SegplugError):
            opened(path, trust=True)
        assert made.exists()

    def test_a_size_that_takes_all_time(self, program, tmp_path):
        start = time.monotonic()
        for text in ("9**9**9", "((9**4)**4)**4**4", "LShift(1, 10**9)", "Pow(9, Pow(9, 9))"):
            refused(edited(program, tmp_path / "m.pt2", in_all_sizes(text)), "has an expression")
        assert time.monotonic() - start < 60

    def test_a_condition_that_is_code(self, program, tmp_path):
        made = tmp_path / "made"

        def edit(graph: str) -> str:
            content = json.loads(graph)
            content["guards_code"] = [f"__import__('os').mkdir('{made}') is None"]
            return json.dumps(content)

        inputs = pickled(((torch.zeros(1, 3, 32, 48),), {}))  # PyTorch checks conditions if it has inputs
        path = rewritten(
            edited(program, tmp_path / "edited.pt2", edit), tmp_path / "m.pt2", {hostile.SAMPLE: inputs}
        )
        refused(path, "has an expression that segplug does not know to be harmless: __import__")
        assert not made.exists()
        opened(path, trust=True)
        assert made.exists()

    def test_a_name_that_is_code(self, program, tmp_path):
        made = tmp_path / "made"
        name = f"images=__import__('os').mkdir('{made}')"
        path = edited(program, tmp_path / "m.pt2", lambda graph: graph.replace('"images"', json.dumps(name)))
        refused(path, "has a value named")
        assert not made.exists()

    @pytest.mark.parametrize(
        "target",
        ["torch.os.system", "torch.ops.aten.from_file.default", "torch.ops.segplug_hostile.same.default",
         "_operator.methodcaller", "math.os", "#other:op", "torch.ops.aten.relu.__class__"],
    )  # fmt: skip
    def test_operators_that_do_more_than_compute(self, program, tmp_path, target):
        edit = lambda graph: graph.replace("torch.ops.aten.relu.default", target)  # noqa: E731
        path = edited(program, tmp_path / "m.pt2", edit)
        refused(path, f"uses {target}, which segplug does not know to be harmless")

    @pytest.mark.parametrize("keys", ["[1]", "[[]]", "[null]", "[true]", "{}", "7"])
    def test_names_of_inputs_that_are_no_text(self, program, tmp_path, keys):
        structure = {"type": "builtins.dict", "context": keys, "children_spec": []}

        def edit(graph: str) -> str:
            content = json.loads(graph)
            content["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = json.dumps(
                [1, structure]
            )
            return json.dumps(content)

        refused(edited(program, tmp_path / "m.pt2", edit), "takes or gives something else than tensors")

    @pytest.mark.parametrize(
        ("name", "words"),
        [("data/constants/opaque_obj_0", "holds data/constants/opaque_obj_0"),
         ("models/other.json", "holds models/other.json"), ("MODELS/MODEL.JSON", "names occur twice"),
         ("data/weights/model.pt", "holds a pickle that may run code")],
    )  # fmt: skip
    def test_other_members(self, program, tmp_path, name, words):
        refused(rewritten(program, tmp_path / "m.pt2", {name: b"x"}), words)

    def test_a_tensor_that_claims_more_than_there_is(self, program, tmp_path):
        config = "data/weights/model_weights_config.json"
        with zipfile.ZipFile(program) as archive:
            content = json.loads(archive.read(f"model/{config}"))
        payload = next(iter(content["config"].values()))
        payload["tensor_meta"]["sizes"] = [{"as_int": 1 << 40}]
        payload["tensor_meta"]["strides"] = [{"as_int": 0}]
        path = rewritten(program, tmp_path / "m.pt2", {config: json.dumps(content).encode()})
        refused(path, "holds more values than it does")

    def test_a_tensor_without_values(self, program, tmp_path):
        refused(
            rewritten(program, tmp_path / "m.pt2", {"data/weights/weight_0": b""}), "holds more values than"
        )

    def test_deep_nesting(self, program, tmp_path):
        deep = b'{"graph_module": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
        refused(rewritten(program, tmp_path / "m.pt2", {hostile.MODEL: deep}), "nested too deeply")


class TestScripts:
    @pytest.mark.parametrize(
        ("network", "words"),
        [(hostile.Saves, "uses torch.save"), (hostile.MapsFile, "uses torch.from_file"),
         (hostile.WritesWhenOpened, "runs code when it is opened: it has a method __")],
    )  # fmt: skip
    def test_code_that_writes_files(self, tmp_path, monkeypatch, network, words):
        monkeypatch.setattr(torch, "save", torch.save)
        made = tmp_path / "made"
        path = scripted(network(str(made)), tmp_path / "m.pt", make_model().meta)
        made.unlink(missing_ok=True)
        refused(path, words)
        assert not made.exists()
        opened(path, trust=True)
        assert made.exists()

    def test_operators_of_other_libraries(self, tmp_path):
        path = scripted(hostile.UsesForeignOperator(), tmp_path / "m.pt", make_model().meta)
        refused(path, "uses ops.segplug_hostile.same")
        opened(path, trust=True)

    def test_code_that_prints(self, tmp_path):
        refused(scripted(hostile.Prints(), tmp_path / "m.pt", make_model().meta), "uses print")

    @pytest.mark.parametrize(
        "line",
        ["f = torch.save", "f = ops", "f = torch", "f = ops.prim", 'getattr(x, "save")', "getattr(x, y)",
         "x.save(x)", "ops.prim.Print(x)", "torch.ops.aten.save(x)", "import os", "f = lambda: 1",
         "__torch__.torch.classes.evil.Thing()", "x = x # type: ignore", "open(x)", "fork(x)"],
    )  # fmt: skip
    def test_ways_around_the_list(self, script, tmp_path, line):
        def with_line(text: str) -> Path:
            code = f"class N(Module):\n  def forward(self, x: Tensor) -> Tensor:\n    {text}\n    return x\n"
            return rewritten(script, tmp_path / "m.pt", {"code/__torch__/more.py": code.encode()})

        checks.check_script(with_line("x = torch.relu(x)"))
        refused(with_line(line), "uses|holds code|runs code")

    @pytest.mark.parametrize("module", ["ops", "torch", "__torch__"])
    def test_a_module_whose_name_another_function_uses(self, script, tmp_path, module):
        code = (
            f"class N(Module):\n  def forward(self, x: Tensor) -> Tensor:\n    y = {module}\n"
            "    return y.inductor._reinterpret_tensor(x, [9], [1], 0)\n"
            f"  def other(self, {module}: Tensor) -> Tensor:\n    return x\n"
        )
        path = rewritten(script, tmp_path / "m.pt", {"code/__torch__/more.py": code.encode()})
        refused(path, f"uses {module}, which")

    @pytest.mark.parametrize(
        ("name", "words"),
        [("bytecode.pkl", "holds bytecode.pkl"), ("model.json", "holds model.json"),
         ("attributes.pkl", "holds attributes.pkl"), ("CODE/__torch__/x.py", "holds CODE"),
         ("DATA.pkl", "names occur twice")],
    )  # fmt: skip
    def test_other_members(self, script, tmp_path, name, words):
        refused(rewritten(script, tmp_path / "m.pt", {name: b"x"}), words)

    @pytest.mark.parametrize("member", ["data.pkl", "constants.pkl"])
    def test_pickles_that_name_functions(self, script, tmp_path, member):
        content = b"\x80\x02cos\nsystem\nq\x00X\x01\x00\x00\x00:\x85R."
        refused(
            rewritten(script, tmp_path / "m.pt", {member: content}), "holds a pickle that names os.system"
        )

    def test_attributes_of_every_kind(self, tmp_path):
        opened(scripted(hostile.Kinds(), tmp_path / "m.pt", make_model().meta))

    @pytest.mark.parametrize(
        ("name", "value"),
        [("v29", b"N"), ("pair", b"K\x01\x85"), ("pair", b")"), ("part", b"K\x00"),
         ("part", EMPTY), ("part", OTHER),
         ("small", b"](K\x01X\x01\0\0\0xe"), ("maybe", b"}"), ("nested", b"}X\x01\0\0\0a]K\x01\x85as"),
         ("mean", b"K\x01"), ("names", b"X\x01\0\0\0x"), ("device", b"N")],
    )  # fmt: skip
    def test_values_of_other_types_than_declared(self, tmp_path, name, value):
        # PyTorch would read memory beyond an object that is smaller than its place says.
        source = scripted(hostile.Kinds(), tmp_path / "source.pt", make_model().meta)
        key = b"X" + len(name).to_bytes(4, "little") + name.encode()
        with zipfile.ZipFile(source) as archive:
            content = archive.read("archive/data.pkl")
        end = content.index(b"ub", content.index(key)) if name == "v29" else content.rindex(b"ub")
        path = rewritten(source, tmp_path / "m.pt", {"data.pkl": content[:end] + key + value + content[end:]})
        refused(path, "holds a value of another type|holds an object without a class")

    def test_an_object_that_changes_later(self, tmp_path):
        source = scripted(hostile.Kinds(), tmp_path / "source.pt", make_model().meta)
        with zipfile.ZipFile(source) as archive:
            content = archive.read("archive/data.pkl")
        refused(
            rewritten(source, tmp_path / "m.pt", {"data.pkl": content[:-1] + b"}b."}),
            "holds an object with two states",
        )

    def test_tensors_that_claim_more_than_there_is(self, script, tmp_path):
        with zipfile.ZipFile(script) as archive:
            name = max(
                (n for n in archive.namelist() if "/data/" in n), key=lambda n: archive.getinfo(n).file_size
            )
        member = name.partition("/")[2]
        refused(rewritten(script, tmp_path / "m.pt", {member: b"1234"}), "holds more bytes than it does")

    def test_code_that_unpacks_to_much_more(self, script, tmp_path):
        buffer = io.BytesIO()
        with zipfile.ZipFile(script) as old, zipfile.ZipFile(buffer, "w") as new:
            for info in old.infolist():
                new.writestr(info, old.read(info))
            new.writestr("model/code/__torch__/x.py", b" " * (65 << 20), zipfile.ZIP_DEFLATED)
        (tmp_path / "m.pt").write_bytes(buffer.getvalue())
        with pytest.raises(UntrustedError, match="unpacks to"):
            checks.check_script(tmp_path / "m.pt")


def test_an_archive_that_unpacks_to_much_more_is_not_unpacked(script, tmp_path):
    path = tmp_path / "m.pt"
    path.write_bytes(script.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("model/extra/zeros", b"0" * (80 << 20), zipfile.ZIP_DEFLATED)
    for read in (archives.read_meta, archives.read_checked):
        with pytest.raises(ArtifactError, match=r"would unpack to 8\d,"):
            read(path, "torchscript")


@pytest.mark.parametrize("kind", ["torchscript", "torch-export"])
def test_damage_is_one_error(script, program, tmp_path, kind):
    """Bytes are changed at random, in the file or in a member: it is refused, or is as good as before."""
    source, check = (
        (script, checks.check_script) if kind == "torchscript" else (program, checks.check_program)
    )
    content, random = source.read_bytes(), Random(7)
    with zipfile.ZipFile(source) as archive:
        members = [name for name in archive.namelist() if name.endswith((".pkl", ".py", ".json"))]
        texts = {name: archive.read(name) for name in members}
    members = [name for name in members if texts[name]]
    path = tmp_path / f"m{source.suffix}"
    for _ in range(150):
        if random.random() < 0.4:
            path.write_bytes(damaged(content, random))
        else:
            name = random.choice(members)
            rewritten(source, path, {name.partition("/")[2]: damaged(texts[name], random)})
        with contextlib.suppress(ArtifactError):
            archives.read_checked(path, kind)
        with contextlib.suppress(UntrustedError):
            check(path)


def damaged(content: bytes, random: Random) -> bytes:
    changed = bytearray(content)
    for _ in range(random.choice((1, 2, 8))):
        place = random.randrange(len(changed) or 1)
        if not changed:
            break
        if random.random() < 0.5:
            changed[place] = random.randrange(256)
        elif random.random() < 0.5:
            del changed[place : place + 20]
        else:
            other = random.randrange(len(changed))
            changed[place:place] = changed[other : other + 50]
    return bytes(changed)


@pytest.mark.parametrize("which", ["before", "after", "comment"])
def test_an_archive_that_two_readers_could_read_differently(script, tmp_path, which):
    path = tmp_path / "m.pt"
    content = script.read_bytes()
    if which == "comment":
        path.write_bytes(content)
        with zipfile.ZipFile(path, "a") as archive:
            archive.comment = b"PK\5\6" + bytes(18)
    else:
        path.write_bytes(b"x" * 64 + content if which == "before" else content + content)
    with pytest.raises(SegplugError):
        opened(path)
    with pytest.raises(UntrustedError, match="is no zip file as PyTorch writes them"):
        checks.check_script(path)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("target", ["torchscript", "torch-export"])
def test_what_segplug_exports_opens_without_trust(export, target, dynamic):
    opened(export(target, make_model(), dynamic=dynamic).path)


class Odd(nn.Module):
    """Names that are unusual in a network, and operators of many kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(
            {"my-key": nn.Conv2d(3, 3, 1), "0": nn.GELU(approximate="tanh"), "a:b/c": nn.ReLU()}
        )
        self.attention = nn.MultiheadAttention(48, 2, batch_first=True)
        self.lstm = nn.LSTM(48, 48, batch_first=True)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = self.parts["0"](self.parts["my-key"](images))
        with torch.no_grad():
            found = self.parts["a:b/c"](found)
        rows = found.flatten(1, 2)
        rows = self.attention(rows, rows, rows)[0]
        rows, _ = self.lstm(rows)
        found = rows.reshape(found.shape)
        found = torch.einsum("bchw,bdhw->bchw", found, found) / 3.0
        grid = torch.nn.functional.affine_grid(
            torch.eye(2, 3).repeat(found.shape[0], 1, 1), list(found.shape), align_corners=False
        )
        found = torch.nn.functional.grid_sample(found, grid, align_corners=False)
        return torch.nn.functional.layer_norm(found, found.shape[1:]).clamp(-5, 5)


@pytest.mark.parametrize("target", ["torchscript", "torch-export"])
def test_an_unusual_network_opens_without_trust(export, target):
    opened(export(target, make_model(Odd())).path)


def test_a_network_that_was_scripted_opens_without_trust(tmp_path):
    # The code of functions like interpolate has all their branches, and so the operators of each.
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Upsample((32, 48), mode="bilinear"))
    opened(scripted(network, tmp_path / "m.pt", make_model().meta))


def test_a_name_in_another_language_opens_without_trust(export):
    network = nn.Sequential(OrderedDict({"größe": nn.Conv2d(3, 3, 1)}))
    opened(export("torch-export", make_model(network)).path)


def test_no_operator_takes_the_name_of_a_file():
    harmless = harmless_operators()
    assert {"conv2d", "relu", "einsum", "_convolution", "eq", "len", "sym_size"} <= harmless
    assert not harmless & other_operators()
    assert not harmless & {"save", "from_file", "set_", "load", "warn", "_print"}
    assert not harmless & {"_reshape_alias", "_reshape_alias_copy", "segment_reduce", "ctc_loss"}
    for schema in torch._C._jit_get_all_schemas():
        namespace, _, name = schema.name.partition("::")
        if namespace == "aten" and name in harmless:
            texts = {argument.name for argument in schema.arguments if "str" in str(argument.type)}
            assert not texts & {"filename", "file", "path"}


@pytest.mark.parametrize(
    "text",
    ["Symbol('s0', positive=True, integer=True)", "s0 + 1", "-s0", "u0", "Integer(3)",
     "Add(FloorDiv(Add(Symbol('s5', integer=True), Integer(-1)), Integer(2)), Integer(1))",
     "Max(1, s0)", "Eq(s0, 1)", "Pow(Symbol('s1', integer=True), Integer(2))", "s0**2", "(s0 // 2) % 3 >= 2",
     "Float('0.5', precision=53)", "ToFloat(s0)", "Mul(Integer(4), Symbol('s89'))"],
)  # fmt: skip
def test_sizes_that_pytorch_writes(text):
    check_size(text)


@pytest.mark.parametrize(
    "text",
    ["x", "s0.func", "s0[0]", "eval('1')", "Symbol('x', cls=s0)", "Symbol(name='s0')", "'s0'", "s0(1)",
     "lambda: 1", "[s0]", "9**99", "s0**s1", "(" * 90 + "s0" + ")" * 90 + ".x", "s0 if s0 else s1",
     "*".join(["(s0 + s1 + s2)"] * 30), "Max(" + ", ".join(f"s{i}" for i in range(99)) + ")",
     "-" * 200 + "s0", "L['x']", "Sum(s0, (s0, 1, 9))", "S(1)", "u99999999", "s0 << 9",
     "f's0'", "s0\n", "N(s0)", "floor(1e30000000)", "Integer(1E+3_0000)", "s0 // .5e-30000000"],
)  # fmt: skip
def test_sizes_that_are_refused(text):
    with pytest.raises(Finding):
        check_size(text)


@pytest.mark.parametrize(
    "text",
    ["(1 + (((-1) + L['x'].size()[3]) // 2)) != 1", "L['x'].size()[0] <= 4", "L['args'][0].size()[2] == 3",
     "math.floor(L['x'].size()[2] / 2.0) >= 1", "not (L['x'].size()[2] == 1)",
     "max(1, L['x'].size()[2]) < 9"],
)  # fmt: skip
def test_conditions_that_pytorch_writes(text):
    check_condition(text)


@pytest.mark.parametrize(
    "text",
    ["L['x'].tofile()", "L['x'].size(1)", "L", "M['x'].size()[0]", "L['x\"'].size()[0]", "x == 'a'",
     "math.os", "torch.load()", "torch.sym_int.__class__(1)", "9**9**9 == 1", "L['x'].size()[s0]"],
)  # fmt: skip
def test_conditions_that_are_refused(text):
    with pytest.raises(Finding):
        check_condition(text)


def test_a_network_with_buffers_that_are_repeated(export):
    class Repeated(ByValue):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("table", torch.ones(1, 3, 1, 1).expand(1, 3, 32, 48))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images + self.table

    for target in ("torchscript", "torch-export"):
        opened(export(target, make_model(Repeated())).path)
