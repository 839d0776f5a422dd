"""BigQuery bills by bytes read: every query is asked for its bytes first (a dry run, which is free), and held to a cap.

https://cloud.google.com/bigquery/docs/best-practices-costs. The cap also goes along with the query as
`maximum_bytes_billed`, so that BigQuery refuses by itself what its estimate had wrong. The region is pinned: a dataset
that lies elsewhere is not read, and every job names the region in which it may run.
"""

from __future__ import annotations

import copy
import os
from typing import Any, NamedTuple

from confrere.errors import DataError

MOST_BYTES = 100_000_000_000  # of one query, where the hospital says nothing
EMULATOR = "BIGQUERY_EMULATOR_HOST"  # as google-cloud-bigquery has it: an address that needs no credentials


class Cap(NamedTuple):
    """What a hospital allows: bytes of one query, and the region of its data (None: any)."""

    max_bytes: int
    region: str | None
    where: str


class Guard:
    """A client of google-cloud-bigquery, before whose queries stands their dry run."""

    def __init__(self, client: Any, cap: Cap) -> None:
        self._client, self._cap = client, cap

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def query(self, query: str, job_config: Any = None, **settings: Any) -> Any:
        """As the client's. DataError: the query would read more than the cap."""
        return self._client.query(query, job_config=self._within(query, job_config, settings), **settings)

    def query_and_wait(self, query: str, job_config: Any = None, **settings: Any) -> Any:
        """As the client's. DataError: the query would read more than the cap."""
        return self._client.query_and_wait(query, job_config=self._within(query, job_config, settings), **settings)

    def _within(self, query: str, job_config: Any, settings: dict[str, Any]) -> Any:
        from google.cloud import bigquery

        config = copy.deepcopy(job_config) if job_config is not None else bigquery.QueryJobConfig()
        if config.dry_run:
            return config
        asked = copy.deepcopy(config)
        asked.dry_run, asked.use_query_cache = True, False
        where = {key: value for key, value in settings.items() if key in ("project", "location")}
        size = int(self._client.query(query, job_config=asked, **where).total_bytes_processed or 0)
        if size > self._cap.max_bytes:
            raise DataError(
                f"{self._cap.where}: a query would read {size:,} bytes, and max_bytes is {self._cap.max_bytes:,}; "
                f"raise max_bytes, or partition and cluster the tables by what studies ask"
            )
        config.maximum_bytes_billed = self._cap.max_bytes
        return config


def connect(project: str, dataset: str, cap: Cap) -> Any:
    """Ibis's backend over a guarded client. DataError: the dataset does not lie in the region."""
    import google.auth
    import ibis
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery, bigquery_storage

    credentials = AnonymousCredentials() if os.environ.get(EMULATOR) else google.auth.default()[0]
    client = bigquery.Client(
        project=project, credentials=credentials, location=cap.region,
        default_query_job_config=bigquery.QueryJobConfig(),
    )  # fmt: skip
    there = str(client.get_dataset(bigquery.DatasetReference(project, dataset)).location)
    if cap.region is not None and there.lower() != cap.region.lower():
        raise DataError(f"{cap.where}: the dataset lies in {there}, and region is {cap.region}; nothing was read")
    storage = bigquery_storage.BigQueryReadClient(credentials=credentials)
    return ibis.bigquery.connect(
        project_id=project, dataset_id=dataset, client=Guard(client, cap), storage_client=storage, location=there
    )
