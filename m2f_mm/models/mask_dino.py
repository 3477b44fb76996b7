"""Mask DINO's network: queries are chosen among the encoder's tokens and carry boxes (figure 1 and section 3.2 there).

Shapes: B images, Q queries, E channels, V tokens of all levels, C classes, h x w the mask features.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from m2f_mm.boxes import masks_to_boxes
from m2f_mm.gradients import with_zero_gradients
from m2f_mm.mask_ops import mask_logits_from
from m2f_mm.structures import MaskPredictions, SegTargets

from .denoising import NoisedQueries, RandomNoise, noised_queries
from .layers import loads_weights
from .mask_transformer import MaskNetwork
from .transformer_decoders.mask_dino import Shapes, inverse_sigmoid

BOXES_FROM_MASKS = ('no', 'bitmask', 'mask2box')


class MaskDINO(MaskNetwork):
    """Features to class logits, promises of masks, and boxes.

    Args:
        transformer_decoder: see ``MaskDINOTransformerDecoder``.
        two_stage: queries start as the Q tokens of the encoder with the highest class logits, which are supervised,
            too; otherwise contents and boxes are learned.
        learned_content: with ``two_stage``, only the boxes come from the tokens.
        boxes_from_masks: with ``two_stage``, where boxes start (mask-enhanced anchor initialisation): 'no', at the
            tokens' own; 'bitmask' or 'mask2box', around their masks, in two ways that differ by a pixel and for empty
            masks.
        denoising_queries: budget of noised objects in training; 0 for none.
        noise_scale: of the noised objects.
        initial_prediction: supervise the queries before the first layer.
        draw: source of the noise.
        mask_channels: None for a detector that predicts boxes alone; its boxes start at the tokens' own.
        Others: as for ``MaskNetwork``; ``no_object`` is for cross-entropy.
    """

    predicts_boxes = True

    def __init__(
        self,
        pixel_decoder: nn.Module,
        transformer_decoder: nn.Module,
        num_classes: int,
        num_queries: int = 300,
        num_levels: int = 4,
        two_stage: bool = True,
        learned_content: bool = False,
        boxes_from_masks: str = 'mask2box',
        denoising_queries: int = 100,
        noise_scale: float = 0.4,
        initial_prediction: bool = True,
        draw: RandomNoise | None = None,
        no_object: bool = False,
        mask_channels: int | None = 256,
        **options,
    ):
        if boxes_from_masks not in BOXES_FROM_MASKS:
            raise ValueError(f'boxes_from_masks must be one of {", ".join(BOXES_FROM_MASKS)}, got {boxes_from_masks!r}')
        if boxes_from_masks != 'no' and mask_channels is None:
            raise ValueError(
                f"boxes_from_masks={boxes_from_masks!r} needs masks, but none are predicted: set boxes_from_masks='no'"
            )
        self.two_stage = two_stage
        self.learned_content = learned_content or not two_stage
        super().__init__(
            pixel_decoder,
            transformer_decoder,
            num_classes,
            num_queries,
            num_levels,
            mask_channels,
            no_object=no_object,
            **options,
        )
        dims = transformer_decoder.embed_dims
        self.boxes_from_masks = boxes_from_masks
        self.denoising_queries = denoising_queries
        self.noise_scale = noise_scale
        self.initial_prediction = initial_prediction
        self.draw = draw or RandomNoise()
        self.box_embed = nn.Sequential(
            nn.Linear(dims, dims), nn.ReLU(), nn.Linear(dims, dims), nn.ReLU(), nn.Linear(dims, 4)
        )
        if denoising_queries:
            self.label_embed = nn.Embedding(num_classes, dims)

    def _make_queries(self, num_queries: int, num_levels: int, dims: int) -> None:
        if self.learned_content:
            self.query_feat = nn.Embedding(num_queries, dims)
        if self.two_stage:
            self.memory_trans_fc = nn.Linear(dims, dims)
            self.memory_trans_norm = nn.LayerNorm(dims)
        else:
            self.query_embed = nn.Embedding(num_queries, 4)

    def forward(self, feats: Sequence[Tensor], targets: Sequence[SegTargets] | None = None) -> MaskPredictions:
        """
        Args:
            feats: backbone features (B, c, h, w), fine to coarse.
            targets: what is to be found, with boxes; noised for the denoising part of a training step.

        Returns:
            In training mode the predictions for the chosen tokens, before the first and after every layer, otherwise
            the last one only.
        """
        mask_features, memories = self._decode_pixels(feats)
        memories = memories[::-1]  # the decoder has the order of its own
        shapes = [tuple(memory.shape[-2:]) for memory in memories]
        tokens = torch.cat([memory.flatten(2) for memory in memories], 2).transpose(1, 2)  # (B, V, E)
        made = Predicted(self, mask_features)
        content, reference = self._start(tokens, shapes, made)
        noised = None
        if self.training and targets is not None and self.denoising_queries:
            noised = noised_queries(targets, self.label_embed, self.denoising_queries, self.noise_scale, self.draw)
        return self._decode(content, reference, tokens, shapes, made, noised)

    def _start(self, tokens: Tensor, shapes: Shapes, made: 'Predicted') -> tuple[Tensor, Tensor]:
        """Contents (B, Q, E) and boxes (B, Q, 4), before the sigmoid, of the queries."""
        batch = len(tokens)
        if not self.two_stage:
            return (self.query_feat.weight.expand(batch, -1, -1), self.query_embed.weight.expand(batch, -1, -1))
        proposals, valid = token_boxes(shapes, tokens.device)
        encoded = self.memory_trans_norm(self.memory_trans_fc(tokens * valid[:, None]))
        count = min(self.num_queries, tokens.shape[1])  # a tiny picture has fewer tokens than there are queries
        top = self.cls_embed(encoded).max(-1).values.topk(count, 1).indices  # (B, Q)
        chosen = encoded.gather(1, top[..., None].expand(-1, -1, encoded.shape[-1]))
        reference = self.box_embed(chosen) + proposals[top]
        if self.training:
            made.add(chosen, reference.sigmoid())
        reference = reference.detach()
        if self.boxes_from_masks != 'no':
            embeds = made.mask_embeds[-1] if self.training else made.embed(made.normalised(chosen))
            reference = inverse_sigmoid(self._around_masks(embeds.detach(), made.mask_features.detach()))
        if self.learned_content:
            return self.query_feat.weight[:count].expand(batch, -1, -1), reference
        return chosen.detach(), reference

    def _around_masks(self, embeds: Tensor, features: Tensor) -> Tensor:
        """Boxes (B, Q, 4) in 0..1 around the masks, made image by image."""
        exclusive = self.boxes_from_masks == 'bitmask'
        return torch.stack(
            [masks_to_boxes(mask_logits_from(*image)[:, 0] > 0, exclusive) for image in zip(embeds, features)]
        ).to(torch.promote_types(features.dtype, torch.float32))

    def _decode(
        self,
        content: Tensor,
        reference: Tensor,
        tokens: Tensor,
        shapes: Shapes,
        made: 'Predicted',
        noised: NoisedQueries | None,
    ) -> MaskPredictions:
        """All predictions of the decoder."""
        mask, number = None, 0
        if noised is not None:
            number = noised.content.shape[1]
            mask = noised.mask(content.shape[1])
            content = torch.cat((noised.content.to(content.dtype), content), 1)
            reference = torch.cat((noised.reference_logits.to(reference.dtype), reference), 1)
        decoded = self.transformer_decoder(content, reference, tokens, shapes, self.box_embed, mask)
        denoised = Predicted(self, made.mask_features)
        supervised = self.training and self.deep_supervision
        if supervised and self.initial_prediction:
            self._split(content, reference.sigmoid(), number, made, denoised if self.two_stage else None)
        for i, (query, before) in enumerate(zip(decoded.queries, decoded.references)):
            if supervised or i == len(decoded.queries) - 1:
                boxes = (self.box_embed(query) + inverse_sigmoid(before)).sigmoid()
                self._split(query, boxes, number, made, denoised)
        predictions = made.predictions(selected=self.two_stage and self.training)
        if noised is not None:
            predictions.denoising, predictions.groups = denoised.predictions(), noised.groups
        elif self.training and self.denoising_queries:  # a step without them still gives their embedding a gradient
            output = predictions[-1]
            output.class_logits = with_zero_gradients(output.class_logits, self.label_embed.weight)
        return predictions

    @staticmethod
    def _split(query: Tensor, boxes: Tensor, number: int, made: 'Predicted', denoised: 'Predicted | None') -> None:
        """One layer's queries (B, N + Q, E) and boxes, the first N to the denoising part."""
        made.add(query[:, number:], boxes[:, number:])
        if number and denoised is not None:
            denoised.add(query[:, :number], boxes[:, :number])

    def init_weights(self) -> None:
        """As the base, and boxes that start where their references are."""
        super().init_weights()
        if loads_weights(self):
            return
        nn.init.zeros_(self.box_embed[-1].weight)
        nn.init.zeros_(self.box_embed[-1].bias)


