"""A model of the stages, written from the documentation alone: no code of the product decides anything here.

It looks through lists at each step, so that every rule of the documentation is one plain sentence of code.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from support.stage_model_words import (
    ENDS,
    RANKS,
    SEVERITIES,
    STAGES,
    Attempt,
    Happening,
    Hush,
    Item,
    RuleSketch,
    Setup,
    Told,
    Trouble,
    Window,
    group_of,
    hits,
    note_failure,
    quiet_end,
)


@dataclass
class StageModel:
    setup: Setup
    now: datetime
    up_since: datetime = field(init=False)
    caught_up: bool = True
    told: list[Told] = field(default_factory=list)
    dropped: list[tuple[str, str, str]] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    windows: dict[tuple[str, str, str, object], Window] = field(default_factory=dict)
    silences: list[Hush] = field(default_factory=list)
    runs: dict[tuple[str, str], list[Attempt]] = field(default_factory=dict)
    tasks: dict[tuple[str, str], str] = field(default_factory=dict)
    """The names of the tasks that ran."""
    troubles: dict[tuple[str, str, str], Trouble] = field(default_factory=dict)
    """Those that are not over, by rule, project and task."""
    taken: dict[tuple[str, Happening], tuple[Trouble | None, bool]] = field(default_factory=dict)
    made: int = 0

    def __post_init__(self) -> None:
        self.up_since = self.now

    # The outside world.

    def wait_until(self, moment: datetime) -> None:
        """The agent runs until then."""
        while due := min((item.due for item in self.held() if item.due <= moment), default=None):
            self.now = max(self.now, due)
            self.fire()
        self.now = moment

    def start(self, setup: Setup, now: datetime, *, is_reload: bool = False) -> None:
        """The agent starts, or reads another config."""
        self.use(setup, now)
        if not is_reload:
            self.up_since = now
        self.fire()

    def use(self, setup: Setup, now: datetime) -> None:
        """All that the config does not hold any more is due, and quiet hours are asked again."""
        self.now, self.setup = now, setup
        for item in self.held():
            if self.lost_its_stage(item) or item.stage == "quiet":
                item.due = min(item.due, now)

    def happen(self, events: Iterable[Happening]) -> None:
        """One transaction of events."""
        self.fire()
        self.take(events)
        self.fire()

    def take(self, events: Iterable[Happening]) -> None:
        for event in events:
            attempt = self.note(event)
            if attempt is not None:
                self.route(event, attempt, at=self.now, rules=self.setup.rules)

    def silence(self, hush: Hush) -> None:
        self.fire()
        self.silences.append(hush)

    def end_silence(self, silence_id: str) -> None:
        self.fire()
        self.take_away(silence_id)
        self.fire()

    def take_away(self, silence_id: str) -> None:
        [ended] = [hush for hush in self.silences if hush.id == silence_id]
        self.silences.remove(ended)
        for item in self.held():
            if (item.stage, item.key) == ("silence", silence_id):
                item.due = self.now

    # Runs.

    def note(self, event: Happening) -> int | None:
        """The attempt that the event is about; None if it is no news."""
        attempts = self.runs.setdefault((event.project, event.run), [])
        self.tasks[event.project, event.run] = event.task
        if event.type == "task_started" and (not attempts or attempts[-1].state != "running"):
            attempts.append(Attempt(len(attempts) + 1, event.at))
        elif not attempts:
            attempts.append(Attempt(1, event.at))
        if event.type in ENDS:
            if attempts[-1].state == ENDS[event.type]:
                return None
            attempts[-1].state, attempts[-1].ended = ENDS[event.type], event.at
        return attempts[-1].number

    # Rules.

    def route(
        self, event: Happening, attempt: int, *, at: datetime, rules: Sequence[RuleSketch], only: str | None = None
    ) -> None:
        served: set[str] = set()
        made: list[Item] = []
        for rule in rules:
            if event.type not in rule.types:
                continue
            if not rule.notify:
                break
            for destination in rule.notify:
                if destination not in served and only in (None, destination):
                    served.add(destination)
                    made.append(self.item(event, attempt, rule, destination))
        ends = self.end_trouble(event) if event.type == "task_completed" and only is None else {}
        for item in made:
            found = self.setup.rule(item.rule)
            if item.destination in ends:
                item.is_end, item.once = True, None
                self.ask_first(item, at)
            elif found is not None and found.settle is not None and event.type == "task_failed":
                self.hold([item], "settle", item.rule, event.at + timedelta(seconds=found.settle))
            else:
                self.ask_on(item, at)
        for destination, name in ends.items():
            if destination not in served:
                rule = self.setup.rule(name) or RuleSketch(name, (), ())
                word = self.item(event, attempt, replace(rule, severity=None), destination)
                word.is_end, word.is_word, word.once = True, True, None
                self.ask_first(word, at)

    # Trouble.

    def ask_on(self, item: Item, at: datetime) -> None:
        """Does the rule take the event? Else those behind are asked."""
        rule = self.setup.rule(item.rule) or RuleSketch(item.rule, (), (), tell_end=True)
        takes = rule.on is None
        if item.event.type == "task_failed":
            item.trouble, takes = self.take_trouble(item.event, rule)
        if takes:
            self.ask_first(item, at)
            return
        self.drop([item], "on")
        self.route_behind(item, at)

    def route_behind(self, item: Item, at: datetime) -> None:
        names = [other.name for other in self.setup.rules]
        behind = self.setup.rules[names.index(item.rule) + 1 :]
        self.route(item.event, item.attempt, at=at, rules=behind, only=item.destination)

    def take_trouble(self, event: Happening, rule: RuleSketch) -> tuple[Trouble | None, bool]:
        """The trouble that the failure belongs to, and whether the rule takes it: once for all destinations."""
        if (rule.name, event) not in self.taken:
            self.taken[rule.name, event] = self.decide_trouble(event, rule)
        return self.taken[rule.name, event]

    def decide_trouble(self, event: Happening, rule: RuleSketch) -> tuple[Trouble | None, bool]:
        if any(
            attempt.state == "completed" and attempt.ended is not None and attempt.ended > event.at
            for (project, run), task in self.tasks.items()
            if (project, task) == (event.project, event.task)
            for attempt in self.runs[project, run]
        ):
            return None, rule.on is None  # it is over
        return note_failure(self.troubles, event, rule)

    def end_trouble(self, event: Happening) -> dict[str, str]:
        """The destinations that are told of the end, each with the rule of its oldest trouble."""
        over: list[Trouble] = []
        for place, trouble in list(self.troubles.items()):
            if place[1:] != (event.project, event.task) or event.at < trouble.last:
                continue
            rule = self.setup.rule(trouble.rule)
            trouble.successes += 1
            if trouble.is_confirmed and rule is not None and trouble.successes < rule.confirm:
                continue
            trouble.is_over = True
            del self.troubles[place]
            over += [trouble] if trouble.is_confirmed else []
        ends: dict[str, str] = {}
        for trouble in sorted(over, key=lambda one: (one.begun, one.rule)):
            rule = self.setup.rule(trouble.rule)
            names = trouble.told if rule is None or rule.tell_end else []
            if rule is not None and rule.on is not None and "recovered" in rule.on:
                names = [*names, *rule.notify]
            for name in names:
                ends.setdefault(name, trouble.rule)
        return ends

    def item(self, event: Happening, attempt: int, rule: RuleSketch, destination: str) -> Item:
        self.made += 1
        severity = rule.severity or SEVERITIES[event.type]
        once = {"error": f"={event.error}", "task": f"={event.task}"}.get(rule.once or "", "")
        return Item(
            self.made,
            event,
            attempt,
            rule.name,
            destination,
            severity,
            self.now,
            once if rule.once is not None or rule.cooldown is not None else None,
            group_of(event, rule, severity) if rule.by else None,
            unit=self.made,
        )

    # The stages, in their order.

    def ask_first(self, item: Item, at: datetime) -> None:
        """Silences, and all stages behind."""
        if not self.silenced(item) and self.ask_values(item, at):
            self.ask_throttle([item], at, kind="single")

    def silenced(self, item: Item) -> bool:
        if item.is_end:
            return False
        matching = [hush for hush in self.silences if hush.begins <= self.now < hush.expires and hits(hush, item)]
        if not matching:
            return False
        longest = max(matching, key=lambda hush: (hush.expires, hush.id))
        self.hold([item], "silence", longest.id, longest.expires)
        return True

    def ask_values(self, item: Item, at: datetime) -> bool:
        """``once_per`` and ``group``. True if both let it pass."""
        rule = self.setup.rule(item.rule)
        if rule is None:
            return True
        if item.once is not None and (rule.once is not None or rule.cooldown is not None):
            place = ("once_per", item.destination, rule.name, item.once)
            window = self.windows.get(place)
            if window is not None and at < window.ends:
                self.drop([item], "once_per")
                return False
            pause = self.setup.keep if rule.cooldown is None else rule.cooldown
            self.windows[place] = Window(at + timedelta(seconds=pause))
        if item.group is not None and rule.by:
            group = ("group", item.destination, rule.name, item.group)
            window = self.windows.get(group)
            if window is None or window.ends <= at:
                window = self.windows[group] = Window(at + timedelta(seconds=rule.wait))
            self.hold([item], "group", (rule.name, item.group), window.ends)
            return False
        return True

    def ask_throttle(self, unit: list[Item], at: datetime, kind: str) -> None:
        rule = self.setup.rule(unit[0].rule)
        counted: Window | None = None
        if rule is not None and rule.limit is not None:
            place = ("throttle", unit[0].destination, rule.name, "")
            window = self.windows.get(place)
            if window is None or window.ends <= at:
                window = Window(at + timedelta(seconds=rule.per))
            if window.passed >= rule.limit:
                self.hold(unit, "throttle", rule.name, window.ends)
                return
            counted = self.windows[place] = window
            counted.passed += 1
        answer = self.ask_quiet(unit)
        if answer == "":
            self.send(unit, kind)
        elif answer == "drop" and counted is not None:
            counted.passed -= 1
            if not counted.passed:  # a window begins with a message
                del self.windows["throttle", unit[0].destination, unit[0].rule, ""]

    def ask_quiet(self, unit: list[Item]) -> str:
        """The answer of the quiet hours of rule and destination: hold or drop, else empty."""
        rule = self.setup.rule(unit[0].rule)
        names = {rule and rule.quiet, dict(self.setup.quiet_of).get(unit[0].destination)}
        latest: tuple[datetime, str] | None = None
        for night in self.setup.nights:
            end = quiet_end(night, self.now)
            if night.name not in names or end is None or {item.severity for item in unit} & set(night.exceptions):
                continue
            may_drop = night.then == "drop" and not any(item.is_end for item in unit)
            if may_drop and quiet_end(night, min(item.arrived for item in unit)) is not None:
                self.drop(unit, "quiet")
                return "drop"
            if latest is None or end > latest[0]:
                latest = (end, night.name)
        if latest is None:
            return ""
        self.hold(unit, "quiet", latest[1], latest[0])
        return "hold"

    # The held items.

    def held(self) -> list[Item]:
        return [item for item in self.items if item.stage]

    def hold(self, items: list[Item], stage: str, key: object, due: datetime) -> None:
        """Those of one unit stay one."""
        for item in items:
            item.stage, item.key, item.due, item.unit = stage, key, due, items[0].unit
            if item not in self.items:
                self.items.append(item)

    def let_go(self, items: list[Item]) -> None:
        for item in items:
            item.stage = ""
        self.items = self.held()

    def drop(self, items: list[Item], stage: str) -> None:
        """Who is not told of something because of quiet hours was not told of its value, either."""
        self.let_go(items)
        self.dropped += [(item.label, item.destination, stage) for item in items]
        if stage == "quiet":
            for item in items:
                self.windows.pop(("once_per", item.destination, item.rule, item.once), None)

    def send(self, items: list[Item], kind: str) -> None:
        self.let_go(items)
        items = sorted(items, key=lambda item: item.number)
        destination, severity = items[0].destination, max((item.severity for item in items), key=RANKS.index)
        labels = tuple(item.label for item in items)
        for item in items:
            if item.trouble is not None and not item.trouble.is_over and item.trouble.is_confirmed:
                item.trouble.told += [] if destination in item.trouble.told else [destination]
        if len(items) == 1:
            self.told.append(Told(self.now, destination, "single", labels, severity))
            return
        failed = {(i.event.project, i.event.run) for i in items if i.severity in ("error", "critical")}
        still_open = [run for run in failed if self.runs[run][-1].state != "completed"]
        self.told.append(Told(self.now, destination, kind, labels, severity, len(failed), len(still_open)))

    def lost_its_stage(self, item: Item) -> bool:
        """True if the rule is gone, or has lost the key that holds the item."""
        rule = self.setup.rule(item.rule)
        match item.stage:
            case "settle":
                return rule is None or rule.settle is None
            case "group":
                return rule is None or not rule.by
            case "throttle":
                return rule is None or rule.limit is None
            case _:
                return False

    # Releases: the first due one first, as of that time.

    def may_leave(self, item: Item) -> bool:
        """True if the agent that releases may let go of the item."""
        return True

    def is_caught_up(self, project: str) -> bool:
        return self.caught_up

    def patient_since(self, project: str) -> datetime:
        """The start of the agent that watches the project."""
        return self.up_since

    def fire(self) -> None:
        while due := [item for item in self.held() if item.due <= self.now and self.may_leave(item)]:
            first = min(due, key=lambda item: (item.due, STAGES.index(item.stage), item.number))
            place = (first.destination, first.stage, first.key)
            batch = [item for item in due if (item.destination, item.stage, item.key) == place]
            batch = sorted((item for item in batch if item.due <= first.due), key=lambda item: item.number)
            self.leave(first.stage, batch, first.due)

    def leave(self, stage: str, batch: list[Item], due: datetime) -> None:
        match stage:
            case "settle":
                self.leave_settle(batch[0], due)  # it may reach a later rule, where it is due before the others
            case "silence":
                self.leave_silence(batch, due)
            case "quiet":
                self.leave_quiet(batch)
            case _:
                self.leave_together(stage, batch, due)

    def leave_settle(self, item: Item, due: datetime) -> None:
        rule = self.setup.rule(item.rule)
        if rule is None or rule.settle is None:
            self.let_go([item])
            self.ask_on(item, due)
            return
        until = min(item.event.at + timedelta(seconds=rule.settle), due)
        patience = max(until, self.patient_since(item.event.project)) + timedelta(minutes=10)
        if not self.is_caught_up(item.event.project) and self.now < patience:
            item.due = self.now.replace(microsecond=0) + timedelta(seconds=5 - self.now.second % 5)
            return
        self.let_go([item])
        if self.begins_again(item, until):
            self.drop([item], "settle")
            self.route_behind(item, due)
        else:
            self.ask_on(item, due)

    def begins_again(self, item: Item, until: datetime) -> bool:
        """True if another attempt, or another run of the same task, began after the failure."""
        event = item.event
        attempts = self.runs[event.project, event.run]
        others = [
            attempt
            for (project, run), task in self.tasks.items()
            if (project, task) == (event.project, event.task)
            for attempt in self.runs[project, run]
        ]
        return any(attempt.number > item.attempt and attempt.begun <= until for attempt in attempts) or any(
            event.at < attempt.begun <= until for attempt in others
        )

    def leave_silence(self, batch: list[Item], due: datetime) -> None:
        """One message about all, but groups stay groups, and values are told once."""
        batch = [item for item in batch if not self.silenced(item)]
        self.let_go(batch)
        batch = [item for item in batch if self.ask_values(item, due)]
        rules = {item.rule for item in batch}
        if len(rules) == 1:
            self.as_one(batch)
            self.ask_throttle(batch, due, kind="silence")
        elif batch and (told := self.ask_quiet_by_rule(batch, as_one=True)):
            self.send(told, "silence")

    def ask_quiet_by_rule(self, batch: list[Item], *, as_one: bool) -> list[Item]:
        """Each rule has its own quiet hours. Returns the items that need not wait."""
        told: list[Item] = []
        waiting: list[Item] = []
        units = {item.number: item.unit for item in batch}
        for rule in sorted({item.rule for item in batch}):
            part = [item for item in batch if item.rule == rule]
            self.let_go(part)
            answer = self.ask_quiet(part)
            told += part if answer == "" else []
            waiting += part if answer == "hold" else []
        for item in batch:
            item.unit = units[item.number]
        for place in {(item.key, item.due) for item in waiting} if as_one else ():
            self.as_one([item for item in waiting if (item.key, item.due) == place])
        return told

    def leave_together(self, stage: str, batch: list[Item], due: datetime) -> None:
        """A group, or the surplus of a throttle. Those that are silenced by now do not count as told."""
        for item in batch:
            if self.silenced(item):
                item.once = item.group = None
        batch = [item for item in batch if item.stage == stage]
        if not batch:
            return
        self.let_go(batch)
        self.as_one(batch)
        rule = self.setup.rule(batch[0].rule)
        dropped = len(self.dropped)
        if stage == "group":
            self.ask_throttle(batch, due, kind="group")
        elif self.ask_quiet(batch) == "":
            self.send(batch, "throttle")
        if len(self.dropped) > dropped or rule is None:
            return
        if stage == "group" and rule.by:
            place = ("group", batch[0].destination, rule.name, batch[0].group)
            self.windows[place] = Window(due + timedelta(seconds=rule.every))
        elif stage == "throttle" and rule.limit is not None:
            self.windows["throttle", batch[0].destination, rule.name, ""] = Window(
                due + timedelta(seconds=rule.per), 1
            )

    def as_one(self, batch: list[Item]) -> None:
        first = min(item.unit for item in batch)
        for item in batch:
            item.unit = first

    def leave_quiet(self, batch: list[Item]) -> None:
        """One digest, or all units by themselves."""
        name = batch[0].key
        told = self.ask_quiet_by_rule(batch, as_one=False)
        told = [item for item in told if not self.silenced_late(item)]
        each = any(night.name == name and night.then == "each" for night in self.setup.nights)
        for unit in sorted({item.unit for item in told}) if each else [None]:
            part = [item for item in told if unit in (None, item.unit)]
            if part:
                self.send(part, "quiet")

    def silenced_late(self, item: Item) -> bool:
        is_silenced = self.silenced(item)
        if is_silenced:
            item.once = item.group = None
        return is_silenced
