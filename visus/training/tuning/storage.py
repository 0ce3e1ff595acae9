"""Where a study lives, and how Optuna is spoken to. Optuna is imported when it is needed."""

from __future__ import annotations

import os
import re
import socket
import time
import warnings
from typing import Any

from visus.errors import RunError, UsageError
from visus.family import Choice
from visus.training.tuning.dimension import Dimension

TRIES = 6  # to open a database that another process may be making
PATIENCE = 60.0  # seconds that a process waits while another writes into an SQLite database
STALE = 600.0  # seconds without a sign of life after which a trial of another machine is taken over
UNSIGNED = 10.0  # the same for one never signed: its process died between asking and signing


def quiet_optuna() -> Any:
    """Optuna, which tells its own log and warnings to nobody: the ledger has what matters."""
    try:
        import optuna
    except ImportError:
        raise UsageError("tune: needs optuna; install it with pip install optuna") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", module="optuna")
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna


def open_study(url: str, name: str, first: int) -> Any:
    """The study `name` in the database at `url`, made where it is not there yet.

    `first` is the first epoch after which trials are halved.
    """
    optuna = quiet_optuna()
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=3)
    for left in range(TRIES - 1, -1, -1):
        try:
            return optuna.create_study(
                storage=_database(optuna, url), study_name=name, load_if_exists=True, direction="minimize",
                pruner=pruner,
            )  # fmt: skip
        except Exception as error:  # whatever the driver of some database raises
            if not left or not hasattr(error, "orig"):
                raise RunError(_closed(url, error)) from None
            time.sleep(0.3)  # the database spoke: another process may be making the same tables
    raise AssertionError


def _database(optuna: Any, url: str) -> Any:
    """The database at `url`; SQLite waits longer for another process than its 5 s, which a busy disk takes."""
    if not url.startswith("sqlite"):
        return url
    waiting = {"connect_args": {"timeout": PATIENCE}}
    return optuna.storages.RDBStorage(url, engine_kwargs=waiting)


def _closed(url: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return (
        f"storage: cannot open {shown(url)}: {shown(reason)}; give a database such as "
        "sqlite:///study.db or postgresql://user:password@host/name, and its driver installed"
    )


def shown(url: str) -> str:
    """The URL without its password."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)


def sampler(seed: int) -> Any:
    """TPE over all keys together; trials at work elsewhere count as bad, so that nobody repeats them."""
    optuna = quiet_optuna()
    return optuna.samplers.TPESampler(
        seed=seed % 2**32, multivariate=True, group=True, constant_liar=True, n_startup_trials=8
    )


def suggest(job: Any, dimension: Dimension) -> Any:
    """What the trial `job` tries for a key."""
    name, how = dimension.name, dimension.search
    if isinstance(how, Choice):
        return job.suggest_categorical(name, list(dimension.options))
    if dimension.whole and not how.times:
        return job.suggest_int(name, int(how.low), int(how.high), log=how.log)
    return job.suggest_float(name, how.low, how.high, log=how.log)


def sign(job: Any) -> None:
    """Say that the trial is being worked on, by whom and when."""
    job.set_user_attr("alive", [socket.gethostname(), os.getpid(), time.time()])


def put_back(study: Any, job: Any) -> None:
    """End a trial that was not finished and put the same one on the list again."""
    optuna = quiet_optuna()
    held = {
        key: value
        for key, value in job.user_attrs.items()
        if key in ("role", "plain", "of", "seed")
    }
    number = job.number
    study.set_user_attr(f"interrupted {number}", True)
    study.tell(number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)
    study.enqueue_trial(dict(job.params), user_attrs=held or {"role": "search"})


def revive(study: Any) -> None:
    """Put back the trials of processes that are gone."""
    optuna = quiet_optuna()
    for job in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        begun = job.datetime_start.timestamp() if job.datetime_start else 0.0
        host, pid, at = job.user_attrs.get("alive", ["", 0, begun])
        here, most = host == socket.gethostname(), STALE if host else UNSIGNED
        if (here and not _runs(pid)) or time.time() - at > most:
            put_back(study, job)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
