"""Class logits to what the three tasks make of them.

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
        """Score and class of each query, and whether it is sure enough; (Q,) each."""
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
        """As above."""
        return logits.sigmoid()

    def semantic(self, logits: Tensor) -> Tensor:
        """As above."""
        probabilities = logits.sigmoid()
        return probabilities if self.temperature is None else (probabilities / self.temperature).softmax(-1)

    def panoptic(self, logits: Tensor, threshold: float) -> tuple[Tensor, Tensor, Tensor]:
        """As above; sure is what has a probability above the threshold before the classes compete."""
        scores, labels = self.semantic(logits).max(-1)
        return scores, labels, logits.sigmoid().amax(-1) > threshold


ClassScores = SoftmaxClasses | SigmoidClasses
SOFTMAX = SoftmaxClasses()


def class_scores(num_logits: int, num_classes: int, temperature: float | None = 0.06) -> ClassScores:
    """One more logit than classes is no-object's; as many as classes are sigmoids'."""
    if num_logits not in (num_classes, num_classes + 1):
        raise ValueError(f'{num_logits} class logits fit neither {num_classes} classes nor these and no-object')
    return SOFTMAX if num_logits > num_classes else SigmoidClasses(temperature)
