"""The coordinator's metrics for Prometheus: runs by state, rounds, their seconds and bytes, hospitals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from confrere import wire
from confrere.coordinator.service import Service
from confrere.metrics import Tally

OF_HOSPITALS: Final = (  # a key of `Service.health`, the metric, what it is
    ("connected", "confrere_hospital_connected", "Whether the hospital is connected."),
    ("seconds_ago", "confrere_hospital_seen_seconds", "Seconds since the hospital was last heard of."),
    ("clock_ahead", "confrere_hospital_clock_ahead_seconds", "Seconds by which its clock is ahead of this one."),
    ("disk_free", "confrere_hospital_disk_free_bytes", "Free bytes of the hospital's folder."),
)


class Collector:
    """Collects from the service and from the logs of its runs."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._tally = Tally("round")

    def collect(self) -> Iterator[Any]:
        """All families."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

        health = self._service.health()
        yield InfoMetricFamily("confrere", "The release that runs here.", {"version": wire.release()})
        runs = GaugeMetricFamily("confrere_runs", "Runs by state.", labels=["state"])
        for state, count in health["runs"].items():
            runs.add_metric([state], count)
        yield runs
        for key, name, what in OF_HOSPITALS:
            family = GaugeMetricFamily(name, what, labels=["hospital"])
            for hospital, said in health["hospitals"].items():
                if said[key] is not None:
                    family.add_metric([hospital], float(said[key]))
            yield family
        self._tally.read(self._service.home.logs)
        yield CounterMetricFamily("confrere_rounds", "Rounds that were answered.", self._tally.events["round"])
        yield from self._tally.families("confrere_round", "rounds, of all hospitals together")
