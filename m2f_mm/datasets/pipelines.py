"""The steps of a pipeline of MMDetection or MMSegmentation, as configs or built."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple


def type_name(part: Any) -> str:
    """Name of the class of an object, or of the one that a config asks for, without its scope; '' where it has none."""
    kind = part.get('type', '') if isinstance(part, Mapping) else type(part)
    return (kind if isinstance(kind, str) else kind.__name__).rsplit('.', 1)[-1]


def iter_transforms(pipeline: Any) -> Iterator[Any]:
    """The steps of a pipeline, each followed by those inside of it."""
    yield from (step for step, _ in placed_transforms(pipeline))


def placed_transforms(pipeline: Any, place: str = 'pipeline') -> Iterator[tuple[Any, str]]:
    """The same, each with what messages call it.

    Args:
        pipeline: steps as configs or built, or something that has them as ``transforms``.
        place: its path, such as 'train_dataloader.dataset.pipeline'.
    """
    for index, step in enumerate(getattr(pipeline, 'transforms', pipeline) or ()):
        if isinstance(step, list | tuple):
            yield from placed_transforms(step, f'{place}[{index}]')
            continue
        here = f'{place}[{index}] ({type_name(step)})'
        yield step, here
        inner = step.get('transforms') if isinstance(step, Mapping) else getattr(step, 'transforms', None)
        yield from placed_transforms(inner, here)


def loads(step: Any) -> bool:
    """Whether a step reads files, by the naming of OpenMMLab: ``LoadAnnotations``, ``InferencerLoader``."""
    return 'Load' in type_name(step)


class PipelineParts(NamedTuple):
    """The steps of a pipeline by what they do, each in their order."""

    load: list
    transform: list
    pack: list


def split_pipeline(pipeline: Sequence) -> PipelineParts:
    """Loading, transforms and packing of a pipeline; of a clip's the steps for each frame, see ``frame_steps``."""
    parts = PipelineParts([], [], [])
    for step in frame_steps(pipeline):
        kind = parts.load if loads(step) else parts.pack if type_name(step).startswith('Pack') else parts.transform
        kind.append(step)
    return parts


def frame_steps(pipeline: Sequence) -> list:
    """The configs of a pipeline; of one that has a ``TransformBroadcaster`` what that does with each frame of a
    clip."""
    return list(next((step['transforms'] for step in pipeline if type_name(step) == 'TransformBroadcaster'), pipeline))
