"""Training steps that a device records once and then repeats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from .step import Step, TrainingStep

# Number of normal steps before one is recorded, for each size of a batch. The first
# steps choose kernels and allocate memory, which cannot be recorded.
_N_FIRST = 3
# What rounding may add to the difference between a repetition and a normal step, as a
# share of what the step changes.
_TOLERANCE = 0.01


class Recorder(Protocol):
    """Records work on a device."""

    def run(self, function: Callable[[], Tensor]) -> Tensor:
        """Call a function that will be recorded, and return its result."""

    def record(
        self, function: Callable[[], Tensor], generator: torch.Generator
    ) -> tuple[Callable[[], None], Tensor]:
        """Record the work of a function, without doing it.

        Parameters
        ----------
        function : callable
            Nothing that it does depends on values that it reads from the device.
        generator : torch.Generator
            The generator that it draws from, if it does. Each repetition draws anew.

        Returns
        -------
        repeat : callable
            Does the work, on the same memory.
        result : Tensor
            Result of the function. Each repetition overwrites it.

        Raises
        ------
        RuntimeError
            If the function does what cannot be recorded.
        """


class CudaRecorder:
    """Records CUDA graphs [1]_.

    Parameters
    ----------
    device : torch.device
        A CUDA device.

    References
    ----------
    .. [1] Nguyen et al., "Accelerating PyTorch with CUDA graphs", PyTorch blog, 2021.
    """

    def __init__(self, device: torch.device) -> None:
        # The default stream cannot be recorded.
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def run(self, function: Callable[[], Tensor]) -> Tensor:
        """Call a function on the stream that will be recorded."""
        present = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(present)
        with torch.cuda.stream(self._stream):
            result = function()
        present.wait_stream(self._stream)
        return result

    def record(
        self, function: Callable[[], Tensor], generator: torch.Generator
    ) -> tuple[Callable[[], None], Tensor]:
        """Record a function as a graph; see `Recorder`."""
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(generator)
        torch.cuda.synchronize(self._stream.device)
        # The context manager `torch.cuda.graph` does not go back to the stream before
        # it if the recording fails.
        with torch.cuda.stream(self._stream):
            # Other threads may use the device at the same time.
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                result = function()
            finally:
                graph.capture_end()
        return graph.replay, result


class _Batch(NamedTuple):
    """The arguments of a step."""

    rows: Tensor
    target: Tensor
    weight: Tensor | None

    def clone(self) -> _Batch:
        """Copy the arguments; a target that is the rows remains so."""
        rows = self.rows.clone()
        # Both may be views of what was loaded for several batches.
        is_same = self.target.data_ptr() == self.rows.data_ptr()
        target = rows if is_same else self.target.clone()
        weight = None if self.weight is None else self.weight.clone()
        return _Batch(rows, target, weight)

    def copy_(self, other: _Batch) -> None:
        """Overwrite the arguments by others of the same shapes."""
        self.rows.copy_(other.rows)
        if self.target is not self.rows:
            self.target.copy_(other.target)
        if self.weight is not None and other.weight is not None:
            self.weight.copy_(other.weight)


class _Recording(NamedTuple):
    """A step for batches of one size."""

    batch: _Batch
    repeat: Callable[[], None]
    loss: Tensor


class CapturedStep:
    """A step that is recorded for each size of a batch, and then repeated.

    The CPU takes longer to launch the kernels of a small step one by one than the
    device takes to run them. A recorded step is launched as a whole.

    What was recorded is first compared with a normal step. A step that cannot be
    recorded, or whose repetition does something else, remains a normal one.

    Parameters
    ----------
    step : Step
        The step. Except for the learning rate, it does the same in each call.
    recorder : Recorder
        Records work on the device of the step.
    """

    def __init__(self, step: Step, recorder: Recorder) -> None:
        self.step = step
        self.recorder = recorder
        self._can_repeat = True
        self._forget()

    def _forget(self) -> None:
        """Drop what was recorded: it uses memory that the network may have left."""
        self._version = self.step.optimizer.version
        self._n_seen: Counter[int] = Counter()
        self._recordings: dict[int, _Recording] = {}
        self._rate = self.step.optimizer.values[0].new_zeros(())

    def __call__(
        self, batch: Tensor, target: Tensor, sample_weight: Tensor | None
    ) -> Tensor:
        """Update the weights by one batch; return its loss, still on the device."""
        if not self._can_repeat:
            return self.step(batch, target, sample_weight)
        if self._version != self.step.optimizer.version:
            self._forget()
        given = _Batch(batch, target, sample_weight)
        recording = self._recordings.get(len(batch))
        return (
            self._first(given) if recording is None else self._repeat(recording, given)
        )

    def _repeat(self, recording: _Recording, given: _Batch) -> Tensor:
        self._rate.fill_(self.step.optimizer.learning_rate)
        recording.batch.copy_(given)
        recording.repeat()
        return recording.loss.clone()

    def _first(self, given: _Batch) -> Tensor:
        """Do a normal step; if there were enough of this size, record it as well."""
        n_rows = len(given.rows)
        self._n_seen[n_rows] += 1
        if self._n_seen[n_rows] <= _N_FIRST:
            return self._run(given)
        try:
            recording = self._record(given.clone())
        except RuntimeError:
            # It reads values from the device, or calls what cannot be recorded.
            self._can_repeat = False
            return self.step(*given)
        self._recordings[n_rows] = recording
        return self._compare(recording, given)

    def _run(self, given: _Batch) -> Tensor:
        """Do a normal step, and see whether all that it changes remains in place."""
        before = [tensor.data_ptr() for tensor in self._memory()]
        loss = self.recorder.run(lambda: self.step(*given))
        self._can_repeat = before == [tensor.data_ptr() for tensor in self._memory()]
        return loss

    def _record(self, own: _Batch) -> _Recording:
        optimizer, generator = self.step.optimizer, self.step.generator
        rate, optimizer.learning_rate = optimizer.learning_rate, self._rate
        try:
            repeat, loss = self.recorder.record(lambda: self.step(*own), generator)
        finally:
            optimizer.learning_rate = rate
        return _Recording(own, repeat, loss)

    def _compare(self, recording: _Recording, given: _Batch) -> Tensor:
        """Do a normal step, and see whether the recorded one does the same."""
        generator, memory = self.step.generator, self._memory()
        state, before = generator.get_state(), [tensor.clone() for tensor in memory]
        repeated_loss = self._repeat(recording, given)
        repeated = [tensor.clone() for tensor in memory]
        for tensor, value in zip(memory, before, strict=True):
            tensor.copy_(value)
        generator.set_state(state)
        loss = self.step(*given)
        after = [loss, *memory]
        start = [torch.zeros_like(loss), *before]
        self._can_repeat = all(map(_agree, [repeated_loss, *repeated], after, start))
        return loss

    def _memory(self) -> list[Tensor]:
        """Return all tensors that a step changes."""
        return [*self.step.tensors(), *self.step.optimizer.state_tensors()]


def _agree(repeated: Tensor, after: Tensor, before: Tensor) -> bool:
    """Whether a repetition and a normal step have changed a tensor in the same way."""
    if torch.equal(repeated, after):
        return True
    return bool((repeated - after).norm() <= _TOLERANCE * (after - before).norm())


def fastest(step: Step, device: torch.device) -> TrainingStep:
    """Return the step, or what does the same faster on a device.

    A user's network is not recorded, because it may do something else in each step.
    Nor is a step that waits for other processes.
    """
    is_known = step.network.is_movable and step.reduce is None
    if device.type == "cuda" and is_known:
        return CapturedStep(step, CudaRecorder(device))
    return step
