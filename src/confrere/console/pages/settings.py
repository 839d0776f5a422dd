"""The table `[identity]` of hospital.toml and coordinator.toml: who may sign in, as what, and how.

    [identity]
    address = "https://confrere.curie.example"       # of these pages, as browsers reach them
    issuer = "https://login.curie.example/realms/curie"
    client_id = "confrere"
    client_secret_file = "client-secret"             # relative to the folder of the toml; none for a public client
    roles_claim = "realm_access.roles"               # dots go into tables
    roles = {steward = ["confrere-dpo"], clinician = ["oncology"]}
    mfa = {amr = ["mfa", "otp"], acr = []}           # one of these proves a second factor; false asks for none
    user_claim = "sub"
    scope = "openid profile"
    idle_minutes = 30
    hours = 10

Without the table one person works on the own machine (`alone`): all roles of the console, over loopback only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from confrere.errors import StudyError
from confrere.study.file import meant
from confrere.study.life import ROLES

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_NEEDED = ("address", "issuer", "client_id", "roles")
_TEXTS = ("address", "issuer", "client_id", "client_secret_file", "roles_claim", "user_claim", "scope")
_TIMES = {"idle_minutes": (1, 240), "hours": (1, 24)}  # least and most
_KNOWN = (*_TEXTS, *_TIMES, "roles", "mfa")


@dataclass(frozen=True)
class IdentitySettings:
    """Who may sign in, as what, and how; `alone` (no issuer) is one person on the own machine."""

    address: str = ""  # of the pages: scheme, host and port, without a path
    issuer: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # role -> values of the claim that give it
    roles_claim: str = "roles"
    user_claim: str = "sub"
    mfa: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"amr": ("mfa",)})  # {}: no second factor
    scope: str = "openid profile"
    idle_minutes: int = 30
    hours: int = 10

    @property
    def alone(self) -> bool:
        """Whether one person works on the own machine, without a provider."""
        return not self.issuer

    @property
    def https(self) -> bool:
        """Whether browsers reach the pages encrypted."""
        return self.address.startswith("https://")

    @property
    def hosts(self) -> frozenset[str]:
        """Values of the header Host that are ours: names alone when `alone`, else host and port as in `address`."""
        if self.alone:
            return LOOPBACK
        parts = urlsplit(self.address)
        usual = {"https": 443, "http": 80}[parts.scheme]
        bare = parts.netloc.removesuffix(f":{usual}").lower()
        return frozenset({bare, f"{bare}:{usual}"} if parts.port in (None, usual) else {bare})

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any], file: Path) -> IdentitySettings:
        """The table `[identity]` of a file. StudyError that names the key, its rule and what to write."""
        if not given:
            return cls()
        where = f"{file}: [identity]"
        for key in given:
            if key not in _KNOWN:
                raise StudyError(f"{where} {key} is not known; {meant(key, _KNOWN)}")
        if missing := [key for key in _NEEDED if key not in given]:
            raise StudyError(
                f"{where} needs {', '.join(missing)}; leave the whole table out to work alone on this machine"
            )
        texts: dict[str, Any] = {key: _text(given[key], f"{where} {key}") for key in _TEXTS if key in given}
        secret = texts.pop("client_secret_file", "")
        for key in ("address", "issuer"):
            _check_url(texts[key], f"{where} {key}")
        if urlsplit(texts["address"]).path not in ("", "/"):
            raise StudyError(f"{where} address = {texts['address']!r} must end after the host, without a path")
        if "openid" not in texts.get("scope", "openid").split():
            raise StudyError(f"{where} scope = {texts['scope']!r} must contain openid")
        given_too: dict[str, Any] = {key: _time(given[key], key, where) for key in _TIMES if key in given}
        if "mfa" in given:
            given_too["mfa"] = _mfa(given["mfa"], where)
        if secret:
            given_too["client_secret"] = _secret(file.parent / secret, where)
        texts["address"] = texts["address"].rstrip("/")
        return cls(roles=_roles(given["roles"], where), **texts, **given_too)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise StudyError(f"{where} = {value!r} must be a text in quotes, on one line")
    return value.strip()


def _check_url(url: str, where: str) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("https", "http") or parts.query or parts.fragment or "@" in parts.netloc:
        raise StudyError(f"{where} = {url!r} must be an address such as https://login.hospital.example")
    if parts.scheme == "http" and host not in LOOPBACK:
        raise StudyError(f"{where} = {url!r} must begin with https://; http:// is for this machine alone")


def _time(value: Any, key: str, where: str) -> int:
    least, most = _TIMES[key]
    if type(value) is not int or not least <= value <= most:
        raise StudyError(f"{where} {key} = {value!r} must be a whole number from {least} to {most}")
    return value


def _list(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
        raise StudyError(f'{where} = {value!r} must be a list of texts, such as ["confrere-dpo"]')
    return tuple(value)


def _roles(value: Any, where: str) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict) or not value:
        raise StudyError(f'{where} roles = {value!r} must say which values give which role: {{steward = ["dpo"]}}')
    for role in value:
        if role not in ROLES:
            raise StudyError(f"{where} roles: {role!r} is no role; {meant(role, ROLES)}")
    return {role: _list(values, f"{where} roles.{role}") for role, values in value.items()}


def _mfa(value: Any, where: str) -> dict[str, tuple[str, ...]]:
    if value is False:
        return {}
    if not isinstance(value, dict) or not value or set(value) - {"amr", "acr"}:
        raise StudyError(f'{where} mfa = {value!r} must be false, or a table such as {{amr = ["mfa"], acr = []}}')
    made = {claim: _list(values, f"{where} mfa.{claim}") for claim, values in value.items()}
    if not any(made.values()):
        raise StudyError(f"{where} mfa names no value, so that nobody could sign in; write mfa = false to ask for none")
    return made


def _secret(file: Path, where: str) -> str:
    try:
        return _text(file.read_text(encoding="utf-8").strip(), f"{where} client_secret_file: the text of {file}")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a text"
        raise StudyError(f"{where} client_secret_file: {file} cannot be read ({why})") from None
    except StudyError:  # its message would show the secret
        raise StudyError(f"{where} client_secret_file: {file} must hold the secret alone, on one line") from None
