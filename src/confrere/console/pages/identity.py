"""OpenID Connect: who signs in, as the hospital's own provider says it, and in which roles.

Authorization code with PKCE (RFC 7636, S256), discovery, and an ID token whose signature, issuer, audience, authorised
party, times and nonce are checked (OpenID Connect Core 1.0, section 3.1.3.7), `iss` of the answer too (RFC 9207).
Algorithms are asymmetric: `none` and shared keys are never accepted. A second factor is proved by `amr` (RFC 8176) or
`acr`.
Roles come from one claim of the ID token, or of the userinfo endpoint where the token has none.

Errors: ProtocolError for an answer that is not what it must be, Refused for a person who may not come in, Waiting for
a provider that does not answer. Their messages are shown, so each is a sentence of the catalogue; details are logged.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import secrets
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from confrere.console.pages.languages import N_
from confrere.console.pages.sessions import Person, Signin
from confrere.console.pages.settings import LOOPBACK, IdentitySettings
from confrere.errors import ProtocolError, Refused, Waiting

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
CALLBACK = "/sign-in/back"
SILENT = N_("The sign-in service of your hospital does not answer. Try again in a minute.")
WRONG = N_("The sign-in service answered in a way that cannot be trusted. Try again; tell your IT if it stays so.")
ONE_FACTOR = N_("You signed in without a second factor, which these pages require. Sign in again with one.")
NO_ROLE = N_("You are known, but have no role on these pages. Ask whoever administers them for one.")
_FRESH, _LEEWAY = 3600.0, 60  # seconds: of what was discovered; between two clocks
_TIMEOUT = httpx.Timeout(10.0)
_LIMITS = httpx.Limits(max_keepalive_connections=0)  # people sign in seldom: nothing stays open between
_LOG = logging.getLogger(__name__)


class Provider:
    """The provider of the settings; looked up when it is first needed. `client` is for HTTP."""

    def __init__(self, settings: IdentitySettings, client: httpx.Client | None = None) -> None:
        self._settings = settings
        self._client = client or httpx.Client(timeout=_TIMEOUT, limits=_LIMITS)  # follows no redirect
        self._lock = threading.Lock()
        self._about: dict[str, Any] = {}
        self._keys: KeySet | None = None
        self._looked = 0.0

    @property
    def _back(self) -> str:
        return self._settings.address + CALLBACK

    def leave(self, after: str) -> tuple[str, Signin]:
        """A sign-in that begins: the address to send the browser to, and what to remember. Raises Waiting."""
        given = Signin(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48), after)
        digest = hashlib.sha256(given.verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._back,
            "scope": self._settings.scope,
            "state": given.state,
            "nonce": given.nonce,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        if acr := self._settings.mfa.get("acr"):
            query["acr_values"] = " ".join(acr)
        where = str(self._discovered()["authorization_endpoint"])
        return f"{where}{'&' if '?' in where else '?'}{urlencode(query)}", given

    def back(self, query: Mapping[str, str], signin: Signin) -> Person:
        """Who came back. Raises ProtocolError, Refused, Waiting."""
        if "iss" in query and query["iss"] != self._settings.issuer:
            raise _wrong(f"the answer is of {query['iss']!r}, not of {self._settings.issuer!r}")
        if "code" not in query:
            raise _wrong(f"no code, but error {query.get('error', '')[:100]!r}")
        tokens = self._tokens(query["code"], signin)
        claims = self._checked(str(tokens.get("id_token", "")), signin.nonce)
        if not self._two_factors(claims):
            raise Refused(ONE_FACTOR)
        if _found(claims, self._settings.roles_claim) is None:
            claims = {**self._userinfo(str(tokens.get("access_token", "")), claims["sub"]), **claims}
        return self._person(claims)

    def sign_out(self) -> str:
        """Where the person can end the session at the provider too; "" where it has no such page."""
        return str(self._discovered().get("end_session_endpoint", ""))

    # what the provider says

    def _discovered(self) -> dict[str, Any]:
        with self._lock:
            if time.monotonic() - self._looked > _FRESH or not self._about:
                self._about = self._read(f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration")
                self._keys, self._looked = None, time.monotonic()
            return self._about

    def _read(self, url: str) -> dict[str, Any]:
        about = self._asked("GET", url)
        if about.get("issuer") != self._settings.issuer:
            raise _wrong(f"{url} is of the issuer {about.get('issuer')!r}, not {self._settings.issuer!r}")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            parts = urlsplit(str(about.get(name, "")))
            if parts.scheme != "https" and parts.hostname not in LOOPBACK:
                raise _wrong(f"{url}: {name} is not an https address")
        return about

    def _asked(self, method: str, url: str, **given: Any) -> dict[str, Any]:
        try:
            answer = self._client.request(method, url, **given)
        except httpx.HTTPError as error:
            _LOG.warning("%s: %s", url, error)
            raise Waiting(SILENT) from None
        if answer.status_code >= 500:
            _LOG.warning("%s: HTTP %s", url, answer.status_code)
            raise Waiting(SILENT)
        try:
            said = answer.json()
        except ValueError:
            said = None
        if answer.status_code != 200 or not isinstance(said, dict):
            raise _wrong(f"{url}: HTTP {answer.status_code}")
        return said

    def _tokens(self, code: str, signin: Signin) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._back,
            "code_verifier": signin.verifier,
        }
        name, secret = self._settings.client_id, self._settings.client_secret
        about, given = self._discovered(), {}
        if not secret:
            form["client_id"] = name
        elif "client_secret_basic" in about.get("token_endpoint_auth_methods_supported", ["client_secret_basic"]):
            given["auth"] = httpx.BasicAuth(_encoded(name), _encoded(secret))
        else:
            form |= {"client_id": name, "client_secret": secret}
        return self._asked("POST", about["token_endpoint"], data=form, **given)

    def _userinfo(self, token: str, subject: str) -> dict[str, Any]:
        where = self._discovered().get("userinfo_endpoint")
        if not where or not token:
            return {}
        said = self._asked("GET", where, headers={"Authorization": f"Bearer {token}"})
        if said.get("sub") != subject:
            raise _wrong("userinfo is about somebody else")
        return said

    # what is believed

    def _checked(self, token: str, nonce: str) -> dict[str, Any]:
        """The claims of an ID token that is genuine, for us, of now, and for this sign-in."""
        try:
            try:
                made = jwt.decode(token, self._keyset(), ALGORITHMS)
            except (JoseError, ValueError):  # a key that is new since: looked up once
                made = jwt.decode(token, self._keyset(anew=True), ALGORITHMS)
            jwt.JWTClaimsRegistry(
                leeway=_LEEWAY,
                iss={"essential": True, "value": self._settings.issuer},
                aud={"essential": True, "value": self._settings.client_id},
                sub={"essential": True},
                exp={"essential": True},
                iat={"essential": True},
                nonce={"essential": True, "value": nonce},
            ).validate(made.claims)
        except (JoseError, ValueError) as error:
            raise _wrong(f"the ID token: {error}") from None
        claims: dict[str, Any] = made.claims
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if (several or "azp" in claims) and claims.get("azp") != self._settings.client_id:
            raise _wrong(f"the ID token is for {claims.get('azp')!r}")
        return claims

    def _keyset(self, anew: bool = False) -> KeySet:
        about = self._discovered()
        with self._lock:
            if self._keys is None or anew:
                self._keys = KeySet.import_key_set(self._asked("GET", about["jwks_uri"]))  # type: ignore[arg-type]
            return self._keys

    def _two_factors(self, claims: Mapping[str, Any]) -> bool:
        return not self._settings.mfa or any(
            set(_texts(claims.get(claim))) & set(values) for claim, values in self._settings.mfa.items()
        )

    def _person(self, claims: Mapping[str, Any]) -> Person:
        given = set(_texts(_found(claims, self._settings.roles_claim)))
        roles = tuple(role for role, values in self._settings.roles.items() if given & set(values))
        name = _found(claims, self._settings.user_claim)
        if not isinstance(name, str) or not name:
            raise _wrong(f"the ID token has no {self._settings.user_claim}")
        if not roles:
            raise Refused(NO_ROLE)
        shown = claims.get("name") or claims.get("preferred_username") or name
        return Person(name[:200], str(shown)[:200], roles)


def _found(claims: Mapping[str, Any], path: str) -> Any:
    """A claim: by its whole name (names such as https://x.example/roles hold dots), or through tables."""
    if path in claims:
        return claims[path]
    at: Any = claims
    for name in path.split("."):
        at = at.get(name) if isinstance(at, Mapping) else None
    return at


def _texts(value: Any) -> list[str]:
    """A claim that is a text, words, or a list of texts."""
    if isinstance(value, str):
        return [value, *value.split()]
    return [v for v in value if isinstance(v, str)] if isinstance(value, list) else []


def _encoded(text: str) -> str:
    """As RFC 6749, 2.3.1 wants names and secrets in the header."""
    return urlencode({"": text})[1:]


def _wrong(detail: str) -> ProtocolError:
    _LOG.warning("sign-in: %s", detail)
    return ProtocolError(WRONG)
