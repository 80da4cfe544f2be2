"""What the Python files of a repository say about its models and transforms: read, never run."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

_SKIPPED = {"node_modules", "site-packages", "venv", "env", "build", "dist", "tests", "test", "docs", "__pycache__"}
_MOST_FILES = 2000
_MOST_BYTES = 1 << 20
_BUILDER = re.compile(
    r"(build|create|make|get|load)\w*(model|net|network|classifier)|^build$|^model$|^(my_?)?net$", re.I
)
_RANDOM = re.compile(r"Random|Jitter|AutoAugment|TrivialAugment|AugMix|Erasing|HorizontalFlip|CoarseDropout")
#: Names that say that a transform is for evaluation.
EVALUATION = re.compile(r"val|test|eval|infer|predict", re.I)


@dataclass(frozen=True)
class ModelSource:
    """A way to build a model: by a callable of the repository, or by a call of torchvision or timm.

    `callable` is package.module:name, or empty; `library` is torchvision or timm and `name` the model's name there, `keywords`
    what the call passes that is a literal. `lightning` says that the callable is a LightningModule, `arguments` that it
    needs some.
    """

    where: str
    callable: str = ""
    library: str = ""
    name: str = ""
    keywords: dict[str, Any] = field(default_factory=dict)
    lightning: bool = False
    arguments: bool = False


@dataclass(frozen=True)
class TransformSource:
    """A pipeline `Compose([...])`: by name where it can be imported, else as text with the imports that it needs."""

    where: str
    label: str
    spec: str
    text: str
    imports: tuple[str, ...]

    @property
    def random(self) -> bool:
        return bool(_RANDOM.search(self.text))


class SourceFile:
    """One Python file."""

    def __init__(self, path: Path, root: Path, import_root: Path) -> None:
        self._text = path.read_text("utf-8-sig")
        self._tree = ast.parse(self._text)
        self.name = path.relative_to(root).as_posix()
        relative = path.relative_to(import_root) if path.is_relative_to(import_root) else path.relative_to(root)
        self.module = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")

    @property
    def runs_on_import(self) -> bool:
        """Whether importing it does more than define things."""
        return not all(map(_defines, self._tree.body))

    def models(self) -> Iterator[ModelSource]:
        """The ways to build a model, callables that can be imported first."""
        if not self.runs_on_import:
            for node in self._tree.body:
                yield from self._callables(node)
        for call in ast.walk(self._tree):
            if isinstance(call, ast.Call):
                yield from self._library_call(call)

    def transforms(self) -> Iterator[TransformSource]:
        """The pipelines that are written out, in the order of the file."""
        for label, value, top in _labelled(self._tree):
            if isinstance(value, ast.Dict):
                for key, part in zip(value.keys, value.values, strict=True):
                    if isinstance(key, ast.Constant):
                        yield from self._pipeline(f"{label}[{key.value!r}]", part, "")
            else:
                yield from self._pipeline(label, value, label if top and not self.runs_on_import else "")

    def _callables(self, node: ast.stmt) -> Iterator[ModelSource]:
        where = f"{self.name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.FunctionDef) and _BUILDER.search(node.name) and not _required(node.args):
            yield ModelSource(where, f"{self.module}:{node.name}")
        if isinstance(node, ast.ClassDef):
            bases = {self._full_name(base).rpartition(".")[2] for base in node.bases}
            if bases & {"Module", "LightningModule"}:
                init = next((m for m in node.body if isinstance(m, ast.FunctionDef) and m.name == "__init__"), None)
                needs = init is not None and bool(_required(init.args) - 1)
                lightning = "LightningModule" in bases
                if lightning or not needs:
                    spec = f"{self.module}:{node.name}"
                    yield ModelSource(where, spec, lightning=lightning, arguments=needs)

    def _library_call(self, call: ast.Call) -> Iterator[ModelSource]:
        name, where = self._full_name(call.func), f"{self.name}:{call.lineno}"
        first = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
        keywords = {
            one.arg: one.value.value
            for one in call.keywords
            if one.arg and isinstance(one.value, ast.Constant) and one.arg not in ("weights", "pretrained", "progress")
        }
        if name in ("timm.create_model", "timm.models.create_model") and isinstance(first, str):
            yield ModelSource(where, library="timm", name=first, keywords=keywords)
        elif name == "torchvision.models.get_model" and isinstance(first, str):
            yield ModelSource(where, library="torchvision", name=first, keywords=keywords)
        elif re.fullmatch(r"torchvision\.models(\.\w+)?\.[a-z]\w+", name) and "weights" not in name.rpartition(".")[2]:
            yield ModelSource(where, library="torchvision", name=name.rpartition(".")[2], keywords=keywords)

    def _pipeline(self, label: str, value: ast.expr, importable: str) -> Iterator[TransformSource]:
        if not isinstance(value, ast.Call) or self._full_name(value.func).rpartition(".")[2] != "Compose":
            return
        free = {node.id for node in ast.walk(value) if isinstance(node, ast.Name)}
        text = ast.unparse(value)
        spec = f"{self.module}:{importable}" if importable else ""
        where = f"{self.name}:{value.lineno}"
        if spec:
            yield TransformSource(where, label, spec, text, ())
        elif free <= self._imports.keys() | self._constants.keys():
            for name in free & self._constants.keys():
                text = re.sub(rf"\b{name}\b", self._constants[name], text)
            imports = tuple(sorted({self._imports[name][1] for name in free & self._imports.keys()}))
            yield TransformSource(where, label, "", text, imports)

    @cached_property
    def _imports(self) -> dict[str, tuple[str, str]]:
        """What each imported name stands for, and the statement that imports it."""
        found = {}
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    name = alias.asname or alias.name.partition(".")[0]
                    stands_for = alias.name if alias.asname else name
                    found[name] = (stands_for, ast.unparse(ast.Import([alias])))
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    statement = ast.unparse(ast.ImportFrom(node.module, [alias], 0))
                    found[alias.asname or alias.name] = (f"{node.module}.{alias.name}", statement)
        return found

    @cached_property
    def _constants(self) -> dict[str, str]:
        """The module's names for numbers, texts, and lists of them."""
        found = {}
        for node in self._tree.body:
            if isinstance(node, ast.Assign):
                for name, value in _pairs(node.targets[0], node.value):
                    with suppress(ValueError):
                        ast.literal_eval(value)
                        found[name] = ast.unparse(value)
        return found

    def _full_name(self, node: ast.expr) -> str:
        """The dotted name with what its first part stands for."""
        first, _, rest = ast.unparse(node).partition(".")
        stands_for = self._imports.get(first, (first, ""))[0]
        return f"{stands_for}.{rest}" if rest else stands_for


