"""The `fit` of all autoencoders, with the contract of scikit-learn."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._data.rows import TrainingData
from .._data.validation import check_weights, weighted_mean
from .._data.world import World
from .._model.learn import (
    Learnt,
    Training,
    conclude,
    report_dead_layer,
    set_up,
    snapshot,
)
from .._model.model import CodeMap, Model, Side
from .._model.plan import Plan
from .._networks.autoencoder import Autoencoder
from .._parallel.context import across
from .._persistence.checkpoint import (
    Checkpoint,
    open_checkpoint,
    open_shared_checkpoint,
)
from .._persistence.fingerprint import describe_fit
from .._training.fitting import Fit, train_alone, training_strategy
from .._training.resources import compute, is_out_of_memory
from .._training.run import Run
from .._training.seeds import draw_seed
from .._warnings import warn
from .engine import EngineParameters
from .fitted import FittedEstimator

if TYPE_CHECKING:
    from .._parallel.world import ProcessWorld


def can_stream(estimator: BaseAutoencoder) -> bool:
    """Whether the data may come in parts; raises an AttributeError if it may not."""
    reasons = {
        "early_stopping": "it cannot hold out rows of a stream",
        "whiten_code": "the code of a stream changes with every part",
    }
    for name, reason in reasons.items():
        if getattr(estimator, name, False) not in (False, "auto"):
            raise AttributeError(
                f"partial_fit does not support {name}=True: {reason}. Set "
                f"{name}=False, or use fit."
            )
    return True


class BaseAutoencoder(EngineParameters, FittedEstimator):
    """Fits a network to reconstruct its input, and applies it.

    A subclass stores parameters, validates its type of data, and resolves both to a
    `Plan`. The layers below return values and never call the estimator; the result of a
    fit is stored in attributes once, at the end.
    """

    _last_attribute = "network_"
    # Input side of the model.
    _side: ClassVar[type[Side]]
    _model: Model[Any]

    network_: Autoencoder
    n_components_: int
    features_: str
    loss_function_: str
    loss_curve_: list[float]
    n_iter_: int
    loss_: float
    best_loss_: float
    validation_scores_: list[float] | None
    best_validation_score_: float | None
    n_dead_: int | None

    # Methods of subclasses

    @abstractmethod
    def _read_training_data(
        self,
        X: Any,
        sample_weight: ArrayLike | None,
        before: Model[Any] | None,
        *,
        min_rows: int = 2,
        world: World | None = None,
    ) -> tuple[TrainingData, Any]:
        """Validate the data of a fit.

        Parameters
        ----------
        X : array-like, sparse matrix, frame or Blocks
            The data.
        sample_weight : array-like of shape (n_samples,) or None
            Weights of the rows.
        before : Model or None
            Model to continue from; None for a fit from the beginning.
        min_rows : int, default=2
            Minimum number of rows.
        world : World, optional
            Processes that each validate their rows.

        Returns
        -------
        data : TrainingData
            The rows with non-zero weight.
        form : object
            Other results of the validation, which `_plan` gets.
        """

    @abstractmethod
    def _plan(
        self,
        data: TrainingData,
        form: Any,
        before: Model[Any] | None,
        *,
        in_parts: bool,
    ) -> Plan:
        """Resolve the parameters for the data.

        Parameters
        ----------
        data : TrainingData
            The training rows.
        form : object
            Second result of `_read_training_data`.
        before : Model or None
            Model to continue from.
        in_parts : bool
            Whether the data is a part of a stream, which is trained on for one epoch.
        """

    def _holds_out(self, data: TrainingData) -> bool:
        """Whether some of the rows are held out to validate by."""
        return bool(self.early_stopping)

    def _hold_out(
        self,
        data: TrainingData,
        form: Any,
        random_state: np.random.RandomState,
    ) -> tuple[TrainingData, TrainingData | None]:
        """Return the rows to train on, and those to validate by."""
        if not self._holds_out(data):
            return data, None
        return data.split(self.validation_fraction, random_state)

    def _columns_of(self, form: Any) -> Any:
        """Return what distinguishes these columns from others with equal rows.

        Parameters
        ----------
        form : object
            Second result of `_read_training_data`.
        """
        return None

    def _attributes_of(self, learnt: Learnt) -> dict[str, Any]:
        """Return additional fitted attributes of a subclass."""
        return {}

    # Fitting

    def _fit(self, X: Any, y: Any, sample_weight: ArrayLike | None) -> None:
        """Train in this process, or with others."""
        if self._why_alone is None and (processes := across.get()) is not None:
            processes.fit(self, X, y, sample_weight)
        else:
            self._fit_here(X, y, sample_weight)

    def _fit_here(
        self,
        X: Any,
        y: Any,
        sample_weight: ArrayLike | None,
        world: ProcessWorld | None = None,
    ) -> None:
        """Train from the beginning, or resume from the checkpoint."""
        self._validate_params()
        before = self._model_to_go_on_from() if self.warm_start else None
        # Other processes of a world may have the rows.
        data, form = self._read_training_data(
            X, sample_weight, before, min_rows=2 if world is None else 0, world=world
        )
        self._fit_rows(data, form, before, task_of(self, X, y, sample_weight))

    def _fit_rows(
        self,
        data: TrainingData,
        form: Any,
        before: Model[Any] | None,
        task: dict[str, Any],
    ) -> None:
        """Train on the results of `_read_training_data`; `task` is for callbacks."""
        # If the fit fails after this point, the estimator must not look fitted.
        forgotten = ["_optimizer_state", "_random_state"]
        if before is None:
            forgotten += ["network_", "_model", "row_total_"]
        for name in forgotten:
            self.__dict__.pop(name, None)
        with (
            _memory_advice(self),
            _checkpoint_of(self, data, self._columns_of(form), before) as checkpoint,
            torch.inference_mode(False),
            torch.enable_grad(),
        ):
            training = self._set_up(data, form, checkpoint, before)
            self._train(training, task, checkpoint, before)

    def _set_up(
        self,
        data: TrainingData,
        form: Any,
        checkpoint: Checkpoint | None,
        before: Model[Any] | None,
    ) -> Training:
        """Resolve the parameters and set up the run."""
        seed = self.random_state
        if checkpoint is not None and seed is None:
            seed = checkpoint.seed
        random_state = check_random_state(seed)
        data, held_out = self._hold_out(data, form, random_state)
        # A user's network builder may itself call `fit`. Train such nested fits
        # immediately; queueing them would deadlock the outer one.
        token = training_strategy.set(train_alone)
        try:
            plan = self._plan(data, form, before, in_parts=False)
            training = set_up(plan, data, held_out, random_state, before=before)
        finally:
            training_strategy.reset(token)
        if checkpoint is not None:
            checkpoint.restore(training.run)
        return training

    def _train(
        self,
        training: Training,
        task: dict[str, Any],
        checkpoint: Checkpoint | None,
        before: Model[Any] | None,
    ) -> None:
        """Train to the end, and store the results."""
        run = training.run
        context = self._init_callback_context(max_subtasks=run.schedule.max_iter)
        context.call_on_fit_task_begin(**task)

        goes_on = before is not None
        epochs = self._epochs(training, context, task, checkpoint, goes_on=goes_on)
        try:
            training_strategy.get()(Fit(run, epochs))
        except KeyboardInterrupt:
            if training.run.rows.is_shared:
                # The others cannot go on.
                raise
            warn("Training interrupted by user.")
        self.__dict__.update(self._attributes(conclude(training), run, goes_on=goes_on))
        if run.step.network.rectifiers():
            report_dead_layer(training)
        context.call_on_fit_task_end(**task, reconstruction_attributes={})

    def _epochs(
        self,
        training: Training,
        context: Any,
        task: dict[str, Any],
        checkpoint: Checkpoint | None,
        *,
        goes_on: bool,
    ) -> Iterator[None]:
        """Call the callbacks and print around each epoch; training is in between."""
        run = training.run

        def now() -> dict[str, Any]:
            return self._attributes(snapshot(training), run, goes_on=goes_on)

        if (goes_on or training.plan.start is not None) and not run.has_begun:
            run.resume()
        is_done = run.finished or (checkpoint is not None and checkpoint.is_done)
        while not is_done:
            epoch = context.subcontext("epoch").call_on_fit_task_begin(**task)
            yield
            if self.verbose and run.reports:
                print(f"[{type(self).__name__}] {run.summary()}")
            stops = epoch.call_on_fit_task_end(**task, reconstruction_attributes=now)
            is_done = run.agree(stops) or run.finished
            # Save after the callbacks: on resume they are not called again for this
            # epoch, so their decision to stop must already be in `is_done`.
            if checkpoint is not None:
                checkpoint.save(run, is_done=is_done)

    def _partial_fit(self, X: Any, sample_weight: ArrayLike | None) -> None:
        """Train for one epoch on a part of the data."""
        self._validate_params()
        before = self._model_to_go_on_from()
        data, form = self._read_training_data(
            X, sample_weight, before, min_rows=2 if before is None else 1
        )
        if not hasattr(self, "_random_state"):
            self._random_state = check_random_state(self.random_state)
        with (
            _memory_advice(self),
            torch.inference_mode(False),
            torch.enable_grad(),
        ):
            training = set_up(
                self._plan(data, form, before, in_parts=True),
                data,
                None,
                self._random_state,
                before=before,
                optimizer_state=getattr(self, "_optimizer_state", None),
            )
            run = training.run
            with compute(run.work, run.rows.device):
                run.advance()
            learnt = conclude(training)
        attributes = self._attributes(learnt, run, goes_on=before is not None)
        self.__dict__.update(attributes)
        self._optimizer_state = {
            "solver": self.solver,
            **run.step.optimizer.state(),
        }

    def _model_to_go_on_from(self) -> Model[Any] | None:
        return self._model if self.__sklearn_is_fitted__() else None

    # What a fit leaves

    def _attributes(self, learnt: Learnt, run: Run, *, goes_on: bool) -> dict[str, Any]:
        """Return the fitted attributes."""
        model = learnt.model
        losses = [*(self.loss_curve_ if goes_on else []), *run.losses]
        scores = [] if run.validation is None else run.validation_scores
        if goes_on:
            scores = (self.validation_scores_ or []) + scores
        last = losses[-1] if losses else math.nan
        return {
            **model.side.attributes(),
            "network_": model.network,
            "n_components_": model.n_components,
            "features_": model.code.features,
            "loss_curve_": losses,
            "n_iter_": len(losses),
            "loss_": run.stopping.best_loss if run.went_back else last,
            "best_loss_": min(losses, default=math.nan),
            "validation_scores_": scores or None,
            "best_validation_score_": (
                None
                if run.validation is None
                else run.step.objective.score_of_zero_loss - run.stopping.best_loss
            ),
            "n_dead_": learnt.n_dead,
            **model.code.attributes(),
            **self._attributes_of(learnt),
            "_model": model,
        }

    def _make_model(self) -> Model[Any]:
        attributes = vars(self)
        side = self._side.from_attributes(attributes)
        return Model(side, self.network_, CodeMap.from_attributes(attributes))

    # Applying

    def _errors(self, X: Any) -> NDArray[np.float64]:
        """Return the reconstruction error of each row, in the user's units."""
        check_is_fitted(self)
        model = self._model
        errors: NDArray[np.float64] = model.errors(self._read_rows(X))
        with np.errstate(over="ignore"):
            errors *= model.side.error_unit
        return errors

    def _mean_error(self, X: Any, sample_weight: ArrayLike | None) -> float:
        """Return the weighted mean of the rows' errors, in the user's units."""
        check_is_fitted(self)
        model, matrix = self._model, self._read_rows(X)
        weights = check_weights(sample_weight, matrix)
        with np.errstate(over="ignore"):
            mean = weighted_mean(model.errors(matrix), weights)
            return float(mean * model.side.error_unit)


