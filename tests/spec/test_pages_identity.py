"""OpenID Connect against a provider that lies, and the table [identity]. The honest provider is in tests/journeys."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

pytest.importorskip("joserfc")

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from confrere.console.pages.identity import CALLBACK, NO_ROLE, ONE_FACTOR, SILENT, WRONG, Provider
from confrere.console.pages.sessions import Person, Signin
from confrere.console.pages.settings import IdentitySettings
from confrere.errors import ProtocolError, Refused, StudyError, Waiting

ISSUER = "https://login.example/realms/a"
SETTINGS = IdentitySettings(
    "https://pages.example", ISSUER, "confrere", "s:cr t", {"steward": ("dpo",), "researcher": ("lab", "stats")}
)
KEY, OTHER, CURVE = (
    RSAKey.generate_key(2048, {"kid": "a"}),
    RSAKey.generate_key(2048, {"kid": "a"}),
    ECKey.generate_key(),
)
GOOD = {"sub": "u1", "name": "Ada", "roles": ["dpo"], "amr": ["pwd", "mfa"], "iss": ISSUER, "aud": "confrere"}


class Login:
    """A provider over a mock transport; `about`, `answer` and `claims` are what it says."""

    def __init__(self, settings: IdentitySettings = SETTINGS) -> None:
        self.key: Any = KEY
        self.keys: list[Any] = [KEY]
        self.header = {"alg": "RS256", "kid": "a"}
        self.claims: dict[str, Any] = dict(GOOD)
        self.about: dict[str, Any] = {
            "issuer": ISSUER, "authorization_endpoint": f"{ISSUER}/auth?x=1", "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/keys", "userinfo_endpoint": f"{ISSUER}/me",
        }  # fmt: skip
        self.me: dict[str, Any] = {"sub": "u1"}
        self.asked: list[httpx.Request] = []
        self.status: dict[str, int] = {}
        self.provider = Provider(settings, httpx.Client(transport=httpx.MockTransport(self.answer)))

    def answer(self, request: httpx.Request) -> httpx.Response:
        """What the provider says to a request."""
        self.asked.append(request)
        path = request.url.path.removeprefix("/realms/a/")
        if path in self.status:
            return httpx.Response(self.status[path], text="<html>")
        if path == "token":
            return httpx.Response(200, json={"id_token": self.token(), "access_token": "at", "token_type": "Bearer"})
        said = {".well-known/openid-configuration": self.about, "me": self.me}
        return httpx.Response(200, json=said[path] if path in said else KeySet(self.keys).as_dict(private=False))

    def token(self) -> str:
        now = int(time.time())
        claims = {"iat": now, "exp": now + 60, "nonce": "n", **self.claims}
        return jwt.encode(self.header, {k: v for k, v in claims.items() if v is not None}, self.key)

    def back(self, **query: str) -> Person:
        """Come back with a code."""
        return self.provider.back({"code": "c", **query}, Signin("s", "n", "v", "/"))


def test_a_person_comes_in_with_their_roles() -> None:
    login = Login()
    assert login.back(iss=ISSUER) == Person("u1", "Ada", ("steward",))
    login.claims |= {"roles": "stats dpo", "name": None, "preferred_username": "ada"}
    assert login.back() == Person("u1", "ada", ("steward", "researcher"))
    (sent,) = [r for r in login.asked if r.url.path.endswith("token")][:1]
    assert dict(parse_qsl(sent.content.decode())) == {
        "grant_type": "authorization_code", "code": "c", "redirect_uri": f"https://pages.example{CALLBACK}",
        "code_verifier": "v",
    }  # fmt: skip
    assert base64.b64decode(sent.headers["authorization"].split()[1]) == b"confrere:s%3Acr+t"


def test_the_browser_is_sent_with_proof_to_come() -> None:
    login = Login(replace(SETTINGS, mfa={"acr": ("urn:two",)}))
    where, one = login.provider.leave("/after")
    _, two = login.provider.leave("/after")
    assert not set(one[:3]) & set(two[:3])
    query = parse_qs(urlsplit(where).query)
    digest = base64.urlsafe_b64encode(hashlib.sha256(one.verifier.encode()).digest()).rstrip(b"=").decode()
    assert (query["code_challenge"], query["code_challenge_method"]) == ([digest], ["S256"])
    assert (query["state"], query["nonce"], query["x"]) == ([one.state], [one.nonce], ["1"])
    assert (query["redirect_uri"], query["acr_values"]) == ([f"https://pages.example{CALLBACK}"], ["urn:two"])
    assert one.verifier not in where


def secret_in_form(login: Login) -> None:
    login.about["token_endpoint_auth_methods_supported"] = ["client_secret_post"]


def test_a_secret_goes_as_the_provider_takes_it() -> None:
    login = Login()
    secret_in_form(login)
    login.back()
    assert dict(parse_qsl(login.asked[1].content.decode()))["client_secret"] == "s:cr t"
    public = Login(replace(SETTINGS, client_secret=""))
    public.back()
    form = dict(parse_qsl(public.asked[1].content.decode()))
    assert form["client_id"] == "confrere"
    assert "client_secret" not in form
    assert "authorization" not in public.asked[1].headers


LIES: dict[str, Callable[[Login], object]] = {
    "another issuer": lambda login: login.claims.update(iss="https://evil.example"),
    "no issuer": lambda login: login.claims.update(iss=None),
    "another audience": lambda login: login.claims.update(aud="other"),
    "no audience": lambda login: login.claims.update(aud=None),
    "two audiences, no party": lambda login: login.claims.update(aud=["confrere", "other"]),
    "another party": lambda login: login.claims.update(azp="other"),
    "another nonce": lambda login: login.claims.update(nonce="m"),
    "no nonce": lambda login: login.claims.update(nonce=None),
    "expired": lambda login: login.claims.update(exp=int(time.time()) - 61),
    "no expiry": lambda login: login.claims.update(exp=None),
    "not a time": lambda login: login.claims.update(exp="never"),
    "of the future": lambda login: login.claims.update(iat=int(time.time()) + 600),
    "not yet": lambda login: login.claims.update(nbf=int(time.time()) + 600),
    "no subject": lambda login: login.claims.update(sub=None),
    "an empty subject": lambda login: login.claims.update(sub=""),
    "another key": lambda login: setattr(login, "key", OTHER),
    "another key of no name": lambda login: (setattr(login, "key", OTHER), setattr(login, "header", {"alg": "RS256"})),
    "no signature": lambda login: setattr(login, "token", lambda: unsigned(login)),
    "a shared key": lambda login: setattr(login, "token", lambda: shared(login)),
    "no token": lambda login: setattr(login, "token", lambda: ""),
    "nonsense": lambda login: setattr(login, "token", lambda: "a.b.c"),
    "keys that are none": lambda login: login.status.update(keys=404),
    "discovery of another": lambda login: login.about.update(issuer="https://evil.example"),
    "a token endpoint in the clear": lambda login: login.about.update(token_endpoint="http://login.example/token"),
    "no token endpoint": lambda login: login.about.pop("token_endpoint"),
    "a code that is refused": lambda login: login.status.update(token=400),
    "userinfo of another": lambda login: (login.claims.pop("roles"), login.me.update(sub="u2", roles=["dpo"])),
}


def unsigned(login: Login) -> str:
    """`alg: none`, the oldest trick."""
    body = jwt.encode(login.header, {**GOOD, "nonce": "n"}, KEY).split(".")[1]
    head = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    return f"{head}.{body}."


def shared(login: Login) -> str:
    """Signed by HMAC with the public key as its secret, the second oldest."""
    now = int(time.time())
    claims = {**GOOD, "nonce": "n", "iat": now, "exp": now + 60}
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "kid": "a"}, claims)]
    said = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    seal = hmac.digest(KEY.as_pem(private=False), said, "sha256")
    return f"{said.decode()}.{base64.urlsafe_b64encode(seal).rstrip(b'=').decode()}"


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.filterwarnings("ignore")  # joserfc's, about our forged keys
def test_a_lie_is_not_believed(lie: str) -> None:
    login = Login()
    LIES[lie](login)
    with pytest.raises(ProtocolError, match=f"^{WRONG}$"):
        login.back()


@pytest.mark.parametrize("query", [{"iss": "https://evil.example"}, {"error": "access_denied", "code": ""}])
def test_a_wrong_answer_is_not_followed(query: dict[str, str]) -> None:
    login = Login()
    given = {k: v for k, v in {"code": "c", **query}.items() if v}
    with pytest.raises(ProtocolError):
        login.provider.back(given, Signin("s", "n", "v", "/"))
    assert not login.asked


@pytest.mark.parametrize(
    "claims", [{"amr": None}, {"amr": ["pwd"]}, {"amr": "pwd"}, {"amr": 3}, {"acr": "mfa", "amr": None}]
)
def test_a_second_factor_is_asked_for(claims: dict[str, Any]) -> None:
    login = Login()
    login.claims |= claims
    with pytest.raises(Refused, match=ONE_FACTOR):
        login.back()
    lax = Login(replace(SETTINGS, mfa={}))
    lax.claims |= claims
    assert lax.back().id == "u1"


def test_a_second_factor_may_be_proved_by_acr() -> None:
    login = Login(replace(SETTINGS, mfa={"acr": ("urn:two",), "amr": ()}))
    with pytest.raises(Refused):
        login.back()
    login.claims["acr"] = "urn:two"
    assert login.back().id == "u1"


@pytest.mark.parametrize("roles", [None, [], "", ["steward"], ["dpox"], [3], {"dpo": 1}, 7])
def test_who_has_no_role_stays_outside(roles: Any) -> None:
    login = Login()
    login.claims["roles"] = roles
    with pytest.raises(Refused, match=NO_ROLE):
        login.back()


@pytest.mark.parametrize(
    ("path", "claims"),
    [
        ("realm_access.roles", {"realm_access": {"roles": ["dpo"]}}),
        ("https://h.example/roles", {"https://h.example/roles": ["dpo"]}),
    ],
)
def test_roles_are_found_where_the_settings_say(path: str, claims: dict[str, Any]) -> None:
    login = Login(replace(SETTINGS, roles_claim=path))
    login.claims |= claims
    assert login.back().roles == ("steward",)


def test_roles_may_be_in_userinfo() -> None:
    login = Login()
    login.claims["roles"] = None
    login.me |= {"roles": ["lab"], "amr": ["nothing"]}
    assert login.back().roles == ("researcher",)
    assert login.asked[-1].headers["authorization"] == "Bearer at"


def test_another_claim_may_name_the_person() -> None:
    login = Login(replace(SETTINGS, user_claim="email"))
    login.claims["email"] = "ada@curie.example"
    assert login.back().id == "ada@curie.example"


def test_a_new_key_is_looked_up_once() -> None:
    login = Login()
    login.back()
    login.keys, login.key, login.header = [CURVE], CURVE, {"alg": "ES256"}
    assert login.back().id == "u1"
    before = len(login.asked)
    login.key = OTHER
    login.header = {"alg": "RS256", "kid": "a"}
    with pytest.raises(ProtocolError):
        login.back()
    assert [r.url.path.rsplit("/")[-1] for r in login.asked[before:]] == ["token", "keys"]


@pytest.mark.parametrize("path", [".well-known/openid-configuration", "token", "keys"])
def test_a_provider_that_is_down_is_waited_for(path: str) -> None:
    login = Login()
    login.status[path] = 503
    with pytest.raises(Waiting, match=SILENT):
        login.back()


def test_a_provider_that_is_not_there() -> None:
    provider = Provider(replace(SETTINGS, issuer="http://127.0.0.1:1"))
    with pytest.raises(Waiting, match=SILENT):
        provider.leave("/")


# The table [identity] -----------------------------------------------------------------------------------------

TABLE: dict[str, Any] = {
    "address": "https://pages.example/", "issuer": ISSUER, "client_id": "confrere", "roles": {"steward": ["dpo"]},
}  # fmt: skip


def read(folder: Path, **given: Any) -> IdentitySettings:
    return IdentitySettings.from_mapping({**TABLE, **given}, folder / "hospital.toml")


def test_the_table(tmp_path: Path) -> None:
    (tmp_path / "client-secret").write_text("s3cret\n")
    found = read(tmp_path, client_secret_file="client-secret", hours=8, mfa={"acr": ["x"]}, roles_claim="groups")
    assert (found.address, found.client_secret, found.hours, found.mfa) == (
        "https://pages.example", "s3cret", 8, {"acr": ("x",)},
    )  # fmt: skip
    assert not found.alone
    assert "s3cret" not in repr(found)
    assert read(tmp_path, mfa=False).mfa == {}
    assert read(tmp_path).mfa == {"amr": ("mfa",)}
    assert IdentitySettings.from_mapping({}, tmp_path / "x").alone


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"isuer": "x"}, "did you mean 'issuer'"),
        ({"address": "http://pages.example"}, "must begin with https://"),
        ({"address": "https://pages.example/a"}, "without a path"),
        ({"address": "pages.example"}, "must be an address"),
        ({"address": "https://u:p@pages.example"}, "must be an address"),
        ({"address": "https://pages.example:99999"}, "must be an address"),
        ({"issuer": "ftp://x"}, "must be an address"),
        ({"issuer": ""}, "must be a text"),
        ({"client_id": 3}, "must be a text"),
        ({"client_id": "a\nb"}, "must be a text"),
        ({"roles": {}}, "must say which values give which role"),
        ({"roles": {"stewart": ["x"]}}, "did you mean 'steward'"),
        ({"roles": {"steward": "x"}}, "must be a list of texts"),
        ({"mfa": True}, "must be false, or a table"),
        ({"mfa": {"amr": []}}, "mfa = false to ask for none"),
        ({"mfa": {"arm": ["mfa"]}}, "must be false, or a table"),
        ({"scope": "profile"}, "must contain openid"),
        ({"idle_minutes": 0}, "from 1 to 240"),
        ({"hours": 25}, "from 1 to 24"),
        ({"hours": True}, "from 1 to 24"),
        ({"client_secret_file": "nowhere"}, "cannot be read"),
    ],
)
def test_a_wrong_table_says_what_to_mend(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    with pytest.raises(StudyError, match=said) as error:
        read(tmp_path, **given)
    assert "hospital.toml: [identity]" in str(error.value)


def test_a_table_that_lacks_something_and_a_secret_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="needs issuer, client_id, roles; leave the whole table out"):
        IdentitySettings.from_mapping({"address": "https://a.example"}, tmp_path / "hospital.toml")
    (tmp_path / "s").write_text("one\ntwo\n")
    with pytest.raises(StudyError, match="the secret alone") as error:
        read(tmp_path, client_secret_file="s")
    assert "one" not in str(error.value).replace("alone, on one line", "")
