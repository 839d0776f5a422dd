"""The coordinator's service over HTTPS, for researchers: submit a study, see where it is, fetch what was found.

    POST   /runs                 a study file (text); ?deadline=SECONDS   -> the run
    GET    /runs                 all runs of this researcher
    GET    /runs/{run}           state, round, for whom it waits
    POST   /runs/{run}/cancel
    GET    /runs/{run}/found     the findings, packed by `wire`
    GET    /health               hospitals, runs, methods

Every call but /health needs `Authorization: Bearer TOKEN`; a researcher sees the own runs alone. Errors are
`{"error": class, "message": text}`, so that the client raises what a local run would.
"""

from typing import Annotated, Any  # annotations are evaluated: FastAPI reads those of inner functions

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from confrere.coordinator.service import Service
from confrere.errors import ConfrereError, StudyError
from confrere.study.file import LARGEST

_STATUS = {2: 422, 3: 403, 4: 503}  # of HTTP, by our exit codes


def web(service: Service, version: str) -> FastAPI:
    """The application over a service."""
    app = FastAPI(title="Confrere coordinator", version=version, docs_url=None, redoc_url=None, openapi_url=None)
    bearer = HTTPBearer(auto_error=False)

    def researcher(given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> str:
        name = service.book.researcher(given.credentials) if given else None
        if name is None:
            raise HTTPException(401, "this token is not known; ask whoever runs the coordinator for one")
        return name

    def own(run: str, name: Annotated[str, Depends(researcher)]) -> str:
        entry = service.book.get(run)
        if entry is None or entry.researcher != name:
            raise HTTPException(404, f"no run of yours is called {run!r}")
        return run

    def failed(_: Request, error: Exception) -> JSONResponse:
        code = error.exit_code if isinstance(error, ConfrereError) else 1
        content = {"error": type(error).__name__, "message": str(error)}
        return JSONResponse(content, _STATUS.get(code, 500))

    app.add_exception_handler(ConfrereError, failed)
    Own = Annotated[str, Depends(own)]

    @app.post("/runs")
    async def submit(
        request: Request, name: Annotated[str, Depends(researcher)], deadline: float | None = None
    ) -> dict[str, Any]:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > LARGEST:
                raise StudyError(f"a study file has at most {LARGEST:,} bytes")
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise StudyError("a study file is UTF-8 text") from None
        entry = service.submit(text, name, deadline)
        if entry.researcher != name:
            raise StudyError("the same study is run for another researcher; ask whoever runs the coordinator")
        return service.status(entry.run)

    @app.get("/runs")
    def listed(name: Annotated[str, Depends(researcher)]) -> list[dict[str, Any]]:
        return [service.status(e.run) for e in service.book.all() if e.researcher == name]

    @app.get("/runs/{run}")
    def status(run: Own) -> dict[str, Any]:
        return service.status(run)

    @app.post("/runs/{run}/cancel")
    def cancel(run: Own) -> dict[str, Any]:
        service.cancel(run)
        return service.status(run)

    @app.get("/runs/{run}/found")
    def found(run: Own) -> Response:
        folder = service.home.folder(run)
        _ = folder.found  # StudyError before the run is over
        return Response((folder.path / "found").read_bytes(), media_type="application/octet-stream")

    @app.get("/health")
    def health() -> dict[str, Any]:
        return {"version": version, **service.health()}

    return app
