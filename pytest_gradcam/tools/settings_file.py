"""The file that holds pytest's configuration, with settings added as text: what else it holds stays as it is."""

from __future__ import annotations

import configparser
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_gradcam.errors import SettingsError

_TABLE = "[tool.pytest.ini_options]"


@dataclass(frozen=True)
class SettingsFile:
    """`path` is pyproject.toml or an ini file, which may not exist yet; `present` are the keys that pytest reads there."""

    path: Path
    text: str
    present: Mapping[str, Any]

    def with_settings(self, settings: Mapping[str, str], import_root: Path) -> str:
        """The file's text with these settings, and with the folder that modules are imported from."""
        folder = import_root.relative_to(self.path.parent).as_posix()
        values: dict[str, Any] = {} if "pythonpath" in self.present else {"pythonpath": [folder]}
        values.update(settings)
        return self._with_toml(values) if self.path.suffix == ".toml" else self._with_ini(values)

    def _with_toml(self, values: Mapping[str, Any]) -> str:
        block = "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())
        text = self.text + ("" if not self.text or self.text.endswith("\n") else "\n")
        if _TABLE in text:
            return text.replace(f"{_TABLE}\n", f"{_TABLE}\n{block}", 1)
        return f"{text}\n{_TABLE}\n{block}".lstrip("\n")

    def _with_ini(self, values: Mapping[str, Any]) -> str:
        pairs = {key: value if isinstance(value, str) else " ".join(value) for key, value in values.items()}
        block = "".join(f"{key} = {value}\n" for key, value in pairs.items())
        if self.text:
            return re.sub(
                r"^\[pytest\][^\n]*\n?",
                lambda found: found[0].rstrip("\n") + "\n" + block,
                self.text,
                count=1,
                flags=re.M,
            )
        return f"[pytest]\n{block}"


def find(root: Path) -> SettingsFile:
    """The file that pytest reads in this folder, or pytest.ini where there is none.

    Raises SettingsError for one that cannot be read, and for one that has settings of ours already.
    """
    found = _read(root)
    ours = sorted(key for key in found.present if key.startswith("gradcam_"))
    if ours:
        raise SettingsError(f"{found.path} has {', '.join(ours)} already; init is for a repository without settings")
    return found


def _read(root: Path) -> SettingsFile:
    for name in ("pytest.ini", "tox.ini"):
        path = root / name
        if path.is_file():
            parser = configparser.ConfigParser(interpolation=None)
            try:
                text = path.read_text("utf-8")
                parser.read_string(text)
            except (configparser.Error, UnicodeDecodeError) as error:
                raise SettingsError(f"{path} cannot be read: {error}") from None
            if parser.has_section("pytest"):
                return SettingsFile(path, text, dict(parser["pytest"]))
    path = root / "pyproject.toml"
    if not path.is_file():
        return SettingsFile(root / "pytest.ini", "", {})
    try:
        text = path.read_text("utf-8")
        table = tomllib.loads(text).get("tool", {}).get("pytest", {}).get("ini_options", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from None
    return SettingsFile(path, text, table)
