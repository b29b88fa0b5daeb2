"""The two streams: tasks on their way to workers, and what workers say about them on its way to the ledger."""

from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

TASKS = "TASKS"
EVENTS = "EVENTS"
LEDGER_CONSUMER = "ledger"
EVENT_SUBJECT = "event"
ACKNOWLEDGE_WITHIN = 30.0
"""Seconds after which a task whose worker fell silent is given to another one. Workers extend it while they compute."""
_DUPLICATE_WINDOW = 30.0
_REPLICAS = 3


_URGENT = "urgent"


def task_subject(category: str, backend: str, urgent: bool = False) -> str:
    """Urgent tasks have a lane of their own, which workers look at first."""
    return f"task.{category}.{backend}.{_URGENT}" if urgent else f"task.{category}.{backend}"


def consumer_name(category: str, backend: str, urgent: bool = False) -> str:
    return f"{category}__{backend}__{_URGENT}" if urgent else f"{category}__{backend}"


def count_replicas(client: Client) -> int:
    """On how many servers a stream is kept: three on a cluster, so that one may die."""
    return _REPLICAS if client._server_info.get("cluster") else 1


async def ensure_streams(client: Client) -> None:
    """Make both streams and the ledger's consumer; no change if they are there.

    On a cluster of fewer than three servers with JetStream it raises what the cluster says about that.
    """
    manager = client.jetstream(timeout=5)
    for name, subjects in ((TASKS, "task.>"), (EVENTS, f"{EVENT_SUBJECT}.>")):
        await manager.add_stream(
            StreamConfig(
                name=name,
                subjects=[subjects],
                retention=RetentionPolicy.WORK_QUEUE,
                storage=StorageType.FILE,
                discard=DiscardPolicy.NEW,
                duplicate_window=_DUPLICATE_WINDOW,
                num_replicas=count_replicas(client),
            )
        )
    await manager.add_consumer(
        EVENTS,
        ConsumerConfig(
            durable_name=LEDGER_CONSUMER, ack_policy=AckPolicy.EXPLICIT, ack_wait=ACKNOWLEDGE_WITHIN, max_ack_pending=10000
        ),
    )


async def ensure_task_consumer(client: Client, category: str, backend: str, urgent: bool = False) -> None:
    """Make the one durable consumer of a lane of a backend's tasks; no change if it is there."""
    await client.jetstream(timeout=5).add_consumer(
        TASKS,
        ConsumerConfig(
            durable_name=consumer_name(category, backend, urgent),
            filter_subject=task_subject(category, backend, urgent),
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACKNOWLEDGE_WITHIN,
            max_ack_pending=100000,
        ),
    )
