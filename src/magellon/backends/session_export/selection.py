"""Which micrographs and particles of a session are exported."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from magellon.backends.session_export.conditions import Condition, parse_conditions
from magellon.backends.session_export.params import ExportParams
from magellon.backends.session_export.session import (
    ALIASES,
    MICROGRAPH_METRICS,
    NAME,
    PARTICLE_METRICS,
    Session,
    choose_particle_file,
    stem,
)
from magellon.contracts import BadInput
from magellon.io.star import StarTable

GROUP = "rlnOpticsGroup"
_CLASS = "rlnClassNumber"
See = Callable[[StarTable], None]


@dataclass
class Selection:
    """What is exported of a session. Particles are gone through twice, as there may be millions: to look, then to write."""

    session: Session
    params: ExportParams
    micrographs: list[str]
    """Names in the session's STAR files."""
    micrographs_left_out: int
    particles: int = 0
    particles_left_out: int = 0
    groups: list[int] = field(default_factory=list)
    """Optics groups that the particles use, in order."""
    labels: list[str] = field(default_factory=list)
    """Columns of the particles; none when there is no particle file."""
    optics: StarTable = field(default_factory=StarTable)
    """Of the particles, those used, numbered anew from 1."""

    def iterate(self) -> Iterator[StarTable]:
        """The chosen particles in order, piece by piece, with the optics groups' new numbers.

        Raises:
            BadInput: the file is damaged, or has no such column.
        """
        kept = set(self.micrographs)
        conditions = _conditions(self.params, PARTICLE_METRICS)
        numbers = {str(group): str(number) for number, group in enumerate(self.groups, 1)}
        with self.session.open_particles() as stream:
            for piece in stream.pieces():
                chosen = take_rows(piece, _choose(piece, kept, self.params, conditions))
                if chosen.rows:
                    chosen[GROUP] = [numbers[group] for group in _normal_groups(chosen)]
                    yield chosen


def select_session(session: Session, params: ExportParams, see: See = lambda piece: None) -> Selection:
    """Decide on micrographs and look at every particle once; `see` is shown the chosen ones.

    Raises:
        BadInput: a condition that makes no sense, classes where there are none, or nothing is left.
    """
    session = choose_particle_file(session, params)
    names = session.micrographs()
    selection = Selection(session, params, names, 0)
    conditions = _conditions(params, MICROGRAPH_METRICS)
    for metric, count in (("picks", session.count_picks), ("particles", lambda: _count_particles(session))):
        if any(each.metric == metric for each in conditions):  # they cost a look into many files
            for name, number in count().items():
                session.metrics.get(name, {})[metric] = float(number)
    selection.micrographs = [name for name in names if _is_wanted(session, params, conditions, name)]
    selection.micrographs_left_out = len(names) - len(selection.micrographs)
    if not selection.micrographs:
        raise BadInput(f"{session.name}: none of {len(names)} micrographs is left ({_say(params)})")
    if session.particles:
        _look_at_particles(selection, see)
    elif params.classes or params.kept or _conditions(params, PARTICLE_METRICS):
        raise BadInput(f"{session.name}: has no particles (yet), so that none can be chosen by class or score")
    return selection


def take_rows(table: StarTable, keep: Sequence[bool]) -> StarTable:
    """The rows where `keep` is true."""
    chosen = [row for row, wanted in enumerate(keep) if wanted]
    if len(chosen) == table.rows:
        return StarTable(table, source=table.source)
    return StarTable({label: [values[row] for row in chosen] for label, values in table.items()}, source=table.source)


def take_groups(table: StarTable, optics: StarTable) -> tuple[StarTable, StarTable]:
    """The table with its optics groups numbered from 1, and the optics table of those it uses."""
    used = sorted(set(table.ints(GROUP, 1)))
    numbers = {group: number for number, group in enumerate(used, 1)}
    renumbered = StarTable(table, source=table.source)
    if GROUP in table:
        renumbered[GROUP] = [numbers[group] for group in table.ints(GROUP)]
    return renumbered, number_optics(optics, used)


def number_optics(optics: StarTable, used: Sequence[int]) -> StarTable:
    """The rows of an optics table for these groups, numbered from 1 in their order.

    Raises:
        BadInput: a group is not in the table.
    """
    places = {group: place for place, group in enumerate(optics.ints(GROUP))} if optics else {}
    missing = [group for group in used if group not in places]
    if missing:
        raise BadInput(f"{optics.source}: optics group {missing[0]} is not in the optics table")
    table = StarTable({label: [values[places[group]] for group in used] for label, values in optics.items()})
    table[GROUP] = list(range(1, len(used) + 1))
    return table


def _all(params: ExportParams) -> list[Condition]:
    return parse_conditions(params.where, (*MICROGRAPH_METRICS, *PARTICLE_METRICS), ALIASES)


def _conditions(params: ExportParams, metrics: Sequence[str] | dict[str, str]) -> list[Condition]:
    return [each for each in _all(params) if each.metric in metrics]


def _is_wanted(session: Session, params: ExportParams, conditions: Sequence[Condition], name: str) -> bool:
    if stem(name) in session.held and not params.held:
        return False
    known = session.metrics.get(name, {})
    return all(each.holds(known.get(each.metric)) for each in conditions)


def _say(params: ExportParams) -> str:
    held = "held ones included" if params.held else "held ones are left out"
    return ", ".join([*params.where, held])


def _count_particles(session: Session) -> dict[str, int]:
    counts: Counter[str] = Counter(dict.fromkeys(session.micrographs(), 0))
    if session.particles:
        with session.open_particles() as stream:
            for piece in stream.pieces():
                counts.update(piece.texts(NAME))
    return counts


def _look_at_particles(selection: Selection, see: See) -> None:
    session, params = selection.session, selection.params
    kept = set(selection.micrographs)
    used: set[int] = set()
    conditions = _conditions(params, PARTICLE_METRICS)
    with session.open_particles() as stream:
        selection.labels = stream.labels
        if params.classes and _CLASS not in stream.labels:
            raise BadInput(f"{session.name}: its particles have no classes ({_CLASS}), so that none can be chosen by class")
        total = 0
        for piece in stream.pieces():
            total += piece.rows
            chosen = take_rows(piece, _choose(piece, kept, params, conditions))
            if chosen.rows:
                used.update(map(int, _normal_groups(chosen)))
                selection.particles += chosen.rows
                see(chosen)
        optics = stream.head.get("optics", StarTable())
    if total and not selection.particles:
        raise BadInput(f"{session.name}: none of {total} particles is left ({_say(params)}, classes {list(params.classes)})")
    selection.particles_left_out = total - selection.particles
    selection.groups = sorted(used) or optics.ints(GROUP)
    selection.optics = number_optics(optics, selection.groups)


def _normal_groups(table: StarTable) -> list[str]:
    return list(map(str, table.ints(GROUP)))


def _choose(piece: StarTable, kept: set[str], params: ExportParams, conditions: Sequence[Condition]) -> list[bool]:
    keep = [name in kept for name in piece.texts(NAME)]
    if params.classes:
        keep = [wanted and number in params.classes for wanted, number in zip(keep, piece.ints(_CLASS), strict=True)]
    for condition in conditions:
        values = piece.floats(PARTICLE_METRICS[condition.metric])
        keep = [wanted and condition.holds(value) for wanted, value in zip(keep, values, strict=True)]
    return keep
