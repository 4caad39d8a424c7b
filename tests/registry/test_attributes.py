"""What is wrong with an object that an entry point names is said by name, before it is used."""

from __future__ import annotations

import pytest

from segplug import Segplug
from segplug.errors import PluginError
from segplug.registry.registry import Registry
from tests.registry.support import COUNT, COUNT_GROUPS, IMPORTS, POLICY, POLICY_GROUPS

KINDS = {
    "export": ("Exporter", "export"),
    "build_engine": ("EngineBuilder", "build_engine"),
    "infer": ("Backend", "infer"),
    "analyze": ("Report", "analyze"),
}

PROVIDER = """
class Provider{base}:
    '''For tests.'''
    hook_version = 2
    {attribute}

    @hookimpl
    def {hook}(self, request): ...

provider = Provider()
"""

ADDON = """
class Rule{base}:
    '''For tests.'''
    hook_versions = {{"export": 2}}
    {attribute}

    @hookimpl(wrapper=True)
    def export(self, request):
        return (yield)

provider = Rule()
"""

NEAR_MISSES = [
    ("infer", "defualt_device = 'cuda'", "defualt_device", "default_device"),
    ("infer", "raeds = ('onnx',)", "raeds", "reads"),
    ("export", "verfy_with = 'onnxruntime'", "verfy_with", "verify_with"),
    ("export", "sufix = '.x'", "sufix", "suffix"),
    ("export", "output_flag = ('--trt-file',)", "output_flag", "output_flags"),
    ("export", "def write_metadata(self, path, meta): ...", "write_metadata", "write_meta"),
    ("build_engine", "precision = ('fp16',)", "precision", "precisions"),
    ("build_engine", "takse = 'model'", "takse", "takes"),
    ("infer", "def check_devices(self, device): ...", "check_devices", "check_device"),
    ("infer", "def companion(self, artifact): ...", "companion", "companions"),
    ("analyze", "need_subjects = False", "need_subjects", "needs_subjects"),
    ("analyze", "hook_verison = 2; del hook_version", "hook_verison", "hook_version"),
    ("analyze", "def __init__(self): self.abuot = 'A line.'", "abuot", "about"),
    ("analyze", "option = None", "option", "options"),
]


def source(hook: str, attribute: str, *, plain: bool = False) -> str:
    base = "" if plain else f"({KINDS[hook][0]}[NoOptions])"
    return IMPORTS + PROVIDER.format(base=base, attribute=attribute, hook=hook)


def rule(attribute: str, *, plain: bool = False) -> str:
    return IMPORTS + ADDON.format(base="" if plain else "(AddOn[NoOptions])", attribute=attribute)


@pytest.mark.parametrize("plain", [False, True], ids=["base class", "plain object"])
@pytest.mark.parametrize(("hook", "attribute", "name", "meant"), NEAR_MISSES, ids=lambda item: item)
def test_a_misspelt_attribute_is_refused_by_name(
    install_plugin, refused, hook, attribute, name, meant, plain
) -> None:
    install_plugin(
        "acme", {f"segplug.{hook}": {"toy": "acme:provider"}}, acme=source(hook, attribute, plain=plain)
    )
    line = refused(1, "run", hook, "toy", "x")
    kind = KINDS[hook][0]
    assert line == (
        f"{hook} toy (acme 1.0) is broken: it has '{name}', which {kind} does not declare; "
        f"did you mean '{meant}'?"
    )


@pytest.mark.parametrize("plain", [False, True], ids=["base class", "plain object"])
@pytest.mark.parametrize(
    ("attribute", "name", "meant"),
    [
        ("manditory = True", "manditory", "mandatory"),
        ("oder = 1", "oder", "order"),
        ("sidecar = ('.json',)", "sidecar", "sidecars"),
        ("hook_verisons = hook_versions; del hook_versions", "hook_verisons", "hook_versions"),
        ("hook_version = 2; del hook_versions", "hook_version", "hook_versions"),
        ("def buildengine(self, request): ...", "buildengine", "build_engine"),
    ],
)
def test_a_misspelt_attribute_of_an_add_on_stops_every_run(
    install_plugin, refused, attribute, name, meant, plain
) -> None:
    install_plugin("acme", COUNT_GROUPS, acme=COUNT)
    install_plugin("rules", POLICY_GROUPS, rules=rule(attribute, plain=plain))
    line = refused(1, "run", "analyze", "count", "a")
    assert f"it has '{name}', which AddOn does not declare; did you mean '{meant}'?" in line
    assert "--no-addon policy" in line


@pytest.mark.parametrize("plain", [False, True], ids=["base class", "plain object"])
@pytest.mark.parametrize(
    ("hook", "attribute"),
    [
        ("infer", "device_names = ('npu',)"),
        ("infer", "def open_library(self): ..."),
        ("infer", "def inferred(self): ..."),
        ("export", "exported = 0"),
        ("export", "class Verifier: ..."),
        ("analyze", "analyzer = None"),
        ("analyze", "_hook_verison = 1"),
        ("analyze", "library = property(lambda self: 1 / 0)"),
    ],
)
def test_a_helper_may_have_any_other_name(install_plugin, hook, attribute, plain) -> None:
    install_plugin(
        "acme", {f"segplug.{hook}": {"toy": "acme:provider"}}, acme=source(hook, attribute, plain=plain)
    )
    assert Registry().provider(hook, "toy").entry.target == "toy"


