"""MLflow: a run in the experiment that MLFLOW_EXPERIMENT_NAME names, else ``crest``.

Where it is kept MLFLOW_TRACKING_URI says.
"""

import os
import time
from collections.abc import Mapping

from crest.errors import needs_extra
from crest.pipeline.trackers.base import Session

# A server that does not answer holds up the run for so long: by MLflow's own, for many minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

with needs_extra("mlflow"):
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param


class MLflow:
    """A run of MLflow."""

    def __init__(self, client: MlflowClient, run: str) -> None:
        self.run = run
        self._client = client

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add all values in one request."""
        now = time.time_ns() // 1_000_000
        metrics = [Metric(name, float(value), now, step) for name, value in values.items()]
        self._client.log_batch(self.run, metrics=metrics)

    def finish(self, step: int, values: Mapping[str, float]) -> None:
        """Add the values of the whole run, and mark it as finished."""
        self.log(step, values)
        self._client.set_terminated(self.run)

    def stop(self) -> None:
        """Mark the run as stopped; one that goes on is marked as running again."""
        self._client.set_terminated(self.run, "KILLED")


def start(session: Session, run: str | None) -> MLflow:
    """Begin a run, or go on with the one that there is."""
    client = MlflowClient()
    if run is not None:
        client.update_run(run, status="RUNNING")
        return MLflow(client, run)
    created = client.create_run(_experiment(client), run_name=session.name)
    params = [Param(key, str(value)) for key, value in session.settings.items()]
    client.log_batch(created.info.run_id, params=params)
    return MLflow(client, created.info.run_id)


def _experiment(client: MlflowClient) -> str:
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "crest"
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id if found else client.create_experiment(name))
