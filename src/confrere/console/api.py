"""The coordinator's service over HTTPS, for researchers: submit a study, see where it is, fetch what was found.

    POST   /runs                 a study file (text); ?deadline=SECONDS&without=A,B   -> the run
    GET    /runs                 all runs of this researcher
    GET    /runs/{run}           state, round, for whom it waits; once done, where the airlock has it
    POST   /runs/{run}/cancel
    GET    /runs/{run}/found     the findings, packed by `wire`, once the airlock has released them
    GET    /health               hospitals (last seen, release, clock, free disk), runs, methods
    GET    /metrics              the same and more, for Prometheus; needs the extra `observability`
    GET    /openapi.json         all of this as an OpenAPI document, with examples

Every call but the last three needs `Authorization: Bearer TOKEN`; a researcher sees the own runs alone. Errors are
`{"error": class, "message": text}`, so that the client raises what a local run would.
"""

from http import HTTPStatus
from typing import Annotated, Any, Final, cast

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException as AnyHTTPException

from confrere.coordinator.conduct import STATES
from confrere.coordinator.metrics import Collector
from confrere.coordinator.service import Service
from confrere.errors import ConfrereError, StudyError
from confrere.metrics import TYPE, Page, installed
from confrere.study.file import LARGEST

LONGEST: Final = 366 * 86400.0  # seconds until a deadline
_STATUS = {2: 422, 3: 403, 4: 503}  # of HTTP, by our exit codes
_ABOUT = """Submit a study, see where it is, fetch what was found. Every call with a lock needs a token of the
coordinator; a researcher sees the own runs alone."""
_STUDY = """[study]
id = "tamoxifen"
title = "Hormone therapy and recurrence"
purpose = "public-interest research"
[data]
table = "breast"
[[analysis]]
name = "recurrence"
method = "cox"
formula = "Surv(rtime, recur) ~ hormon + age"
"""
_RUN = "908fe9a696d1d0a9"
_HASH = "908fe9a696d1d0a9dae4f1a57f5230e3adf324467967222960b8cbc1133f8c3f"
_STATES = list(STATES)


# What is said -------------------------------------------------------------------------------------------------


class Fault(BaseModel):
    """Why a call was not answered: the class of the error in Confrere, and a sentence."""

    error: str = Field(examples=["StudyError"])
    message: str = Field(examples=["no run of yours is called 'x'"])


class Check(BaseModel):
    """What one output check says of one analysis; `analysis` is empty where it is about all of them."""

    analysis: str
    check: str
    verdict: str = Field(json_schema_extra={"enum": ["pass", "fail", "review"]})
    reason: str
    source: str


class Release(BaseModel):
    """Where the findings are: `held` or `rejected` with `why`, or `released` with all that is known of the release."""

    state: str = Field(json_schema_extra={"enum": ["held", "rejected", "released"]})
    why: str | None = None
    by: list[str] | None = None
    at: str | None = None
    sha256: str | None = None
    comment: str | None = None
    checks: list[Check] | None = None


class Run(BaseModel):
    """Where a run is. Times in seconds since 1970; `round` and `what` while it runs, `release` once it is done."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "run": _RUN, "study": _HASH, "title": "Hormone therapy and recurrence", "researcher": "ada",
                    "submitted": 1795337437.1, "deadline": 1795942237.1, "state": "running", "why": "", "attempts": 1,
                    "round": 11, "what": "cox design",
                },
                {
                    "run": _RUN, "study": _HASH, "title": "Hormone therapy and recurrence", "researcher": "ada",
                    "submitted": 1795337437.1, "deadline": 1795942237.1, "state": "done", "why": "", "attempts": 1,
                    "release": {"state": "held", "why": "0 of 1 readers have released it"},
                },
            ]
        }
    )  # fmt: skip

    run: str
    study: str
    title: str
    researcher: str
    submitted: float
    deadline: float
    state: str = Field(json_schema_extra={"enum": list(_STATES)})
    why: str
    attempts: int
    round: int | None = None
    what: str | None = None
    release: Release | None = None


class Hospital(BaseModel):
    """A hospital as last heard of: seconds ago, its release, seconds by which its clock is ahead, free bytes."""

    connected: bool
    seconds_ago: float | None = Field(examples=[2.5])
    version: str | None = Field(examples=["0.1.0"])
    clock_ahead: float | None = Field(examples=[-0.004])
    disk_free: int | None = Field(examples=[70218833920])


class Health(BaseModel):
    """The coordinator's release, its hospitals by name, runs by state, and installed methods."""

    version: str = Field(examples=["0.1.0"])
    hospitals: dict[str, Hospital]
    runs: dict[str, int] = Field(examples=[{"queued": 0, "running": 1, "done": 12}])
    methods: list[str] = Field(examples=[["cox", "describe", "logistic"]])