def test_an_add_on_may_count_what_it_wraps(install_plugin) -> None:
    install_plugin("acme", COUNT_GROUPS, acme=COUNT)
    install_plugin("rules", POLICY_GROUPS, rules=rule("exported = 0; exports = ()"))
    assert Segplug().analyze("count").title == "count"


@pytest.mark.parametrize(
    ("hook", "attribute", "reason"),
    [
        ("export", "takes = 'artefact'", "'takes' cannot be 'artefact': it is one of artifact, either"),
        ("infer", "takes = 'modle'", "did you mean 'model'?"),
        ("infer", "reads = ('onnx')", "its 'reads' must be a tuple, not 'onnx'"),
        ("infer", "reads = (1,)", "its 'reads' cannot hold 1"),
        ("infer", "default_device = 0", "its 'default_device' must be text, not 0"),
        ("export", "suffix = 'x'", "its 'suffix' begins with a dot, not 'x'"),
        ("export", "suffix = ''", "its 'suffix' is empty"),
        ("export", "precisions = ()", "its 'precisions' are empty"),
        ("export", "precisions = ('fp61',)", "did you mean 'fp16'?"),
        ("export", "output_flags = ('--trt-file')", "its 'output_flags' must be a tuple, not '--trt-file'"),
        ("export", "output_flags = ('trt',)", "a flag begins with '--', not 'trt'"),
        ("export", "precision_flags = ('--fp16',)", "its 'precision_flags' must be a mapping"),
        (
            "export",
            "precision_flags = {'--fp16': 'fp16'}",
            "its 'precisions' do not hold 'fp16', which --fp16 means",
        ),
        ("analyze", "needs_subjects = 'no'", "its 'needs_subjects' must be True or False, not 'no'"),
        ("analyze", "hook_version = True", "its 'hook_version' must be a whole number, not True"),
        ("analyze", "hook_version = '2'", "it does not say its hook_version"),
        ("analyze", "del hook_version", "it does not say its hook_version"),
        ("analyze", "options = int", "are not a dataclass"),
        ("analyze", "options = None", "its 'options' must be a class, not None"),
        ("analyze", "options = NoOptions()", "its 'options' must be a class, not NoOptions()"),
        ("analyze", "options = property(lambda self: 1 / 0)", "ZeroDivisionError: division by zero"),
        ("analyze", "about = property(lambda self: 1 / 0)", "ZeroDivisionError: division by zero"),
    ],
)
def test_an_attribute_of_a_wrong_type_or_value_is_named(
    install_plugin, refused, hook, attribute, reason
) -> None:
    plain = attribute.startswith("takes = 'artefact'")  # a plain object that takes no model packs artifacts
    install_plugin(
        "acme", {f"segplug.{hook}": {"toy": "acme:provider"}}, acme=source(hook, attribute, plain=plain)
    )
    line = refused(1, "run", hook, "toy", "x")
    assert line.startswith(f"{hook} toy (acme 1.0) is broken: ")
    assert reason in line


@pytest.mark.parametrize("hook", ["export", "analyze"])
@pytest.mark.parametrize("plain", [False, True], ids=["base class", "plain object"])
def test_a_method_that_is_marked_is_a_hook(install_plugin, refused, hook, plain) -> None:
    attribute = "@hookimpl\n    def exprot(self, request): ..."
    install_plugin(
        "acme", {f"segplug.{hook}": {"toy": "acme:provider"}}, acme=source(hook, attribute, plain=plain)
    )
    line = refused(1, "run", hook, "toy", "x")
    assert "its method 'exprot' is marked with hookimpl, and there is no hook of that name" in line
    assert "did you mean 'export'?" in line


def test_a_misspelt_hook_of_a_plain_object_is_named(install_plugin, refused) -> None:
    text = source("export", "", plain=True).replace("def export", "def exprot")
    install_plugin("acme", {"segplug.export": {"toy": "acme:provider"}}, acme=text)
    assert "it has 'exprot', which Exporter does not declare" in refused(1, "run", "export", "toy", "x")


