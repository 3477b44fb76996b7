"""Class logits to the probabilities that the three tasks need.

Shapes: Q queries, C classes.
"""

from torch import Tensor


class SoftmaxClasses:
    """Logits (Q, C + 1) that share one probability, the last is no-object (MaskFormer, Mask2Former)."""

    def instance(self, logits: Tensor) -> Tensor:
        """Probabilities (Q, C) of the (query, class) pairs."""
        return logits.softmax(-1)[:, :-1]

    def semantic(self, logits: Tensor) -> Tensor:
        """Weights (Q, C) of the masks in each class's score."""
        return self.instance(logits)

    def panoptic(self, logits: Tensor, threshold: float) -> tuple[Tensor, Tensor, Tensor]:
        """Score and class of each query, and whether the score exceeds the threshold and the class is an object's; (Q,)
        each."""
        scores, labels = logits.softmax(-1).max(-1)
        return scores, labels, (labels != logits.shape[-1] - 1) & (scores > threshold)


class SigmoidClasses:
    """Logits (Q, C), each with a probability of its own (Mask DINO, whose official inference this is).

    Args:
        temperature: where the classes of a query compete, in panoptic and semantic results, a softmax of the
            probabilities over this; None for the probabilities as they are.
    """

    def __init__(self, temperature: float | None = 0.06):
        self.temperature = temperature

    def instance(self, logits: Tensor) -> Tensor:
        """Probabilities (Q, C) of the (query, class) pairs."""
        return logits.sigmoid()

    def semantic(self, logits: Tensor) -> Tensor:
        """Weights (Q, C) of the masks in each class's score."""
        probabilities = logits.sigmoid()
        return probabilities if self.temperature is None else (probabilities / self.temperature).softmax(-1)

    def panoptic(self, logits: Tensor, threshold: float) -> tuple[Tensor, Tensor, Tensor]:
        """Score and class of each query, and whether its largest probability before the classes compete exceeds the
        threshold; (Q,) each."""
        scores, labels = self.semantic(logits).max(-1)
        return scores, labels, logits.sigmoid().amax(-1) > threshold


ClassScores = SoftmaxClasses | SigmoidClasses
SOFTMAX = SoftmaxClasses()


def class_scores(num_logits: int, num_classes: int, temperature: float | None = 0.06) -> ClassScores:
    """The reading of class logits that their number implies: C + 1 are a softmax with no-object, C are sigmoids.

    Raises:
        ValueError: the number is neither.
    """
    if num_logits not in (num_classes, num_classes + 1):
        raise ValueError(f'{num_logits} class logits fit neither {num_classes} classes nor these and no-object')
    return SOFTMAX if num_logits > num_classes else SigmoidClasses(temperature)
