"""Turns in SQL Server: a lock of the application's (sp_getapplock) that ends with the transaction.

It is by schema and name in the database that holds the table, without regard to case: where a
collation tells `T` from `t`, loads of the two take turns without need, which does no harm.
"""

from __future__ import annotations

from pit.sql.driver import CANCELLED, Failure, SqlFailure
from pit.sql.text.dialect import SQLSERVER
from pit.sql.transfer.turns.claim import Claim, Taking, Turn, number_of

_TIMED_OUT, _ENDED, _DEADLOCK = -1, -2, -3
_NO_SUCH_LOCKS = frozenset(("2812", "229", "102", "156", "15151", "103010", "104220", "40517"))
"""No such procedure, or no right to call it; warehouses that have a part of T-SQL."""


def take(database: Taking, claim: Claim) -> Turn:
    """Wait for the turn, in a transaction that has done nothing yet.

    Where the server has no such locks, the load goes without them, and the log says so.
    """
    turn = Turn(table=claim.table, schema_missing=True)
    try:
        if _asked(database, claim, patience=0) == _TIMED_OUT:
            claim.waits()
            _asked(database, claim, patience=-1)
        return turn
    except SqlFailure as error:
        if error.failure.kind not in _NO_SUCH_LOCKS:
            raise
        refusal = error.failure.message.splitlines()[0]
    database.roll_back()
    database.begin()
    claim.tell(f"loads into {claim.table} cannot take turns here: {refusal}")
    return turn


def _asked(database: Taking, claim: Claim, patience: int) -> int:
    """What the procedure returns: 0 or more once the lock is held."""
    found = int(str(database.rows(_request(claim, patience))[0][0]))
    if found == _DEADLOCK:
        raise SqlFailure(Failure(message="deadlock while waiting for the table", kind="1205"))
    if found == _ENDED:
        raise SqlFailure(Failure(message="interrupted", kind=CANCELLED, retryable=False))
    if found < _TIMED_OUT:
        message = f"sp_getapplock returned {found}"
        raise SqlFailure(Failure(message=message, kind="applock", retryable=False))
    return found


def _request(claim: Claim, patience: int) -> str:
    """The call. A driver's implicit transaction begins with the first table that is read."""
    table = claim.table
    own = (table.schema.casefold(), table.name.casefold())
    # A table of a linked server has its lock here: one there would need a distributed transaction.
    far = (table.server.casefold(), table.catalog.casefold()) if table.server else ()
    database = "" if table.server or not table.catalog else f"{SQLSERVER.quote(table.catalog)}."
    resource = SQLSERVER.literal(f"pit load {number_of('table', *far, *own):x}")
    mode = SQLSERVER.literal("Shared" if claim.shared else "Exclusive")
    return (
        "SET NOCOUNT ON; DECLARE @turn int; SELECT @turn = count(*) FROM sys.schemas; "
        f"EXEC @turn = {database}sys.sp_getapplock @Resource = {resource}, @LockMode = {mode}, "
        f"@LockOwner = N'Transaction', @LockTimeout = {patience}; "
        "SET NOCOUNT OFF; SELECT @turn AS turn"
    )