@pytest.mark.parametrize("decorator", ["@hookimpl(wrapper=True)", "@staticmethod\n    @hookimpl"])
def test_a_marked_method_of_an_add_on_is_a_hook(install_plugin, refused, decorator) -> None:
    method = f"{decorator}\n    def loadmodels(request):\n        return (yield)"
    install_plugin("acme", COUNT_GROUPS, acme=COUNT)
    install_plugin("rules", POLICY_GROUPS, rules=rule(f"load_model = None\n    {method}"))
    line = refused(1, "run", "analyze", "count", "a")
    assert "'loadmodels'" in line
    assert "'load_model'" in line


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (
            "    @hookimpl(wrapper=True)\n    def export",
            "    def export",
            "'export' must be marked @hookimpl(wrapper=True)",
        ),
        ("wrapper=True", "hookwrapper=True", "'export' must be marked @hookimpl(wrapper=True)"),
        ("@hookimpl(wrapper=True)", "@hookimpl", "'export' must be marked @hookimpl(wrapper=True)"),
        (
            "wrapper=True",
            "wrapper=True, tryfirst=True",
            "'export' is marked tryfirst or trylast; its place is its 'order'",
        ),
        (
            "wrapper=True",
            "wrapper=True, trylast=True",
            "'export' is marked tryfirst or trylast; its place is its 'order'",
        ),
        ("return (yield)", "return None", "has no yield"),
        ("self, request", "self, request, more", "more"),
        ('{"export": 2}', "('export',)", "it does not say its hook_versions, such as {'export': 2}"),
        ('{"export": 2}', "{}", "its hook_versions name none, and it wraps export"),
        ('{"export": 2}', '{"export": 2, "infer": 2}', "name export, infer, and it wraps export"),
        (
            '{"export": 2}',
            '{"export": 2, "exprot": 2}',
            "its hook_versions name 'exprot', and there is no hook of that name; did you mean 'export'?",
        ),
        ('{"export": 2}', '{"export": "2"}', "must be whole numbers, not '2' for export"),
        (
            "    hook_versions",
            "    mandatory = 1\n    hook_versions",
            "its 'mandatory' must be True or False",
        ),
        ("    hook_versions", "    order = 1.5\n    hook_versions", "its 'order' must be a whole number"),
        ("    hook_versions", "    sidecars = '.x'\n    hook_versions", "its 'sidecars' must be a tuple"),
    ],
)
def test_a_wrapper_is_marked_and_versioned(install_plugin, refused, old, new, reason) -> None:
    text = rule("")
    assert old in text
    install_plugin("acme", COUNT_GROUPS, acme=COUNT)
    install_plugin("rules", POLICY_GROUPS, rules=text.replace(old, new))
    line = refused(1, "run", "analyze", "count", "a")
    assert line.startswith("add-on policy (rules 1.0) is broken: ")
    assert reason in line


@pytest.mark.parametrize("kind", ["class", "module"])
@pytest.mark.parametrize("what", ["provider", "add-on"])
def test_an_object_of_a_class_is_needed(install_plugin, refused, kind, what) -> None:
    count, policy = COUNT, POLICY
    if kind == "class":
        count = COUNT.replace("Count()", "Count")
        policy = POLICY.replace("Policy()", "Policy")
    else:
        count += "\nimport sys; provider = sys.modules[__name__]"
        policy += "\nimport sys; provider = sys.modules[__name__]"
    install_plugin("acme", COUNT_GROUPS, acme=count if what == "provider" else COUNT)
    install_plugin("rules", POLICY_GROUPS, rules=policy if what == "add-on" else POLICY)
    line = refused(1, "run", "analyze", "count", "a")
    assert f"is broken: it is a {kind}; an object of a class is needed" in line
    assert ("add-on policy" in line) == (what == "add-on")


def test_an_object_of_another_kind_is_refused(install_plugin, refused) -> None:
    text = source("infer", "")
    install_plugin("acme", {"segplug.export": {"toy": "acme:provider"}}, acme=text)
    assert "it is a Backend" in refused(1, "run", "export", "toy", "x")


def test_a_hook_takes_the_request_alone(install_plugin, refused) -> None:
    install_plugin("acme", COUNT_GROUPS, acme=COUNT.replace("self, request", "self, request, extra"))
    assert "extra" in refused(1, "run", "analyze", "count", "x")


@pytest.mark.parametrize("plain", [False, True], ids=["base class", "plain object"])
def test_a_hook_that_is_not_marked_is_not_there(install_plugin, plain) -> None:
    text = source("analyze", "", plain=plain).replace("    @hookimpl\n", "")
    install_plugin("acme", COUNT_GROUPS, acme=text)
    with pytest.raises(PluginError, match="it has no method 'analyze' marked with"):
        Registry().provider("analyze", "count")


@pytest.mark.parametrize(
    ("hook", "keyword", "method"),
    [
        ("infer", "metrics", "evaluate"),
        ("infer", "want_logits", "open"),
        ("infer", "reference_backend", "verify"),
        ("export", "shape", "export"),
        ("analyze", "force", "analyze"),
        ("load_model", "structure_only", "load_model"),
        ("load_model", "optional", "fit_backbone"),
    ],
)
def test_an_option_cannot_take_a_keyword_of_a_python_method(install_plugin, hook, keyword, method) -> None:
    declared = f"""
@dataclass(frozen=True)
class Options:
    {keyword}: int = option(1, help="Clashes with Segplug.{method}.")
"""
    body = f"options = Options\n    def accepts(self, location): ...\n    {keyword}_ = 1"
    text = IMPORTS + declared + PROVIDER.format(base="", attribute=body, hook=hook)
    install_plugin("acme", {f"segplug.{hook}": {"toy": "acme:provider"}}, acme=text)
    with pytest.raises(PluginError, match=f"options of segplug's own: {keyword}"):
        Registry().provider(hook, "toy")
