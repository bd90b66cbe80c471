"""TensorBoard's events, written at once: a killed run loses none, and a full disk ends them and not the run."""

import time
from typing import Any, NamedTuple

import numpy as np
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog


class Events(NamedTuple):
    """A file of events; `open_events` makes one. Every method raises OSError where it cannot write.

    Attributes:
      writer: tensorboardX's, in the caller's thread. (Its SummaryWriter writes in a thread of its own, holds two
        minutes of events back, and waits for ever once a write has failed there.)
    """

    writer: EventsWriter

    def scalars(self, step: int, values: dict[str, Any]) -> None:
        """The numbers among some values."""
        for name, value in values.items():
            if isinstance(value, int | float):
                self._write(step, summary=summary.scalar(name, value))
        self.writer.flush()

    def picture(self, step: int, name: str, picture: np.ndarray) -> None:
        """A picture, uint8 `[height, width, 1 or 3]`."""
        self._write(step, summary=summary.image(name, picture, dataformats="HWC"))
        self.writer.flush()

    def close(self) -> None:
        """Closes the file."""
        self.writer.close()

    def _write(self, step: int, **what: Any) -> None:
        self.writer.write_event(Event(wall_time=time.time(), step=step, **what))


def open_events(workdir: str, first: int) -> Events:
    """A new file of events in a directory; those of older files from step `first` on are no longer shown."""
    # tensorboardX names a file by the second, and empties one that has the name already; readers take them in order.
    events = Events(EventsWriter(f"{workdir}/events", f".{time.time_ns()}"))
    events._write(first, session_log=SessionLog(status=SessionLog.START))
    events.writer.flush()
    return events
