"""What a training step keeps for its backward pass: one image of 1024 x 1024, 14 objects, ResNet-50, float32.

Counted: bytes that are allocated when the loss is known and were not before. Deformable attention counts as its CUDA
operator, which keeps values, sampling locations and weights; a stand-in that keeps just these takes its place on both
sides. Peer: MMDetection's model. Equal: each of the 30 losses, with equal weights, objects and points.

Where nothing is recomputed, a second count says what they belong to: the storages that the graph holds, each once,
without parameters and buffers, by the part of the model that saved them first.

Targets: at most 0.68 of the peer's with nothing recomputed, and at most 0.35 in the low-memory setting, which
recomputes every layer and block.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from weakref import WeakSet

from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from benchmarks import peers
from benchmarks.counted_operator import operator_counted
from benchmarks.harness import Row, Scale, kept_memory
from benchmarks.training import LAYERS, autocast, equal_losses, replaying, same_points, total

NOTHING = 'nothing recomputed'
# Our options that trade time for memory.
SETTINGS = {
    NOTHING: dict(activation_checkpointing='none'),
    "activation_checkpointing='norms', the default": dict(),
    "activation_checkpointing='ffn'": dict(activation_checkpointing='ffn'),
    "activation_checkpointing='full' and the backbone's with_cp=True": dict(
        activation_checkpointing='full', backbone_options=dict(with_cp=True)
    ),
}
TARGETS = [0.68, None, None, 0.35]
# The part of the model that a module is counted as, by the end of its name; the innermost one counts.
PARTS = {
    'backbone': 'backbone',
    'pixel_decoder': 'pixel decoder, rest',
    'encoder.layers.#.self_attn': 'deformable attention',
    'encoder.layers.#.ffn': 'encoder FFN',
    'transformer_decoder.layers.#': 'transformer decoder, rest',
    'transformer_decoder.layers.#.cross_attn': 'cross-attention',
    'criterion': 'criterion',
}
REST = 'heads, masks and losses outside of these'


class Packed:
    """A saved tensor while the graph holds it."""

    def __init__(self, tensor: Tensor, part: str, number: int):
        self.tensor = tensor
        self.part = part
        self.number = number


@dataclass
class SavedTensors:
    """Bytes kept for backward, by part of the model."""

    by_part: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def total(self) -> int:
        return sum(self.by_part.values())


def rows(scale: Scale) -> Iterator[Row]:
    size = 256 if scale.quick else 1024
    objects = 14
    inputs = peers.images(1, size, size).to(scale.device)
    samples = peers.samples(1, size, size, objects, device=scale.device)
    theirs = peers.mmdet_detector(peers.our_detector()).to(scale.device).train()
    their_saved, their_bytes = None, None

    def forward(model: nn.Module) -> dict[str, Tensor]:
        with autocast(scale.device, scale.dtype):
            return model.loss(inputs, samples)

    for (setting, options), target in zip(SETTINGS.items(), TARGETS, strict=True):
        ours = peers.our_detector(**options).to(scale.device).train()
        run = partial(forward, ours)
        with operator_counted(), same_points(ours.panoptic_head) as points:
            losses, mine = saved_tensors(ours, run)
            their_run = replaying(partial(forward, theirs), points, range(LAYERS))
            their_losses, others = their_saved = their_saved or saved_tensors(theirs, their_run)
            tolerance = equal_losses(losses, their_losses, loose=scale.dtype != 'float32')
            base = dict(case='activations', metric='activations', peer='mmdet', outputs_equal=True, tolerance=tolerance)
            title = f'training step, {size} x {size}, {objects} objects, {setting}'
            their_bytes = their_bytes or kept_memory(partial(loss, their_run))  # the same for all settings
            yield Row(part=title, ours=kept_memory(partial(loss, run)), theirs=their_bytes, target=target, **base)
            if setting != NOTHING:  # what is recomputed brings hooks of its own, which hide from ours what they keep
                continue
            yield Row(part=f'{title}: tensors of the graph', ours=mine.total, theirs=others.total, **base)
            for part in sorted({*mine.by_part, *others.by_part}, key=lambda name: -others.by_part[name]):
                yield Row(part=f'{title}: {part}', ours=mine.by_part[part], theirs=others.by_part[part], **base)


def loss(run: Callable[[], dict[str, Tensor]]) -> Tensor:
    return total(run())


def saved_tensors(model: nn.Module, run: Callable[[], dict[str, Tensor]]) -> tuple[dict[str, Tensor], SavedTensors]:
    """The losses without graph, and what their graph held."""
    alive: WeakSet[Packed] = WeakSet()
    stack, numbers = [REST], count()

    def pack(tensor: Tensor) -> Packed:
        packed = Packed(tensor.detach(), stack[-1], next(numbers))  # an output would hold its own graph for ever
        alive.add(packed)
        return packed

    handles = []
    for name, module in model.named_modules():
        part = part_of(name)
        if part:
            handles.append(module.register_forward_pre_hook(lambda *_, part=part: stack.append(part)))
            handles.append(module.register_forward_hook(lambda *_: stack.pop() and None, always_call=True))
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    with saved_tensors_hooks(pack, lambda packed: packed.tensor):
        losses = run()
        alone = total(losses)
    for handle in handles:
        handle.remove()
    result, counted = SavedTensors(), set()
    for packed in sorted(alive, key=lambda packed: packed.number):  # a storage counts where it was saved first
        storage = packed.tensor.untyped_storage()
        if storage.data_ptr() not in own | counted:
            counted.add(storage.data_ptr())
            result.by_part[packed.part] += storage.nbytes()
    del alone
    return {name: value.detach() for name, value in losses.items()}, result


def part_of(name: str) -> str | None:
    """What a module is counted as, None for the same as what calls it."""
    name = '.'.join('#' if piece.isdigit() else piece for piece in name.split('.'))
    return next((part for end, part in PARTS.items() if name == end or name.endswith('.' + end)), None)