class Predicted:
    """Predictions as they are made, with the one class head and the one mask head of a network."""

    def __init__(self, network: MaskNetwork, mask_features: Tensor | None):
        self.network = network
        self.mask_features = mask_features
        self.class_logits: list[Tensor] = []
        self.mask_embeds: list[Tensor] = []
        self.boxes: list[Tensor] = []

    def normalised(self, query: Tensor) -> Tensor:
        """Queries (B, Q, E) as the heads want them, normalised once more, whatever they were before."""
        return self.network.transformer_decoder.post_norm(query)

    def embed(self, normalised: Tensor) -> Tensor:
        """Embeddings of the masks of normalised queries."""
        return self.network._embed_masks(normalised)

    def add(self, query: Tensor, boxes: Tensor) -> None:
        """One more layer."""
        query = self.normalised(query)
        self.class_logits.append(self.network.cls_embed(query))
        if self.mask_features is not None:
            self.mask_embeds.append(self.embed(query))
        self.boxes.append(boxes)

    def predictions(self, selected: bool = False) -> MaskPredictions:
        return MaskPredictions.from_lists(
            self.class_logits, self.mask_embeds, self.mask_features, self.boxes, selected=selected
        )


def token_boxes(shapes: Shapes, device: torch.device) -> tuple[Tensor, Tensor]:
    """The box that each token stands for, before the sigmoid, (V, 4), and whether it lies well inside, (V,).

    Its size is a twentieth of the picture in the first level of the decoder and doubles from level to level.
    """
    boxes = []
    for level, (height, width) in enumerate(shapes):
        y, x = ((torch.arange(length, device=device) + 0.5) / length for length in (height, width))
        centres = torch.stack((x.expand(height, -1), y[:, None].expand(-1, width)), -1).flatten(0, 1)
        boxes.append(torch.cat((centres, torch.full_like(centres, 0.05 * 2**level)), 1))
    boxes = torch.cat(boxes)
    valid = ((boxes > 0.01) & (boxes < 0.99)).all(1)
    logits = (boxes / (1 - boxes)).log()
    return logits.masked_fill(~valid[:, None], float('inf')), valid
