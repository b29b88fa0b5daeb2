"""Which sessions a viewer sees."""

from sqlalchemy import Connection, delete, select

from magellon.platform.store.schema import access, sessions, users


def list_sessions_of(connection: Connection, user_id: int) -> frozenset[int]:
    return frozenset(connection.execute(select(access.c.session_id).where(access.c.user_id == user_id)).scalars())


def list_people_of(connection: Connection, session_id: int) -> list[str]:
    """Names of those a session was given to."""
    query = select(users.c.name).join_from(access, users).where(access.c.session_id == session_id).order_by(users.c.name)
    return list(connection.execute(query).scalars())


def give_session(connection: Connection, session_id: int, user_id: int) -> bool:
    """Let a user see a session; False when they could already."""
    if session_id in list_sessions_of(connection, user_id):
        return False
    connection.execute(access.insert().values(session_id=session_id, user_id=user_id))
    return True


def withdraw_session(connection: Connection, session_id: int, user_id: int) -> bool:
    """The reverse; False when they could not see it."""
    done = delete(access).where(access.c.session_id == session_id, access.c.user_id == user_id)
    return connection.execute(done).rowcount > 0


def find_session(connection: Connection, name: str) -> int | None:
    found: int | None = connection.execute(select(sessions.c.id).where(sessions.c.name == name)).scalar_one_or_none()
    return found
