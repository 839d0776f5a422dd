"""The coordinator's service over HTTPS, for researchers: submit a study, see where it is, fetch what was found.

    POST   /runs                 a study file (text); ?deadline=SECONDS&without=A,B   -> the run
    GET    /runs                 all runs of this researcher
    GET    /runs/{run}           state, round, for whom it waits; once done, where the airlock has it
    POST   /runs/{run}/cancel
    GET    /runs/{run}/found     the findings, packed by `wire`, once the airlock has released them
    GET    /health               hospitals (last seen, release, clock, free disk), runs, methods
    GET    /metrics              the same and more, for Prometheus; needs the extra `observability`

Every call but the last two needs `Authorization: Bearer TOKEN`; a researcher sees the own runs alone. Errors are
`{"error": class, "message": text}`, so that the client raises what a local run would.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from confrere.coordinator.metrics import Collector
from confrere.coordinator.service import Service
from confrere.errors import ConfrereError, StudyError
from confrere.metrics import TYPE, Page, installed
from confrere.study.file import LARGEST

_STATUS = {2: 422, 3: 403, 4: 503}  # of HTTP, by our exit codes
_routes = APIRouter()


def web(service: Service, version: str) -> FastAPI:
    """The application over a service."""
    app = FastAPI(title="Confrere coordinator", version=version, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.service = service
    app.state.metrics = Page(Collector(service)) if installed() else None
    app.include_router(_routes)
    app.add_exception_handler(ConfrereError, _failed)
    return app


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Over = Annotated[Service, Depends(_service)]
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]


def _researcher(request: Request, service: Over, given: Bearer) -> str:
    scope = "read" if request.method == "GET" else "submit"
    name = service.book.researcher(given.credentials, scope) if given else None
    if name is None:
        raise HTTPException(
            401, f"this token is not known, has expired, or may not {scope}; ask whoever runs the coordinator for one"
        )
    return name


By = Annotated[str, Depends(_researcher)]


def _own(run: str, service: Over, name: By) -> str:
    entry = service.book.get(run)
    if entry is None or entry.researcher != name:
        raise HTTPException(404, f"no run of yours is called {run!r}")
    return run


Own = Annotated[str, Depends(_own)]


async def _failed(_: Request, error: Exception) -> JSONResponse:
    code = error.exit_code if isinstance(error, ConfrereError) else 1
    return JSONResponse({"error": type(error).__name__, "message": str(error)}, _STATUS.get(code, 500))


@_routes.post("/runs")
async def submit(
    request: Request, service: Over, name: By, deadline: float | None = None, without: str = ""
) -> dict[str, Any]:
    """Queue the study file of the body."""
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
    if entry.researcher != name:
        raise StudyError("the same study is run for another researcher; ask whoever runs the coordinator")
    return service.status(entry.run)


@_routes.get("/runs")
def listed(service: Over, name: By) -> list[dict[str, Any]]:
    """All runs of this researcher, the oldest first."""
    return [service.status(e.run) for e in service.book.all() if e.researcher == name]


@_routes.get("/runs/{run}")
def status(run: Own, service: Over) -> dict[str, Any]:
    """Where a run is."""
    return service.status(run)


@_routes.post("/runs/{run}/cancel")
def cancel(run: Own, service: Over) -> dict[str, Any]:
    """Stop a run before its next round."""
    service.cancel(run)
    return service.status(run)


@_routes.get("/runs/{run}/found")
def found(run: Own, service: Over) -> Response:
    """What a run found, packed; `Waiting` while the airlock holds it, Refused where it was rejected."""
    return Response(service.airlock.fetch(run), media_type="application/octet-stream")


@_routes.get("/health")
def health(request: Request, service: Over) -> dict[str, Any]:
    """Hospitals, runs and methods; nothing that needs a token."""
    return {"version": request.app.version, **service.health()}


@_routes.get("/metrics")
def metrics(request: Request) -> Response:
    """Metrics in the text form of Prometheus; nothing that needs a token."""
    page: Page | None = request.app.state.metrics
    if page is None:
        raise HTTPException(404, "metrics need what is not installed: pip install 'confrere[observability]'")
    return Response(page.text(), media_type=TYPE)
