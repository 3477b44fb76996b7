"""Features -> pixel decoder -> transformer decoder -> lazy masks (MaskFormer, figure 2; Mask2Former, figure 2).

Shapes: B images or clips, T frames (1 for images), Q queries, E channels, D mask channels, C classes.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule, ModuleList, caffe2_xavier_init
from torch import Tensor, nn

from m2f_mm.gradients import with_zero_gradients
from m2f_mm.mask_ops import fold_projection
from m2f_mm.structures import MaskPredictions, SegTargets

from .layers import Position, loads_weights, sine_position
from .recorder import PredictionRecorder
from .transformer_decoders import Memory


class MaskNetwork(BaseModule):
    """What every network behind a backbone has: a pixel decoder, a transformer decoder, and the heads that make class
    logits and mask embeddings of its queries.

    The parts are passed in constructed; the names of the parameters are MMDetection's. A subclass registers what is
    learned of its queries and then calls ``add_heads``: the order of parameters is MMDetection's, too.

    Args:
        pixel_decoder: features fine to coarse -> (mask features, memories coarse to fine); has ``embed_dims``. Where it
            has a ``mask_projection``, a last 1x1 convolution, the embeddings go through that instead of the pixels, and
            it is called with ``project`` and ``release``, see ``MSDeformAttnPixelDecoder``.
        transformer_decoder: has ``embed_dims`` and ``single_memory``: it attends to one memory, whose projection then
            has the name that MMDetection's MaskFormer gives it.
        num_classes: C.
        num_queries: Q.
        num_levels: memories that the decoder attends to.
        project_memory: put a 1x1 convolution before the decoder even where the channels agree.
        deep_supervision: give the predictions before the last one, too, in training.
    """

    predicts_boxes = False
    pixel_decoder: Any  # modules, whose attributes are those that the constructor asks for
    transformer_decoder: Any
    cls_embed: nn.Module
    mask_embed: nn.Module

    def __init__(
        self,
        pixel_decoder: nn.Module,
        transformer_decoder: nn.Module,
        num_classes: int,
        num_queries: int,
        num_levels: int,
        project_memory: bool,
        deep_supervision: bool,
        init_cfg: dict | None,
    ):
        super().__init__(init_cfg)
        self.num_classes = num_classes
        self.num_queries = num_queries
        self.deep_supervision = deep_supervision
        self.pixel_decoder = pixel_decoder
        channels = self.pixel_decoder.embed_dims
        dims: Any = transformer_decoder.embed_dims
        project_memory = project_memory or channels != dims
        projections = [nn.Conv2d(channels, dims, 1) if project_memory else nn.Identity() for _ in range(num_levels)]
        if not transformer_decoder.single_memory:
            self.decoder_input_projs = ModuleList(projections)
        elif num_levels == 1:
            (self.decoder_input_proj,) = projections
        else:
            raise ValueError(
                f'{type(transformer_decoder).__name__} attends to one memory, got {num_levels}: set '
                'num_transformer_feat_level=1'
            )
        self.transformer_decoder = transformer_decoder

    def add_heads(self, mask_channels: int | None, no_object: bool, class_head: bool = True) -> None:
        """Register the heads of classes and masks.

        Args:
            mask_channels: D, the channels of the mask features; None where only boxes are predicted.
            no_object: the class head has C + 1 outputs, the last is no-object; otherwise C.
            class_head: False where the class of each query is known; its class logits are then the query itself.
        """
        dims = self.transformer_decoder.embed_dims
        self.cls_embed = nn.Linear(dims, self.num_classes + no_object) if class_head else nn.Identity()
        self.predicts_masks = mask_channels is not None
        if mask_channels is not None:
            self.mask_embed = nn.Sequential(
                nn.Linear(dims, dims), nn.ReLU(), nn.Linear(dims, dims), nn.ReLU(), nn.Linear(dims, mask_channels)
            )

    @property
    def input_projections(self) -> Sequence[nn.Module]:
        """1x1 projections of the memories, one for each level."""
        return [self.decoder_input_proj] if self.transformer_decoder.single_memory else self.decoder_input_projs

    @property
    def mask_projection(self) -> nn.Conv2d | None:
        """The pixel decoder's last 1x1 convolution, applied to mask embeddings instead of pixels."""
        return getattr(self.pixel_decoder, 'mask_projection', None)

    def _decode_pixels(
        self, feats: Sequence[Tensor], num_frames: int = 1, release_feats: bool = False
    ) -> tuple[Tensor | None, list[Tensor]]:
        """Mask features (B, T, D, h, w), if there are any, and the memories (B * T, E, h', w') behind their
        projections."""
        if len(feats[0]) % num_frames:
            raise ValueError(f'{len(feats[0])} frames do not make clips of {num_frames}')
        options = {} if self.mask_projection is None else dict(project=False)
        if release_feats and options:
            options['release'] = True
        mask_features, memories = self.pixel_decoder(feats, **options)
        if len(memories) != len(self.input_projections):
            raise ValueError(
                f'{type(self.pixel_decoder).__name__} gives {len(memories)} memories, but the transformer '
                f'decoder attends to {len(self.input_projections)}: make num_outs of the one (of an FPN '
                "with memory='pyramid') and num_transformer_feat_level of the other agree"
            )
        if mask_features is not None:
            mask_features = mask_features.unflatten(0, (-1, num_frames))
        return mask_features, [project(memory) for project, memory in zip(self.input_projections, memories)]

    def embed_masks(self, query: Tensor) -> Tensor:
        """Normalised queries (B, Q, E) to embeddings of their masks, see ``LayerPrediction``."""
        embeds = self.mask_embed(query)
        return embeds if self.mask_projection is None else fold_projection(embeds, self.mask_projection)

    def init_weights(self) -> None:
        """The official initialisation; embeddings and prediction heads keep PyTorch's."""
        super().init_weights()
        if loads_weights(self):
            return
        for projection in self.input_projections:
            if isinstance(projection, nn.Conv2d):
                caffe2_xavier_init(projection)


