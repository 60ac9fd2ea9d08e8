"""The console's page as an object that shows itself: in a notebook, or wherever Panel serves it."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import panel as pn
from panel.viewable import Viewer

from ...agents.experiment import Experiment
from ...envs.watched import WatchedSource
from ...hardware.guard import Guard, guarded
from .page import EVERY_MS, Page
from .session import ENDED, Session

OWNER = "another view"
_sessions: WeakValueDictionary[int, Session] = WeakValueDictionary()  # by their experiment's id
_latest: WeakKeyDictionary[Session, tuple[Page, Any]] = WeakKeyDictionary()  # below a cell


class Inline(Viewer):  # type: ignore[misc]  # Panel's types are not followed
    """Every time that it is shown it makes a page of a session.

    Served, each browser has a page of its own, as at the console.  In a notebook nobody says when
    the output of a cell is gone, so that the latest page has control, and the one before it ends.

    Args:
        session: may have other pages.
        title: for their heads.
    """

    def __init__(self, session: Session, title: str = "") -> None:
        super().__init__()
        self.session, self._title = session, title

    @classmethod
    def of(cls, experiment: Experiment, title: str = "") -> Inline:
        """For an experiment; all of the same one have the same session."""
        pn.extension()
        return cls(session_of(experiment), title or experiment.agent.name)

    def __panel__(self) -> Any:
        document = pn.state.curdoc
        served = document is not None and document.session_context is not None
        if not served and self.session in _latest:
            before, repeated = _latest.pop(self.session)
            repeated.stop()
            before.leave()
        page = Page(self.session, self._title, OWNER, escape=served)
        repeated = pn.state.add_periodic_callback(page.update, period=EVERY_MS)
        if served:
            pn.state.on_session_destroyed(lambda _: page.leave())
        else:
            _latest[self.session] = page, repeated
        return page.view()


def session_of(experiment: Experiment) -> Session:
    """The session of an experiment, made where there is none, or where it went on without it."""
    known = _sessions.get(id(experiment))
    if known is not None and (
        known.phase != ENDED or known.shown().frames == len(experiment.steps)
    ):
        return known
    source = experiment.env.source
    begun = bool(experiment.steps) or experiment.proposal is not None
    if not (begun or isinstance(source, WatchedSource)):
        source = experiment.env.source = WatchedSource(source, guarded)

    def guard() -> Guard | None:
        return source.guard if isinstance(source, WatchedSource) else None

    made = _sessions[id(experiment)] = Session(experiment, guard=guard)
    return made
