"""What of the documentation is made from the program: commands, settings of methods, the result, the life of a study.

`python docs/generated.py` writes them; tests/spec/test_reference.py fails where they are out of step.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, get_type_hints

import life_diagram
from typer.main import get_command

from confrere.console.app import app
from confrere.rounds import find, installed

DOCS = Path(__file__).parent
TYPES = {str: "text", bool: "true or false", float: "number", int: "whole number"}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines] + [""]


# Commands -----------------------------------------------------------------------------------------------------


def commands() -> str:
    """Every command of the command line, with its arguments and options."""
    root = get_command(app)
    lines = ["# Commands", "", str(root.help), "", "Before a command:", ""]
    lines += table(("option", "default", "meaning"), [described(p) for p in root.params] + [HELP])
    for name, command in commands_of(root, "confrere"):
        usage = " ".join([name, "[OPTIONS]"] + [placed(p) for p in command.params if not is_option(p)])
        lines += [f"## {name}", "", "```text", usage, "```", "", paragraphs(str(command.help)), ""]
        lines += table(("argument or option", "default", "meaning"), [described(p) for p in command.params])
    lines += ["## Exit codes", "", str(getattr(root, "epilog", "")).removeprefix("Exit codes: "), ""]
    return "\n".join(lines)


HELP = ("`--help`", "", "Show what a command does, and its options; stands after any command.")


def commands_of(group: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Commands by their whole names, those of groups after one another."""
    for word, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_of(command, f"{name} {word}")
        else:
            yield f"{name} {word}", command


def placed(parameter: Any) -> str:
    """An argument as usage shows it."""
    name = str(parameter.metavar or parameter.name.upper()).strip("[]")
    return name if parameter.required else f"[{name}]"


def is_option(parameter: Any) -> bool:
    """Whether a parameter has a name on the command line."""
    return bool(parameter.param_type_name == "option")


def described(parameter: Any) -> tuple[str, str, str]:
    """A row of a table of parameters."""
    value = f" {parameter.metavar}" if parameter.metavar else ""
    names = ", ".join(f"`{o}{value}`" for o in parameter.opts) if is_option(parameter) else f"`{placed(parameter)}`"
    unsaid = parameter.default in (None, False, (), "") or callable(parameter.default)
    default = "" if unsaid else f"`{parameter.default}`"
    return names, "required" if parameter.required else default, parameter.help or ""


def paragraphs(text: str) -> str:
    """Help as paragraphs of one line each."""
    return "\n\n".join(" ".join(p.split()) for p in text.split("\n\n"))


# Settings -----------------------------------------------------------------------------------------------------


def settings() -> str:
    """Every setting of every method: its type and default from the program, its meaning from the method's page."""
    lines = ["# Settings of the methods", "", SETTINGS, ""]
    for method in (m for m in installed() if find(m).__module__.startswith("confrere.")):
        page = (DOCS / "methods" / f"{method}.md").read_text(encoding="utf-8")
        page = page.partition("\n## Settings\n")[2].partition("\n## ")[0]
        hints, rows = get_type_hints(find(method)), []
        for f in dataclasses.fields(find(method)):
            if f.name != "ground":
                meaning = re.search(rf"^\| `{f.name}` \|.*?\| (.*) \|$", page, re.MULTILINE)
                rows.append((f"`{f.name}`", typed(hints[f.name]), given(f), meaning[1].strip() if meaning else ""))
        lines += [f"## {method}", "", f"[What the method does](../methods/{method}.md).", ""]
        lines += table(("setting", "type", "default", "meaning"), rows)
    return "\n".join(lines)


SETTINGS = """What stands under `[[analysis]]` in a study file, and the arguments of the classes in Python. `name`,
`method` and `group` belong to every analysis: [the study file](../researcher.md#the-study-file)."""


def typed(hint: Any) -> str:
    """A type in the words of a TOML file."""
    inner = [a for a in getattr(hint, "__args__", ()) if a not in (type(None), ...)]
    if getattr(hint, "__origin__", None) is tuple:
        if getattr(inner[0], "__origin__", None) is tuple:
            return "list of lists"
        return f"list of {'texts' if inner[0] is str else 'numbers'}"
    if not inner:
        return TYPES.get(hint, "a table of its own")
    # of a Literal, its words
    return " or ".join(dict.fromkeys(typed(type(one) if isinstance(one, str) else one) for one in inner))


def given(f: dataclasses.Field[Any]) -> str:
    """The default of a setting, as a study file would write it."""
    if f.default is dataclasses.MISSING:
        return "required"
    if f.default in (None, "", ()):
        return "none"
    return f"`{json.dumps(f.default)}`"


# Result -------------------------------------------------------------------------------------------------------


def result() -> str:
    """Every key of result.json, from its schema."""
    schema = json.loads(files("confrere").joinpath("report/result.schema.json").read_text(encoding="utf-8"))
    lines = ["# result.json", "", schema["description"], "", RESULT, "", "## The whole", ""]
    lines += keys(schema, schema["$defs"])
    for name, part in schema["$defs"].items():
        if "properties" in part:
            lines += [f"## {name}", "", *keys(part, schema["$defs"])]
    return "\n".join(lines)


RESULT = """The schema is the file `confrere/report/result.schema.json` of the package (JSON Schema 2020-12). Keys that
a method adds to its tables stand on [its page](../index.md#methods). Required keys are marked with \\*."""


def keys(part: Mapping[str, Any], parts: Mapping[str, Any]) -> list[str]:
    """A table of the keys of one object."""
    required = part.get("required", [])
    rows = [
        (f"`{key}`" + ("\\*" if key in required else ""), kind(said, parts), said.get("description", ""))
        for key, said in part["properties"].items()
    ]
    return table(("key", "type", "meaning"), rows)


def kind(said: Mapping[str, Any], parts: Mapping[str, Any]) -> str:
    """The type of a key in words; objects as links to their section."""
    if "$ref" in said:
        name = said["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name})" if "properties" in parts[name] else kind(parts[name], parts)
    if "const" in said:
        return f"always {said['const']}"
    if "items" in said:
        return f"list of {kind(said['items'], parts)}"
    types = said["type"] if isinstance(said["type"], list) else [said["type"]]
    return " or ".join(types)


RULES = (("rules.md", "## Who may do what", False), ("rules.fr.md", "## Qui peut faire quoi", True))  # page, section
PAGES = {"commands": commands, "settings": settings, "result": result}


def pages() -> Iterator[tuple[Path, str]]:
    """Every page that is made, and its text; of a page that is written by hand, with the part that is made in it."""
    for name, make in PAGES.items():
        yield DOCS / "reference" / f"{name}.md", make().rstrip("\n") + "\n"
    yield DOCS / "life.svg", life_diagram.drawing()
    for page, head, french in RULES:
        made = f"{head}\n\n{life_diagram.table(french)}\n\n"
        text = (DOCS / page).read_text(encoding="utf-8")
        yield DOCS / page, re.sub(rf"^{head}\n.*?(?=^## )", made, text, count=1, flags=re.MULTILINE | re.DOTALL)


if __name__ == "__main__":
    for path, text in pages():
        path.write_text(text, encoding="utf-8")