class MaskTransformer(MaskNetwork):
    """Mask2Former's and MaskFormer's network: learned queries attend to the memories.

    A clip is a batch of B * T frames to the pixel decoder and one sequence of tokens to the transformer decoder.

    Args:
        transformer_decoder: see ``Mask2FormerTransformerDecoder``. It says what belongs to it beside its layers:
            ``learned_content``, queries have a learned content and do not start at zero; ``level_embeddings``, a
            learned vector for each memory.
        mask_channels: D, the channels of the mask features.
        no_object, class_head: see ``add_heads``.
        Others: as for ``MaskNetwork``.
    """

    def __init__(
        self,
        pixel_decoder: nn.Module,
        transformer_decoder: nn.Module,
        num_classes: int,
        num_queries: int = 100,
        num_levels: int = 3,
        mask_channels: int = 256,
        project_memory: bool = False,
        deep_supervision: bool = True,
        no_object: bool = True,
        init_cfg: dict | None = None,
        class_head: bool = True,
    ):
        super().__init__(
            pixel_decoder,
            transformer_decoder,
            num_classes,
            num_queries,
            num_levels,
            project_memory,
            deep_supervision,
            init_cfg,
        )
        dims = self.transformer_decoder.embed_dims
        if transformer_decoder.learned_content:
            self.query_feat = nn.Embedding(num_queries, dims)
        self.query_embed = nn.Embedding(num_queries, dims)
        if transformer_decoder.level_embeddings:
            self.level_embed = nn.Embedding(num_levels, dims)
        self.add_heads(mask_channels, no_object, class_head)

    def forward(
        self,
        feats: Sequence[Tensor],
        targets: Sequence[SegTargets] | None = None,
        num_frames: int = 1,
        every_layer: bool = False,
        start_queries: Tensor | None = None,
        release_feats: bool = False,
    ) -> MaskPredictions:
        """
        Args:
            feats: backbone features (B * T, c, h, w), fine to coarse, frames of a clip one after the other.
            targets: not needed; some networks learn to denoise them.
            num_frames: T.
            every_layer: predict in evaluation as in training.
            start_queries: content (B, Q, E) of the queries before the first layer; by default what is learned of it,
                or zeros.
            release_feats: ``feats`` is a list that may be emptied, so that in prediction maps end once they were used.

        Returns:
            In training mode the predictions wherever the transformer decoder records one and after its last layer,
            otherwise the last one only.
        """
        mask_features, memories = self._decode_pixels(feats, num_frames, release_feats)
        levels = [self._memory(memory, level, num_frames) for level, memory in enumerate(memories)]
        supervised = (self.training or every_layer) and self.deep_supervision
        sizes = [(memory.shape[-2], memory.shape[-1]) for memory in memories]
        recorder = PredictionRecorder(self, mask_features, supervised, sizes)
        positions = self.query_embed.weight
        learned = self.query_feat.weight if self.transformer_decoder.learned_content else torch.zeros_like(positions)
        if start_queries is None:
            start_queries = learned.expand(levels[0].tokens.shape[0], -1, -1)
        elif self.training:
            start_queries = with_zero_gradients(start_queries, learned)
        self.transformer_decoder(start_queries, positions, levels, recorder)
        return recorder.predictions()

    def _memory(self, memory: Tensor, level: int, num_frames: int) -> Memory:
        """A map (B * T, E, h, w) as the tokens of a level, frame-major, and what is to be added to them."""
        tokens = memory.flatten(2).transpose(1, 2).unflatten(0, (-1, num_frames)).flatten(1, 2)
        channels, height, width = memory.shape[1:]
        position = sine_position(height, width, channels // 2, num_frames, device=memory.device)
        if not self.transformer_decoder.level_embeddings:
            return Memory(tokens.contiguous(), position, None)
        embedding = self.level_embed.weight[level]
        return Memory(tokens.contiguous(), position.at_level(embedding), Position([]).at_level(embedding))
