"""The scikit-learn contract of every autoencoder, written once."""

from __future__ import annotations

import math
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if

from ._blocks import Blocks, as_matrix
from ._checkpoints import describe_fit
from ._input import (
    TrainingData,
    check_range,
    check_weights,
    first_row,
    is_binary,
    refuse,
)
from ._neighbors import diffuse
from ._reading import FittedAutoencoder
from .corruption import CORRUPTIONS
from .losses import LOSSES, Loss
from .networks import Autoencoder, bind_generator
from .networks.weights import (
    copy_weights,
    own_array,
    same_shapes,
)
from .objectives import Change, Objective
from .training import (
    N_SAMPLE,
    SCHEDULES,
    Batches,
    Budget,
    Checkpoint,
    Fit,
    Run,
    Step,
    Stopping,
    StreamedMatrix,
    Streams,
    compute,
    dead_units,
    is_out_of_memory,
    learn_code_whitening,
    learn_row_normalization,
    learn_whitening,
    make_optimizer,
    number_of_batches,
    open_checkpoint,
    resolve_device,
    spawn_streams,
    step_work,
    train_alone,
    trainer,
)


def _can_stream(estimator: BaseAutoencoder) -> bool:
    """Whether the data may come in parts; an AttributeError says why not."""
    reasons = {
        "early_stopping": "it cannot hold out rows of a stream",
        "whiten_code": "the code of a stream changes with every part",
    }
    for name, reason in reasons.items():
        if getattr(estimator, name):
            raise AttributeError(
                f"partial_fit does not support {name}=True: {reason}. Set "
                f"{name}=False, or use fit."
            )
    return True