def _may(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a call may answer instead."""
    said = {
        401: "No token, one that is not known or has expired, or one without this scope.",
        403: "A hospital or a reader said no.",
        404: "No run of yours has this name.",
        422: "Something in the call is to be mended.",
        503: "Not yet, or not now: ask again later.",
    }
    return {status: {"model": Fault, "description": said[status]} for status in statuses}


_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "text/plain": {
                "schema": {"type": "string", "maxLength": LARGEST, "description": "A study file: TOML, UTF-8."},
                "examples": {"cox": {"summary": "A Cox model", "value": _STUDY}},
            }
        },
    }
}


# The calls ----------------------------------------------------------------------------------------------------

_routes = APIRouter()


def web(service: Service, version: str) -> FastAPI:
    """The application over a service."""
    app = FastAPI(
        title="Confrere coordinator", version=version, description=_ABOUT, docs_url=None, redoc_url=None,
        redirect_slashes=False,
    )  # fmt: skip
    app.state.service = service
    app.state.metrics = Page(Collector(service)) if installed() else None
    app.include_router(_routes)
    app.add_exception_handler(ConfrereError, _failed)
    app.add_exception_handler(AnyHTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    return app


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Over = Annotated[Service, Depends(_service)]
_token = HTTPBearer(auto_error=False, description="A token of `confrere coordinator token`, or of the page API tokens.")
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(_token)]


def _researcher(request: Request, service: Over, given: Bearer) -> str:
    scope = "read" if request.method == "GET" else "submit"
    name = service.book.researcher(given.credentials, scope) if given else None
    if name is None:
        raise HTTPException(
            401,
            f"this token is not known, has expired, or may not {scope}; ask whoever runs the coordinator for one",
            {"WWW-Authenticate": "Bearer"},
        )
    return name


By = Annotated[str, Depends(_researcher)]


def _own(run: Annotated[str, Path(description="The run's name.", examples=[_RUN])], service: Over, name: By) -> str:
    entry = service.book.get(run)
    if entry is None or entry.researcher != name:
        raise HTTPException(404, f"no run of yours is called {run!r}")
    return run


Own = Annotated[str, Depends(_own)]


async def _failed(_: Request, error: Exception) -> JSONResponse:
    code = error.exit_code if isinstance(error, ConfrereError) else 1
    return JSONResponse({"error": type(error).__name__, "message": str(error)}, _STATUS.get(code, 500))


async def _http(_: Request, error: Exception) -> JSONResponse:
    """A fault of the protocol, as ours: whoever may not is refused, all else is to be mended."""
    error = cast(AnyHTTPException, error)  # it is registered for these
    kind = "Refused" if error.status_code in (401, 403) else "StudyError"
    return JSONResponse({"error": kind, "message": str(error.detail)}, error.status_code, error.headers)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    """An argument of a call that is none, named."""
    error = cast(RequestValidationError, error)  # it is registered for these
    said = "; ".join(f"{e['loc'][-1]}: {e['msg']}" for e in error.errors())
    return JSONResponse({"error": "StudyError", "message": said}, HTTPStatus.UNPROCESSABLE_ENTITY)


Deadline = Annotated[
    float | None, Query(ge=0, le=LONGEST, allow_inf_nan=False, description="Seconds from now.", examples=[86400])
]
Without = Annotated[
    str, Query(max_length=10_000, description="Hospitals that take no part, with commas.", examples=[""])
]


@_routes.post(
    "/runs", response_model=Run, response_model_exclude_unset=True, responses=_may(401, 422), openapi_extra=_BODY
)
async def submit(
    request: Request, service: Over, name: By, deadline: Deadline = None, without: Without = ""
) -> dict[str, Any]:
    """Queue the study file of the body. The same again is the same run."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST:
            raise StudyError(f"a study file has at most {LARGEST:,} bytes")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise StudyError("a study file is UTF-8 text") from None
    entry = service.submit(text, name, deadline, [w for w in without.split(",") if w])
    return service.status(entry.run)


@_routes.get("/runs", response_model=list[Run], response_model_exclude_unset=True, responses=_may(401))
def listed(service: Over, name: By) -> list[dict[str, Any]]:
    """All runs of this researcher, the oldest first."""
    return [service.status(e.run) for e in service.book.all() if e.researcher == name]


@_routes.get("/runs/{run}", response_model=Run, response_model_exclude_unset=True, responses=_may(401, 404))
def status(run: Own, service: Over) -> dict[str, Any]:
    """Where a run is."""
    return service.status(run)


@_routes.post(
    "/runs/{run}/cancel", response_model=Run, response_model_exclude_unset=True, responses=_may(401, 404, 422)
)
def cancel(run: Own, service: Over) -> dict[str, Any]:
    """Stop a run before its next round."""
    service.cancel(run)
    return service.status(run)


_PACKED: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}


@_routes.get("/runs/{run}/found", response_class=Response, responses=_PACKED | _may(401, 403, 404, 422, 503))
def found(run: Own, service: Over) -> Response:
    """What a run found, packed; `Waiting` while the airlock holds it, Refused where it was rejected."""
    return Response(service.airlock.fetch(run), media_type="application/octet-stream")


@_routes.get("/health", response_model=Health)
def health(request: Request, service: Over) -> dict[str, Any]:
    """Hospitals, runs and methods; nothing that needs a token."""
    return {"version": request.app.version, **service.health()}


@_routes.get(
    "/metrics", response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, 404: {"model": Fault}},
)  # fmt: skip
def metrics(request: Request) -> Response:
    """Metrics in the text form of Prometheus; nothing that needs a token."""
    page: Page | None = request.app.state.metrics
    if page is None:
        raise HTTPException(404, "metrics need what is not installed: pip install 'confrere[observability]'")
    return Response(page.text(), media_type=TYPE)
