"""Mask DINO's network: queries are selected among the encoder's tokens and carry boxes (figure 1, section 3.2 there).

Shapes: B images, Q queries, E channels, V tokens of all levels, C classes, h x w the mask features.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from m2f_mm.boxes import masks_to_boxes
from m2f_mm.gradients import with_zero_gradients
from m2f_mm.mask_ops import mask_logits_from
from m2f_mm.structures import MaskPredictions, SegTargets

from .denoising import RandomNoise, noised_queries
from .layers import Shapes, loads_weights
from .mask_transformer import MaskNetwork
from .recorder import PredictionRecorder
from .transformer_decoders.mask_dino import inverse_sigmoid

BOXES_FROM_MASKS = ('no', 'bitmask', 'mask2box')


class MaskDINO(MaskNetwork):
    """Features to class logits, lazy masks, and boxes.

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
    box_embed: nn.Sequential
    label_embed: nn.Embedding

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
        project_memory: bool = False,
        deep_supervision: bool = True,
        init_cfg: dict | None = None,
    ):
        if boxes_from_masks not in BOXES_FROM_MASKS:
            raise ValueError(f'boxes_from_masks must be one of {", ".join(BOXES_FROM_MASKS)}, got {boxes_from_masks!r}')
        if boxes_from_masks != 'no' and mask_channels is None:
            raise ValueError(
                f"boxes_from_masks={boxes_from_masks!r} needs masks, but none are predicted: set boxes_from_masks='no'"
            )
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
        self.two_stage = two_stage
        self.learned_content = learned_content or not two_stage
        if self.learned_content:
            self.query_feat = nn.Embedding(num_queries, dims)
        if two_stage:
            self.memory_trans_fc = nn.Linear(dims, dims)
            self.memory_trans_norm = nn.LayerNorm(dims)
        else:
            self.query_embed = nn.Embedding(num_queries, 4)
        self.add_heads(mask_channels, no_object)
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

    def forward(
        self,
        feats: Sequence[Tensor],
        targets: Sequence[SegTargets] | None = None,
        start_queries: tuple[Tensor, Tensor] | None = None,
        release_feats: bool = False,
    ) -> MaskPredictions:
        """
        Args:
            feats: backbone features (B, c, h, w), fine to coarse.
            targets: ground truth, with boxes; noised for the denoising part of a training step.
            start_queries: content (B, Q, E) and boxes (B, Q, 4) in 0..1, as (x, y, width, height) of centres, of the
                queries before the first layer; by default those of the selected tokens, or what is learned of them.
            release_feats: ``feats`` is a list that may be emptied, so that in prediction maps end once they were used.

        Returns:
            In training mode the predictions for the selected tokens (not with ``start_queries``), before the first and
            after every layer, otherwise the last one only.
        """
        mask_features, memories = self._decode_pixels(feats, release_feats=release_feats)
        memories = memories[::-1]  # the decoder has the order of its own
        shapes = [(memory.shape[-2], memory.shape[-1]) for memory in memories]
        tokens = torch.cat([memory.flatten(2) for memory in memories], 2).transpose(1, 2)  # (B, V, E)
        recorder = PredictionRecorder(self, mask_features, self.training and self.deep_supervision)
        selects = self.two_stage and start_queries is None
        if start_queries is None:
            content, reference = self._start(tokens, shapes, recorder)
        else:
            content, reference = start_queries[0], inverse_sigmoid(start_queries[1])
        mask = None
        if self.training and targets is not None and self.denoising_queries:
            noised = noised_queries(targets, self.label_embed, self.denoising_queries, self.noise_scale, self.draw)
            if noised is not None:
                mask = noised.mask(content.shape[1])
                recorder.add_extra_queries(noised.content.shape[1], noised.groups)
                content = torch.cat((noised.content.to(content.dtype), content), 1)
                reference = torch.cat((noised.reference_logits.to(reference.dtype), reference), 1)
        if recorder.supervised and self.initial_prediction:
            normalised = self.transformer_decoder.post_norm(content)
            recorder.record(normalised, reference.sigmoid(), extra=self.two_stage)
        self.transformer_decoder(content, reference, tokens, shapes, self.box_embed, recorder, mask)
        predictions = recorder.predictions(selected=selects and self.training)
        unused = []  # parameters that need a gradient in any case, for DDP
        if self.denoising_queries and mask is None:
            unused.append(self.label_embed.weight)
        if start_queries is not None:
            parts = ('memory_trans_fc', 'memory_trans_norm', 'query_feat', 'query_embed')
            unused += [weight for name in parts if hasattr(self, name) for weight in getattr(self, name).parameters()]
        if self.training and unused:
            output = predictions[-1]
            output.class_logits = with_zero_gradients(output.class_logits, *unused)
        return predictions

    def _start(self, tokens: Tensor, shapes: Shapes, recorder: PredictionRecorder) -> tuple[Tensor, Tensor]:
        """Contents (B, Q, E) and boxes (B, Q, 4), before the sigmoid, of the queries."""
        batch = len(tokens)
        if not self.two_stage:
            return (self.query_feat.weight.expand(batch, -1, -1), self.query_embed.weight.expand(batch, -1, -1))
        proposals, valid = token_boxes(shapes, tokens.device)
        encoded = self.memory_trans_norm(self.memory_trans_fc(tokens * valid[:, None]))
        count = min(self.num_queries, tokens.shape[1])  # a tiny image has fewer tokens than there are queries
        top = self.cls_embed(encoded).max(-1).values.topk(count, 1).indices  # (B, Q)
        selected = encoded.gather(1, top[..., None].expand(-1, -1, encoded.shape[-1]))
        reference = self.box_embed(selected) + proposals[top]
        normalised = self.transformer_decoder.post_norm(selected)
        if self.training:
            recorder.record(normalised, reference.sigmoid())
        reference = reference.detach()
        features = recorder.mask_features
        if self.boxes_from_masks != 'no' and features is not None:
            embeds = recorder.mask_embeds(normalised)
            reference = inverse_sigmoid(self._around_masks(embeds.detach(), features.detach()))
        if self.learned_content:
            return self.query_feat.weight[:count].expand(batch, -1, -1), reference
        return selected.detach(), reference

    def _around_masks(self, embeds: Tensor, features: Tensor) -> Tensor:
        """Boxes (B, Q, 4) in 0..1 around the masks, made image by image."""
        exclusive = self.boxes_from_masks == 'bitmask'
        return torch.stack(
            [masks_to_boxes(mask_logits_from(*image)[:, 0] > 0, exclusive) for image in zip(embeds, features)]
        ).to(torch.promote_types(features.dtype, torch.float32))

    def init_weights(self) -> None:
        """As the base, and boxes that start where their references are."""
        super().init_weights()
        if loads_weights(self):
            return
        for parameter in self.box_embed[-1].parameters():
            nn.init.zeros_(parameter)


def token_boxes(shapes: Shapes, device: torch.device) -> tuple[Tensor, Tensor]:
    """The box that each token stands for, before the sigmoid, (V, 4), and whether it lies well inside, (V,).

    Its size is a twentieth of the image in the first level of the decoder and doubles from level to level.
    """
    parts = []
    for level, (height, width) in enumerate(shapes):
        y, x = ((torch.arange(length, device=device) + 0.5) / length for length in (height, width))
        centres = torch.stack((x.expand(height, -1), y[:, None].expand(-1, width)), -1).flatten(0, 1)
        parts.append(torch.cat((centres, torch.full_like(centres, 0.05 * 2**level)), 1))
    boxes = torch.cat(parts)
    valid = ((boxes > 0.01) & (boxes < 0.99)).all(1)
    logits = (boxes / (1 - boxes)).log()
    return logits.masked_fill(~valid[:, None], float('inf')), valid