def source_files(root: Path, import_root: Path) -> Iterator[SourceFile]:
    """The Python files of a repository that can be read, without environments, tests and hidden folders."""
    found = 0
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED and not name.startswith("."))
        folders[:] = [name for name in folders if not (Path(folder, name) / "pyvenv.cfg").exists()]
        for name in sorted(names):
            path = Path(folder, name)
            if path.suffix != ".py" or name in ("setup.py", "conftest.py") or path.stat().st_size > _MOST_BYTES:
                continue
            found += 1
            if found > _MOST_FILES:
                return
            try:
                yield SourceFile(path, root, import_root)
            except (SyntaxError, UnicodeDecodeError, ValueError):
                continue


def _defines(node: ast.stmt) -> bool:
    """Whether the statement only defines something, as far as its form tells."""
    if isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return True
    if isinstance(node, ast.Try):
        return all(map(_defines, node.body))
    if isinstance(node, ast.If):
        return "__main__" in ast.unparse(node.test) or "TYPE_CHECKING" in ast.unparse(node.test)
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        return node.value is None or _is_declaration(node.value)
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_declaration(value: ast.expr) -> bool:
    """A literal, a path, a pipeline of transforms, a logger: an assignment that a module is imported for."""
    calls = [ast.unparse(node.func) for node in ast.walk(value) if isinstance(node, ast.Call)]
    allowed = re.compile(
        r"(Path|getLogger|Compose|TypeVar|namedtuple|compile|device|parents?|resolve|joinpath)$|^[\w.]*\b[A-Z]\w*$"
    )
    return all(allowed.search(name) and not re.search(r"Loader|Folder|Dataset|Trainer", name) for name in calls)


def _labelled(tree: ast.Module) -> Iterator[tuple[str, ast.expr, bool]]:
    """What each value is called, the value, and whether it stands at the top of the module."""
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], (ast.Name, ast.Attribute)):
            target = node.targets[0]
            yield target.id if isinstance(target, ast.Name) else target.attr, node.value, id(node) in top
        elif isinstance(node, ast.FunctionDef):
            for part in ast.walk(node):
                if isinstance(part, ast.Return) and part.value is not None:
                    yield node.name, part.value, False


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """The names that an assignment gives, each with its value: those of `a, b = 1, 2` as well."""
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        for one, part in zip(target.elts, value.elts, strict=True):
            yield from _pairs(one, part)


def _required(arguments: ast.arguments) -> int:
    """How many arguments have to be given."""
    positional = len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)
    return positional + sum(default is None for default in arguments.kw_defaults)