class BaseAutoencoder(CallbackSupportMixin, FittedAutoencoder, ABC):
    """Fit a network to reconstruct its input and read its code.

    A subclass stores its parameters and says, in `_build_network` and
    `_build_objective`, how they turn into a network and what it is trained for.
    """

    # What not every subclass offers as a parameter is off.
    features = "code"
    n_neighbors: int | None = None
    n_diffusion_steps = 1
    whiten: str | None = None
    whiten_regularization = 0.1
    whiten_code = False

    _parameter_constraints: dict[str, list[Any]] = {
        "loss": [StrOptions({"auto", *LOSSES})],
        "normalize_rows": [None, Interval(Real, 0, None, closed="neither")],
        "corruption": [StrOptions(set(CORRUPTIONS))],
        "corruption_rate": [Interval(Real, 0, None, closed="left")],
        "solver": [StrOptions({"adam", "sgd"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "learning_rate": [StrOptions(set(SCHEDULES))],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "max_grad_norm": [None, Interval(Real, 0, None, closed="neither")],
        "max_iter": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
        ],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "warm_start": ["boolean"],
        "checkpoint": [str, os.PathLike, None],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def _validate_params(self) -> None:
        super()._validate_params()
        if self.corruption_rate >= 1 and self.corruption != "gaussian":
            refuse(
                self,
                "corruption_rate",
                f"below 1 for corruption={self.corruption!r}, of which it is a share",
            )
        if self.loss in ("binary_cross_entropy", "poisson"):
            for name in ("whiten", "normalize_rows"):
                if getattr(self, name) is not None:
                    refuse(
                        self,
                        name,
                        f"None for loss={self.loss!r}, which is for raw values",
                    )

    @abstractmethod
    def _build_network(self, n_features: int) -> Autoencoder:
        """Build the network for rows of `n_features`, not yet initialised."""

    @abstractmethod
    def _build_objective(self, loss: Loss) -> Objective:
        """Build what training minimises, `loss` being what an error costs."""

    @with_callbacks
    def fit(
        self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train the autoencoder.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features) or \
                Blocks
            Training data: numbers, none missing. Sparse data stays sparse but for
            the batch at hand; memory-mapped data and `Blocks` stay where they are.
        y : Ignored
            Present for API consistency. Callbacks are given it, or `X`, which is what
            an autoencoder aims at.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows' reconstruction errors; None weighs all alike.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data is not usable, if the loss stops being finite
            before any epoch is done, or if the checkpoint is damaged.
        MemoryError
            If memory runs out, on the device or beside it.
        OSError
            If the checkpoint folder cannot be written to.
        RuntimeError
            If another process is busy with the same fit by the same checkpoint folder.

        Warns
        -----
        ConvergenceWarning
            If the loss stops being finite later: the best weights until then stay.
        UserWarning
            If training was interrupted from the keyboard; the estimator is usable.
            If the checkpoint folder has an unfinished fit, but of something else, or
            if it cannot be written to any more.
        """
        self._validate_params()
        resumes = self.warm_start and hasattr(self, "network_")
        data = self._check_training_data(X, sample_weight, reset=not resumes)
        # A fit that fails from here on leaves nothing that looks fitted.
        forgotten = ["_optimizer_state", "_random_state"]
        for name in forgotten if resumes else [*forgotten, "network_"]:
            self.__dict__.pop(name, None)
        task = {"estimator": self, "X": X, "y": X if y is None else y}
        if sample_weight is not None:
            task["metadata"] = {"sample_weight": sample_weight}
        with (
            _says_what_to_lower(self),
            self._open_checkpoint(data, resumes=resumes) as checkpoint,
        ):
            self._fit(data, task, checkpoint, resumes=resumes)
        return self

    def _fit(
        self,
        data: TrainingData,
        task: dict[str, Any],
        checkpoint: Checkpoint | None,
        *,
        resumes: bool,
    ) -> None:
        """Train from the beginning, or from where the checkpoint stands."""
        seed = self.random_state
        if checkpoint is not None and seed is None:
            seed = checkpoint.seed
        random_state = check_random_state(seed)
        held_out = None
        if self.early_stopping:
            data, held_out = data.split(self.validation_fraction, random_state)
        with torch.inference_mode(False), torch.enable_grad():
            # What a builder of the user's fits is trained at once: others wait for it.
            token = trainer.set(train_alone)
            try:
                run = self._make_run(data, held_out, random_state, resumes=resumes)
            finally:
                trainer.reset(token)
            if checkpoint is not None:
                checkpoint.restore(run)
            context = self._init_callback_context(max_subtasks=run.budget.max_iter)
            context.call_on_fit_task_begin(**task)
            epochs = self._epochs(run, context, task, checkpoint, resumes=resumes)
            try:
                trainer.get()(Fit(run, epochs))
            except KeyboardInterrupt:
                warnings.warn("Training interrupted by user.", stacklevel=4)
            self._conclude(run, resumes=resumes)
        context.call_on_fit_task_end(**task, reconstruction_attributes={})

    @available_if(_can_stream)
    def partial_fit(
        self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train for one epoch on a part of the data.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_samples, n_features)
            A part of the training data, of at least two rows. The first part also
            sets mean, scale and whitening: let it be a fair sample of the rest.
        y : Ignored
            Present for API consistency.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows' reconstruction errors within this part; None weighs
            all alike.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data is not usable, or if the loss is not finite.
        MemoryError
            If memory runs out, on the device or beside it.
        AttributeError
            With `early_stopping` or `whiten_code`, which need all data at once.

        Notes
        -----
        The learning rate stays at its initial value, since the length of the stream is
        unknown; dead units are not revived, and ``loss="auto"`` is the squared error.
        """
        self._validate_params()
        resumes = hasattr(self, "network_")
        data = self._check_training_data(X, sample_weight, reset=not resumes)
        if not hasattr(self, "_random_state"):
            self._random_state = check_random_state(self.random_state)
        with (
            _says_what_to_lower(self),
            torch.inference_mode(False),
            torch.enable_grad(),
        ):
            run = self._make_run(
                data, None, self._random_state, resumes=resumes, incremental=True
            )
            with compute(run.work, run.rows.device):
                run.advance()
            self._conclude(run, resumes=resumes)
        self._optimizer_state = {
            "solver": self.solver,
            **run.step.optimizer.state(),
        }
        return self

    def _open_checkpoint(
        self, data: TrainingData, *, resumes: bool
    ) -> AbstractContextManager[Checkpoint | None]:
        if self.checkpoint is None:
            return nullcontext()
        seed = None
        if self.random_state is None:
            seed = check_random_state(None).randint(np.iinfo(np.int32).max)
        description = describe_fit(self, data, self.network_ if resumes else None)
        return open_checkpoint(Path(self.checkpoint), description, seed)

    def _check_training_data(
        self, X: Any, sample_weight: ArrayLike | None, *, reset: bool
    ) -> TrainingData:
        if isinstance(X, Blocks):
            matrix = self._check_blocks(X, reset=reset)
        else:
            matrix = self._check_rows(X, reset=reset, min_rows=2)
        data = TrainingData(matrix, check_weights(sample_weight, matrix))
        return data.without_zero_weights()

    def _check_blocks(self, X: Blocks, *, reset: bool) -> StreamedMatrix:
        if self.n_neighbors is not None:
            refuse(
                self, "n_neighbors", "None for Blocks, whose rows are never together"
            )

        def check(block: Any, first: int, *, is_new: bool) -> Any:
            # Errors name the row of the stream.
            token = first_row.set(first)
            try:
                return self._check_rows(block, reset=reset and is_new and first == 0)
            finally:
                first_row.reset(token)

        return as_matrix(X, check)

    def _make_run(
        self,
        data: TrainingData,
        held_out: TrainingData | None,
        random_state: np.random.RandomState,
        *,
        resumes: bool,
        incremental: bool = False,
    ) -> Run:
        """Turn the parameters and the data into a run of the engine."""
        network = self._network_to_train(resumes=resumes)
        if not resumes:
            self.loss_function_ = self._resolve_loss(data, incremental=incremental)
        self._check_loss(data)
        budget = self._resolve_budget(len(data))
        if self.max_iter == "auto" and data.is_wide_sparse and network.starts_as_pca:
            budget = budget.for_wide_sparse_rows()
        if incremental:
            budget = budget.for_one_epoch()
        data = _in_batches(data, network, budget)
        if not resumes:
            self._standardise(data)
            self._learn_loss(data)
        work = step_work(network.n_multiplications, min(budget.batch_size, len(data)))
        device = resolve_device(self.device, work)
        streams = spawn_streams(random_state.randint(np.iinfo(np.int32).max), device)
        if not resumes:
            self._initialise(network, data, streams)
        bind_generator(network.to(device), streams.noise)
        targets = None
        if self.n_neighbors is not None:
            cpu = torch.device("cpu")
            with compute(0, cpu):
                targets = diffuse(
                    self._rows(data, cpu), self.n_neighbors, self.n_diffusion_steps
                )
        step = self._make_step(network, budget, streams, device)
        return Run(
            step,
            self._rows(data, device, targets=targets),
            Batches(
                len(data),
                budget.batch_size,
                shuffle=self.shuffle,
                generator=streams.order,
                window=data.window,
            ),
            budget,
            Stopping(
                step.tensors, tol=self.tol, n_iter_no_change=self.n_iter_no_change
            ),
            validation=None if held_out is None else self._rows(held_out, device),
            generator=streams.weights,
            work=work,
        )

    def _standardise(self, data: TrainingData) -> None:
        """Learn what is done to a row before the network sees it."""
        self.mean_, self.scale_ = data.moments()
        self._row_normalization: dict[str, Any] | None = None
        self.whitening_ = self.dewhitening_ = None
        cpu = torch.device("cpu")
        # Factorisations could give other bits on another number of threads.
        with compute(0, cpu):
            if self.normalize_rows is not None:
                normalization = learn_row_normalization(
                    self._rows(data, cpu), self.normalize_rows
                )
                self._row_normalization = {
                    **vars(normalization),
                    "mean": normalization.mean.numpy(),
                }
            if self.whiten is not None:
                whitening = learn_whitening(
                    self._rows(data, cpu), self.whiten, self.whiten_regularization
                )
                self.whitening_ = whitening.matrix.numpy()
                self.dewhitening_ = whitening.inverse_matrix.numpy()

    def _learn_loss(self, data: TrainingData) -> None:
        """Find the constants of the loss."""
        cpu = torch.device("cpu")
        self._loss_constants: dict[str, float] = {}
        loss = self._loss(cpu)
        with compute(0, cpu):
            loss.learn(self._rows(data, cpu).average)
        self._loss_constants = loss.constants

    def _resolve_loss(self, data: TrainingData, *, incremental: bool) -> str:
        if self.loss != "auto":
            return str(self.loss)
        # The first part of a stream need not be like the others.
        raw = self.whiten is None and self.normalize_rows is None and not incremental
        return "binary_cross_entropy" if raw and is_binary(data) else "squared_error"

    def _check_loss(self, data: TrainingData) -> None:
        """Raise a ValueError if the data is not what the loss is for."""
        name, kind = self.loss_function_, LOSSES[self.loss_function_]
        if self.loss not in ("auto", name):
            raise ValueError(
                f"Training cannot go on with loss={self.loss!r}, it began with "
                f"{name!r}. Use fit with warm_start=False to start anew."
            )
        if kind.lowest > -math.inf:
            check_range(data, kind.lowest, kind.highest, f"The loss {name!r}")

    def _make_step(
        self,
        network: Autoencoder,
        budget: Budget,
        streams: Streams,
        device: torch.device,
    ) -> Step:
        optimizer = make_optimizer(
            network,
            self.solver,
            learning_rate_init=budget.learning_rate_init,
            momentum=self.momentum,
            alpha=self.alpha,
        )
        state = getattr(self, "_optimizer_state", None)
        if state is not None and state["solver"] == self.solver:
            optimizer.load(state)
        return Step(
            network,
            self._build_objective(self._loss(device)),
            optimizer,
            max_grad_norm=self.max_grad_norm,
            generator=streams.noise,
        )

    def _initialise(
        self, network: Autoencoder, data: TrainingData, streams: Streams
    ) -> None:
        """Choose the first weights by a sample of the rows."""
        device = torch.device("cpu")
        rows = self._rows(data, device)
        n_rows = min(max(2048, 4 * network.widths[-1]), 2**24 // network.widths[0] + 1)
        order = torch.randperm(len(rows), generator=streams.weights, device="cpu")
        sample = np.sort(order[:n_rows].numpy())
        # Factorisations could give other bits on another number of threads.
        with compute(0, device):
            network.initialise(streams.weights, rows[sample], rows.weights(sample))

    def _resolve_budget(self, n_samples: int) -> Budget:
        """Say how long and how fast to train on `n_samples` rows."""
        batch_size = 128 if self.batch_size == "auto" else int(self.batch_size)
        n_batches = number_of_batches(n_samples, batch_size)
        return Budget(
            batch_size=batch_size,
            max_iter=(
                min(max(5, math.ceil(1000 / n_batches)), 50)
                if self.max_iter == "auto"
                else int(self.max_iter)
            ),
            learning_rate_init=float(self.learning_rate_init),
            learning_rate=self.learning_rate,
        )

    def _corruption(self) -> Change | None:
        """Return what is done to a batch before it is encoded, if anything."""
        if self.corruption_rate == 0:
            return None
        return partial(CORRUPTIONS[self.corruption], rate=self.corruption_rate)

    def _network_to_train(self, *, resumes: bool) -> Autoencoder:
        """Build a network, with the fitted weights if they are to be trained on."""
        network = self._build_network(self.n_features_in_)
        if not resumes:
            return network
        if not same_shapes(network, self.network_):
            before, now = self.network_.config, network.config
            changes = [
                f"{name} was {before.get(name)!r} and is now {now.get(name)!r}"
                for name in sorted({*before, *now})
                if before.get(name) != now.get(name)
            ]
            raise ValueError(
                "Training cannot go on, the weights do not fit the network any more: "
                f"{', '.join(changes) or 'it builds another one'}. Use fit with "
                "warm_start=False to start anew."
            )
        copy_weights(self.network_, network)
        return network

    def _epochs(
        self,
        run: Run,
        context: Any,
        task: dict[str, Any],
        checkpoint: Checkpoint | None,
        *,
        resumes: bool,
    ) -> Iterator[None]:
        """Tell callbacks and the user of each epoch, which is trained in between."""
        now = partial(self._reconstruction_attributes, run, resumes=resumes)
        if resumes and not run.has_begun:
            run.resume()
        is_done = run.finished if checkpoint is None else checkpoint.is_done
        while not is_done:
            epoch = context.subcontext("epoch").call_on_fit_task_begin(**task)
            yield
            if self.verbose:
                print(f"[{type(self).__name__}] {run.summary()}")
            stops = epoch.call_on_fit_task_end(**task, reconstruction_attributes=now)
            is_done = bool(stops) or run.finished
            # Not before callbacks have had their say, which is not asked for twice.
            if checkpoint is not None:
                checkpoint.save(run, is_done=is_done)

    def _conclude(self, run: Run, *, resumes: bool) -> None:
        """Take over what the run has come to."""
        run.finish()
        if run.stopping.diverged:
            self._report_divergence(run)
        network = run.step.network
        bind_generator(network, None)
        # Gradients and moments, in one piece of memory with the weights, are several
        # times as large, and nobody needs them any more.
        network.zero_grad(set_to_none=True)
        if network.is_movable:
            for parameter in network.parameters():
                parameter.data = parameter.detach().clone()
        self.__dict__.update(self._fitted_attributes(run, network, resumes=resumes))

    def _reconstruction_attributes(self, run: Run, *, resumes: bool) -> dict[str, Any]:
        """Describe where the run stands, with a network that training leaves alone."""
        network = Autoencoder.from_state(run.step.network.state())
        network.to(run.rows.device)
        return self._fitted_attributes(run, network, resumes=resumes)

    def _fitted_attributes(
        self, run: Run, network: Autoencoder, *, resumes: bool
    ) -> dict[str, Any]:
        """Describe where the run stands, as it is shown to users."""
        losses = [*(self.loss_curve_ if resumes else []), *run.losses]
        scores = [1 - loss for loss in run.validation_losses]
        if resumes:
            scores = (self.validation_scores_ or []) + scores
        return {
            "network_": network,
            "n_components_": int(network.config["n_components"]),
            "features_": self.features,
            "loss_curve_": losses,
            "n_iter_": len(losses),
            "loss_": losses[-1] if losses else math.nan,
            "best_loss_": min(losses, default=math.nan),
            "validation_scores_": scores or None,
            "best_validation_score_": (
                None if run.validation is None else 1 - run.stopping.best_loss
            ),
            **self._code_attributes(run, network),
        }

    def _code_attributes(self, run: Run, network: Autoencoder) -> dict[str, Any]:
        """Describe the codes of the training rows."""
        rows = run.rows
        found: dict[str, Any] = dict.fromkeys(
            ("n_dead_", "code_mean_", "code_whitening_", "code_dewhitening_")
        )
        # Factorisations could give other bits on another number of threads.
        with compute(0, rows.device), torch.no_grad():
            if network.is_sparse:
                x = rows[rows.spread(N_SAMPLE)]
                found["n_dead_"] = len(dead_units(network, x))
            if self.whiten_code:
                encode = network.sparse if self.features == "sparse" else network.encode
                whitening = learn_code_whitening(rows, encode, max(network.widths))
                assert whitening.mean is not None
                found["code_mean_"] = own_array(whitening.mean)
                found["code_whitening_"] = own_array(whitening.matrix)
                found["code_dewhitening_"] = own_array(whitening.inverse_matrix)
        return found

    def _report_divergence(self, run: Run) -> None:
        advice = (
            f"Lower learning_rate_init (now {run.budget.learning_rate_init:g}), set "
            "max_grad_norm=1.0, or scale X."
        )
        epoch = len(run.losses) + 1
        if not run.stopping.has_weights:
            raise ValueError(
                f"The loss stopped being finite in epoch {epoch}, before any weights "
                f"were worth keeping. {advice}"
            )
        warnings.warn(
            f"The loss stopped being finite in epoch {epoch}; the best weights until "
            f"then are kept. {advice}",
            ConvergenceWarning,
            stacklevel=6,
        )


@contextmanager
def _says_what_to_lower(estimator: BaseAutoencoder) -> Iterator[None]:
    """Raise a MemoryError with advice where memory runs out."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryError(
            f"Memory ran out in the fit of {type(estimator).__name__}. Lower "
            f"batch_size (now {estimator.batch_size!r}), n_components (now "
            f"{estimator.n_components!r}) or the widths of hidden layers, or choose "
            f"another device (now {str(estimator.device)!r})."
        ) from error


def _in_batches(
    data: TrainingData, network: Autoencoder, budget: Budget
) -> TrainingData:
    """Bring the rows into the form in which they are batched.

    Raises
    ------
    ValueError
        If the batches would be too small for the network.
    """
    n_batches = number_of_batches(len(data), budget.batch_size)
    smallest = len(data) // n_batches
    if smallest < network.smallest_batch:
        raise ValueError(
            f"Batch normalisation needs {network.smallest_batch} rows in a batch, got "
            f"{smallest}. Raise batch_size (now {budget.batch_size}), give weight to "
            "more rows, or leave batch normalisation out."
        )
    if n_batches == 1 and network.weighs_rows:
        return data.merge_equal_rows()
    return data
