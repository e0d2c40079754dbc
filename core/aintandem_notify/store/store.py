"""The store: the durable state behind one database connection, synchronous. ``storage`` runs it for trio."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Final

from sqlalchemy import delete, insert, select, update

from aintandem_notify.errors import (
    MembershipLost,
    StatementFailed,
    StoreDamaged,
    StoreError,
    StoreFull,
    TransactionConflict,
)
from aintandem_notify.foundation.clock import Clock, SystemClock
from aintandem_notify.store.engine.database import open_database
from aintandem_notify.store.engine.schema import PREDECESSOR_KEY, SALT_KEY, meta
from aintandem_notify.store.health import (
    WELL,
    StoreState,
    StoreStatus,
    TransactionPurpose,
    after_failure,
    after_success,
)
from aintandem_notify.store.sharing.membership import Membership, SoleOwner
from aintandem_notify.store.sharing.shared_backlog import SharedBacklog
from aintandem_notify.store.sharing.shared_outbox import SharedOutbox
from aintandem_notify.store.stages.episodes import Episodes
from aintandem_notify.store.stages.held import HeldNotifications
from aintandem_notify.store.stages.locks import StageLocks
from aintandem_notify.store.stages.silences import Silences
from aintandem_notify.store.stages.traces import Traces
from aintandem_notify.store.stages.untold import UntoldNotifications
from aintandem_notify.store.stages.windows import StageWindows
from aintandem_notify.store.tables.backlog import Backlog
from aintandem_notify.store.tables.delivery_admin import DeliveryQueries
from aintandem_notify.store.tables.gates import Gates
from aintandem_notify.store.tables.health_episodes import HealthEpisodes
from aintandem_notify.store.tables.journal import Journal
from aintandem_notify.store.tables.notification_cache import NotificationCache
from aintandem_notify.store.tables.outbox import Outbox
from aintandem_notify.store.tables.retention import Retention
from aintandem_notify.store.watches.blind_times import BlindTimes
from aintandem_notify.store.watches.timers import WatchTimers
from aintandem_notify.store.watches.watched_runs import WatchedRuns

_WRITE_TEST: Final = update(meta).where(meta.c.key == "schema_version").values(value=meta.c.value)

_PREDECESSOR: Final = select(meta.c.value).where(meta.c.key == PREDECESSOR_KEY)
_SALT: Final = select(meta.c.value).where(meta.c.key == SALT_KEY)


class Store:
    """The store at ``url``. ``journal``, ``outbox`` and its other parts are used inside ``transaction`` only.

    Every method raises StoreError when the database fails. ``reserve_bytes`` are reserved beside a SQLite file, so
    that deliveries that were sent can be recorded on a full disk. Without a ``clock`` the machine's is used. A
    damaged file is put aside, so that the next start creates a new one, unless ``quarantines_damaged`` is false.
    """

    def __init__(
        self,
        url: str | Path,
        *,
        notification_cache: NotificationCache | None = None,
        clock: Clock | None = None,
        reserve_bytes: int = 0,
        quarantines_damaged: bool = True,
    ) -> None:
        self._database = open_database(url, reserve_bytes=reserve_bytes, quarantines_damaged=quarantines_damaged)
        self._clock = clock or SystemClock()
        self._status = self._initial_status()
        self._connection = self._database.connection
        self._notification_cache = notification_cache or NotificationCache()
        self.membership: SoleOwner = SoleOwner()
        self.outbox: Outbox
        self.backlog: Backlog
        if self._database.may_be_shared:
            self.membership = member = Membership(self._connection)
            self.outbox = SharedOutbox(self._connection, self._notification_cache, member)
            self.backlog = SharedBacklog(self._connection, self._notification_cache, member)
        else:
            self.outbox = Outbox(self._connection, self._notification_cache)
            self.backlog = Backlog(self._connection, self._notification_cache, self.membership.placement)
        self.journal: Journal = Journal(self._connection, self._notification_cache, self.membership.placement)
        self.gates: Gates = Gates(self._connection)
        self.retention: Retention = Retention(self._connection)
        self.stage_locks: StageLocks = StageLocks(self._connection)
        self.held: HeldNotifications = HeldNotifications(
            self._connection, self.stage_locks, lambda: self.membership.id
        )
        self.episodes: Episodes = Episodes(self._connection, lambda: self.membership.id)
        self.stage_windows: StageWindows = StageWindows(self._connection)
        self.silences: Silences = Silences(self._connection)
        self.traces: Traces = Traces(self._connection)
        self.untold: UntoldNotifications = UntoldNotifications(self._connection)
        self.watch_timers: WatchTimers = WatchTimers(self._connection, lambda: self.membership.id)
        self.blind_times: BlindTimes = BlindTimes(self._connection)
        self.watched_runs: WatchedRuns = WatchedRuns(self._connection)
        self.health_episodes: HealthEpisodes = HealthEpisodes(self._connection)
        self.delivery_queries: DeliveryQueries = DeliveryQueries(self._connection, self._notification_cache)

    @property
    def name(self) -> str:
        """The file or the database, for messages."""
        return self._database.name

    @property
    def status(self) -> StoreStatus:
        """The status after the last transaction; may be read from any thread."""
        return self._status

    @contextmanager
    def transaction(
        self, *, durable: bool = True, purpose: TransactionPurpose = TransactionPurpose.WORK, fenced: bool = True
    ) -> Iterator[None]:
        """Commits the block as a whole or not at all; the changes are on disk when it ends without an error.

        Without ``durable`` a power cut may undo the whole commit. After a StoreError from the commit itself the
        changes may be stored all the same. Raises StoreError if the store's status does not allow ``purpose``.
        With ``fenced``, first checks the membership; raises MembershipLost if it is lost.
        """
        self._require_allowed(purpose)
        try:
            with (
                self._database.translate_errors(),
                self._cache_cleared_on_error(),
                self._database.transaction(durable=durable),
            ):
                if fenced:
                    self.membership.fence()
                if purpose is not TransactionPurpose.READ and not self._status.is_well:
                    self._connection.execute(_WRITE_TEST)  # so that success proves that the store can be written
                yield
        except (MembershipLost, StatementFailed, TransactionConflict):
            raise  # these are no trouble of the store
        except StoreError as error:
            self._record_failure(error)
            raise
        if purpose is not TransactionPurpose.READ and not self._status.is_well:
            reserve = self._database.reserve
            self._status = after_success(self._status, has_reserve=reserve is None or reserve.is_whole)

    def touch(self) -> None:
        """Runs an empty transaction. In trouble it writes, to test if the trouble has ended. Raises StoreError."""
        with self.transaction(
            purpose=TransactionPurpose.READ if self._status.is_well else TransactionPurpose.WORK
        ):
            pass

    def damaged_predecessor(self) -> str | None:
        """The damaged file that this store replaced; None if there was none, or it was announced already."""
        with self.transaction(purpose=TransactionPurpose.READ):
            name: str | None = self._connection.execute(_PREDECESSOR).scalar_one_or_none()
        return name

    def clear_damaged_predecessor(self) -> None:
        """Records that the damaged predecessor was announced."""
        with self.transaction():
            self._connection.execute(delete(meta).where(meta.c.key == PREDECESSOR_KEY))

    def _initial_status(self) -> StoreStatus:
        reserve = self._database.reserve
        if reserve is None or reserve.restore():
            return WELL
        reason = f"store {self.name}: {reserve.shortage}"
        return StoreStatus(StoreState.ON_RESERVE, self._clock.now(), reason)

    def _require_allowed(self, purpose: TransactionPurpose) -> None:
        status, reserve = self._status, self._database.reserve
        if status.is_well:
            return
        if status.state is StoreState.DAMAGED:
            raise StoreDamaged(status.reason)
        if purpose is TransactionPurpose.READ or reserve is None:
            return
        if not reserve.is_whole:
            self._make_room()
        if not reserve.restore() and purpose is TransactionPurpose.WORK:
            raise StoreFull(status.reason)

    def _make_room(self) -> None:
        with suppress(StoreError), self._database.translate_errors():
            self._database.make_room()

    def _record_failure(self, error: StoreError) -> None:
        status, reserve = self._status, self._database.reserve
        reserve_released = reserve is not None and isinstance(error, StoreFull) and reserve.release()
        self._status = after_failure(status, error, reserve_released=reserve_released, now=self._clock.now())
        if reserve is not None and self._status.state is StoreState.DAMAGED:
            reserve.mark_suspect()

    def join(self, node: str, *, projects_hash: str, version: str) -> None:
        """Joins the agents that share this store, under the name ``node``; see ``Membership.join``.

        Raises StoreError while another agent has that name.
        """
        member = self.membership
        if not isinstance(member, Membership):
            raise StoreError(f"store {self.name}: it has one owner and cannot be shared")
        try:
            with self.transaction(fenced=False):
                member.join(node, projects_hash=projects_hash, version=version)
        except BaseException:
            member.mark_left()
            raise
        self._notification_cache.evict_oldest = True

    def salt(self) -> bytes:
        """As ``salt_in_transaction``, in its own transaction."""
        with self.transaction():
            return self.salt_in_transaction()

    def salt_in_transaction(self) -> bytes:
        """The salt for hashes of settings, unique to this store and common to its agents; created on first use.

        Call it inside a transaction.
        """
        salt: str | None = self._connection.execute(_SALT).scalar_one_or_none()
        if salt is None:
            salt = token_hex(16)
            self._connection.execute(insert(meta), {"key": SALT_KEY, "value": salt})
        return bytes.fromhex(salt)

    def leave(self) -> None:
        """Releases all projects and claims of this agent now, instead of at the end of its lease."""
        if isinstance(self.membership, Membership) and self.membership.is_shared:
            with self.transaction():
                self.membership.leave()
            self.membership.mark_left()

    @contextmanager
    def _cache_cleared_on_error(self) -> Iterator[None]:
        """Clears the notification cache on an error, since it must match the committed state."""
        try:
            yield
        except BaseException:
            self._notification_cache.clear()
            raise

    def close(self) -> None:
        """Releases the file or session; then another agent may open the store."""
        with self._database.translate_errors():
            self._database.close()
