"""Methods that carry the influence of each parameter, see `_influence.py`."""

import dataclasses
from typing import Any

from jax import Array

from seqjax.online import _influence
from seqjax.online._method import Method
from seqjax.online._step import Step, real_parts, to_vector


@dataclasses.dataclass(frozen=True)
class Traced(Method):
    """Multiplies the influence by a matrix for each block of the state; `kept` says by which."""

    def by_unit(self, step: Step) -> bool:
        """Returns whether each unit is a block; if not, the whole state is one block."""
        return True

    def kept(self, step: Step, components: int) -> Array:
        """Returns the matrices, (F, F, U), of a step whose blocks have F = `components` numbers."""
        raise NotImplementedError(f"{type(self).__name__} must define `kept`.")

    def begin(self, step: Step, key: Array | None) -> Any:
        """Returns zeros for the parameters and the identity for the start."""
        vector, owners = to_vector(step.state), self._owners(step)
        components = self._components(step)
        blocks = vector.size // components
        return _influence.begin(owners, real_parts(step.params), components, blocks, vector.dtype)

    def advance(self, step: Step, trace: Any, key: Array | None) -> Any:
        """Returns the influence after a step."""
        kept = self.kept(step, self._components(step))
        return _influence.advance(step, self._owners(step), kept, trace)

    def pull(self, step: Step, trace: Any, d_state: Array) -> tuple[list[Array], Array]:
        """Multiplies the gradient of the state by the influence."""
        return _influence.pull(self._owners(step), real_parts(step.params), trace, d_state)

    def _owners(self, step: Step) -> _influence.Owners:
        return _influence.find_owners(step, by_unit=self.by_unit(step))

    def _components(self, step: Step) -> int:
        size = to_vector(step.state).size
        return _influence.components(step) if self.by_unit(step) else size