def task_of(
    estimator: BaseAutoencoder, X: Any, y: Any, sample_weight: ArrayLike | None
) -> dict[str, Any]:
    """Return what callbacks are told of a fit."""
    task = {"estimator": estimator, "X": X, "y": X if y is None else y}
    if sample_weight is not None:
        task["metadata"] = {"sample_weight": sample_weight}
    return task


def _checkpoint_of(
    estimator: BaseAutoencoder,
    data: TrainingData,
    columns: Any,
    before: Model[Any] | None,
) -> AbstractContextManager[Checkpoint | None]:
    """Open the checkpoint of a fit, if the user asks for one."""
    if estimator.checkpoint is None:
        return nullcontext()
    seed = None
    if estimator.random_state is None:
        seed = draw_seed(check_random_state(None))
    first_fit = None
    if before is not None:
        weights = before.network.state()["weights"]
        first_fit = {**before.side.attributes(), "network_": weights}
    description = describe_fit(estimator, data, columns=columns, first_fit=first_fit)
    folder, verbose = Path(estimator.checkpoint).expanduser(), bool(estimator.verbose)
    if data.world is not None:
        return open_shared_checkpoint(
            data.world, folder, description, seed, verbose=verbose
        )
    return open_checkpoint(folder, description, seed, verbose=verbose)


@contextmanager
def _memory_advice(estimator: BaseAutoencoder) -> Iterator[None]:
    """Raise a MemoryError with advice if memory runs out."""
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
