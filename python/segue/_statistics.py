"""What the `statistics()` methods return; made by the Rust core."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ParkingLotStatistics:
    tasks_waiting: int


@dataclass(frozen=True)
class EventStatistics:
    tasks_waiting: int


@dataclass(frozen=True)
class LockStatistics:
    locked: bool
    owner: asyncio.Task[Any] | None
    tasks_waiting: int


@dataclass(frozen=True)
class ConditionStatistics:
    tasks_waiting: int
    lock_statistics: LockStatistics


@dataclass(frozen=True)
class CapacityLimiterStatistics:
    borrowed_tokens: int
    total_tokens: int | float
    borrowers: list[Any]
    tasks_waiting: int


@dataclass(frozen=True)
class MemoryChannelStatistics:
    current_buffer_used: int
    max_buffer_size: int | float
    open_send_channels: int
    open_receive_channels: int
    tasks_waiting_send: int
    tasks_waiting_receive: int
    peak_buffer_used: int
