"""The MSDeformAttn pixel decoder (Mask2Former, section 3.1 and appendix; Deformable DETR's encoder plus one FPN step),
with the coarser levels and the two orders that Mask DINO has.

Shapes: B images, E channels, L encoder levels, V tokens of all encoder levels in the encoder's order.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule, ModuleList, caffe2_xavier_init, xavier_init
from torch import Tensor, nn

from m2f_mm.deprecation import renamed_arguments
from m2f_mm.registry import MODELS

from ..layers import (
    FeedForward,
    Levels,
    MSDeformAttn,
    Position,
    check_activation_checkpointing,
    levels_of,
    loads_weights,
    recompute,
    recompute_outputs,
    sine_position,
    xavier_matrices,
)
from .inputs import finest_maps


class MSDeformAttnEncoderLayer(BaseModule):
    """Deformable self-attention over all levels and a feed-forward network, post-norm."""

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        num_levels: int,
        num_points: int,
        feedforward_channels: int,
        backend: str,
        activation_checkpointing: str,
    ):
        super().__init__()
        self.self_attn = MSDeformAttn(embed_dims, num_heads, num_levels, num_points, backend)
        self.ffn = FeedForward(embed_dims, feedforward_channels)
        self.norms = ModuleList(nn.LayerNorm(embed_dims) for _ in range(2))
        self.activation_checkpointing = activation_checkpointing

    def forward(
        self,
        x: Tensor,
        positions: Sequence[Position],
        reference_points: Tensor,
        levels: Levels,
    ) -> Tensor:
        """x: (B, V, E); positions: of each level; reference_points: (1, V, L, 2). Returns (B, V, E)."""
        x = x + self.self_attn(x, x, reference_points, levels, positions)
        x = recompute(self.activation_checkpointing == 'ffn', self._feed_forward, x)
        return self.norms[1](x)

    def _feed_forward(self, x: Tensor) -> Tensor:
        x = self.norms[0](x)
        return x + self.ffn(x)


class MSDeformAttnEncoder(BaseModule):
    """Holds the encoder's layers; a module of its own for the names of the parameters."""

    def __init__(self, num_layers: int, **layer):
        super().__init__()
        self.layers = ModuleList(MSDeformAttnEncoderLayer(**layer) for _ in range(num_layers))


@MODELS.register_module()
class MSDeformAttnPixelDecoder(BaseModule):
    """Backbone features to mask features and a pyramid of memories.

    The coarsest ``num_encoder_levels`` features, and coarser maps made of the last of them, go through a deformable
    transformer encoder; the finer ones join by FPN steps. Padding is attended to as if it were image, as in the
    official code: its weights expect that.

    Args:
        in_channels: channels of the backbone's features, fine to coarse.
        feat_channels: channels E of encoder and FPN.
        out_channels: channels of the mask features; None for memories alone, and only the FPN steps that those need.
            Let the backbone then leave out finer features (``out_indices``): norms that only they have, as a Swin's,
            would be unused parameters for DDP.
        num_outs: memories returned: the encoder's maps in its order, then those of the FPN steps.
        num_encoder_levels: features that the encoder sees.
        num_extra_levels: coarser maps that it sees, too, made by convolutions of stride 2 (Mask DINO).
        fine_first: the encoder's order is fine to coarse (Mask DINO's ``low2high``), not coarse to fine.
        always_fpn: an FPN step from the finest feature even where the encoder has seen it (Mask DINO).
        num_layers: encoder layers.
        num_heads, num_points: of the deformable attention.
        feedforward_channels: hidden channels of the encoder layers (1024 in every official Mask2Former, whatever
            ``DIM_FEEDFORWARD`` says).
        norm_cfg: norm of the FPN convolutions; None gives them a bias instead.
        input_norm_cfg: norm of the projections into the encoder.
        deform_attn_backend: implementation of deformable attention, see ``choose_backend``.
        activation_checkpointing: what is recomputed in the backward pass instead of kept: 'none', 'norms' (outputs of
            norms, and sums, that linear layers and convolutions keep), 'ffn' (the hidden layers of the encoder's
            feed-forward networks, too) or 'full' (all of encoder layers and FPN steps).
    """

    @renamed_arguments(checkpointing='activation_checkpointing')
    def __init__(
        self,
        in_channels: Sequence[int] = (256, 512, 1024, 2048),
        feat_channels: int = 256,
        out_channels: int | None = 256,
        num_outs: int = 3,
        num_encoder_levels: int = 3,
        num_extra_levels: int = 0,
        fine_first: bool = False,
        always_fpn: bool = False,
        num_layers: int = 6,
        num_heads: int = 8,
        num_points: int = 4,
        feedforward_channels: int = 1024,
        norm_cfg: dict | None = dict(type='GN', num_groups=32),
        input_norm_cfg: dict | None = dict(type='GN', num_groups=32),
        deform_attn_backend: str = 'auto',
        activation_checkpointing: str = 'norms',
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        if not 1 <= num_encoder_levels <= len(in_channels):
            raise ValueError(
                f'num_encoder_levels must be 1 to {len(in_channels)}, the number of in_channels, got '
                f'{num_encoder_levels}'
            )
        self.in_channels = list(in_channels)
        self.num_outs = num_outs
        self.embed_dims = feat_channels
        self.num_encoder_levels = num_encoder_levels
        finer = in_channels[: max(len(in_channels) - num_encoder_levels, int(always_fpn))][::-1]
        if out_channels is None:
            finer = finer[: max(0, num_outs - num_encoder_levels - num_extra_levels)]
        self.num_fpn_levels = len(finer)
        self.fine_first = fine_first
        encoded = list(in_channels[-num_encoder_levels:])
        options = dict(norm_cfg=input_norm_cfg, act_cfg=None, bias=True)
        self.input_convs = ModuleList(
            [
                *(
                    ConvModule(channels, feat_channels, 1, **options)
                    for channels in (encoded if fine_first else encoded[::-1])
                ),
                *(
                    ConvModule(feat_channels if i else encoded[-1], feat_channels, 3, stride=2, padding=1, **options)
                    for i in range(num_extra_levels)
                ),
            ]
        )
        self.level_encoding = nn.Embedding(len(self.input_convs), feat_channels)
        self.encoder = MSDeformAttnEncoder(
            num_layers,
            embed_dims=feat_channels,
            num_heads=num_heads,
            num_levels=len(self.input_convs),
            num_points=num_points,
            feedforward_channels=feedforward_channels,
            backend=deform_attn_backend,
            activation_checkpointing=check_activation_checkpointing(activation_checkpointing),
        )
        self.activation_checkpointing = activation_checkpointing
        fpn = dict(norm_cfg=norm_cfg, bias=norm_cfg is None)
        self.lateral_convs = ModuleList(
            ConvModule(channels, feat_channels, 1, act_cfg=None, **fpn) for channels in finer
        )
        self.output_convs = ModuleList(ConvModule(feat_channels, feat_channels, 3, padding=1, **fpn) for _ in finer)
        self.add_upsampled = AddUpsampled()
        self.mask_feature = None if out_channels is None else nn.Conv2d(feat_channels, out_channels, 1)

    @property
    def mask_projection(self) -> nn.Conv2d | None:
        """The 1x1 convolution that ``forward`` may leave to its caller."""
        return self.mask_feature

    def forward(
        self, feats: Sequence[Tensor], project: bool = True, release: bool = False
    ) -> tuple[Tensor | None, list[Tensor]]:
        """
        Args:
            feats: backbone features (B, C, h, w), fine to coarse, see ``finest_maps``.
            project: end with ``mask_projection``; without it the mask features have E channels.
            release: ``feats`` is a list that is emptied as the maps are used, so that in prediction each ends then.

        Returns:
            Mask features (B, out_channels, h, w) at the size of the finest input, None without ``out_channels``, and
            ``num_outs`` memories (B, E, h, w), in the encoder's order.
        """
        feats = finest_maps(type(self).__name__, feats if release else tuple(feats), self.in_channels)
        with (
            torch.autocast(feats[0].device.type, enabled=False),  # float32, as the official code insists
            recompute_outputs(self._cheap_modules(), self.activation_checkpointing in ('norms', 'ffn')),
        ):
            outs = self._encode(feats)
            x = outs[0 if self.fine_first else -1]
            for lateral, output in zip(self.lateral_convs, self.output_convs):
                coarser, x = x, self._typed(feats.pop())
                for step in self._steps(lateral):  # in a loop: in prediction, each map ends with the step behind it
                    x = step(x)
                x = self._recompute(self.add_upsampled, x, coarser)
                for step in self._steps(output):
                    x = step(x)
                outs.append(x)
            if self.mask_feature is None:
                return None, outs[: self.num_outs]
            return self.mask_feature(x) if project else x, outs[: self.num_outs]

    def _cheap_modules(self) -> list[nn.Module]:
        """Modules whose outputs are recomputed; not norms whose output an activation may change, nor those that count
        their inputs."""
        norms = [conv.norm for conv in self.lateral_convs if conv.with_norm and not conv.with_activation]
        norms = [norm for norm in norms if isinstance(norm, nn.GroupNorm)]
        return [*(norm for layer in self.encoder.layers for norm in layer.norms), *norms, self.add_upsampled]

    def _steps(self, module: ConvModule) -> list[Callable[[Tensor], Tensor]]:
        """The parts of the module; the module itself, where all inside of it is recomputed."""
        if self.activation_checkpointing == 'full':
            return [partial(recompute, True, module)]
        norm = [module.norm] if module.with_norm else []
        return [module.conv, *norm, *([module.activate] if module.with_activation else [])]

    def _typed(self, feat: Tensor) -> Tensor:
        """A map in the type of the weights: what a backbone has computed in half precision inside autocast becomes
        float32."""
        return feat.to(self.level_encoding.weight.dtype)

    def _recompute(self, function: Callable[..., Tensor], *inputs) -> Tensor:
        return recompute(self.activation_checkpointing == 'full', function, *inputs)

    def _encode(self, feats: list[Tensor]) -> list[Tensor]:
        """The deformable encoder over the last of the features, which are taken off the list; returns its maps."""
        maps, position_order = self._encoder_inputs(feats)
        shapes = [(each.shape[-2], each.shape[-1]) for each in maps]
        tokens = torch.cat([each.flatten(2) for each in maps], 2).transpose(1, 2)
        device = tokens.device
        positions = [
            sine_position(h, w, self.embed_dims // 2, device=device).at_level(self.level_encoding.weight[i])
            for i, (h, w) in enumerate(shapes[index] for index in position_order)
        ]
        reference = torch.cat([pixel_centres(h, w, device) for h, w in shapes])  # (V, 2)
        del maps
        reference = reference[None, :, None].expand(1, -1, len(shapes), -1)
        levels = levels_of(shapes, device)
        for layer in self.encoder.layers:  # here, for a call of the encoder would hold the first tokens to its end
            tokens = self._recompute(layer, tokens, positions, reference, levels)
        parts = tokens.transpose(1, 2).split([h * w for h, w in shapes], dim=2)
        return [part.unflatten(2, shape) for part, shape in zip(parts, shapes)]

    def _encoder_inputs(self, feats: list[Tensor]) -> tuple[list[Tensor], list[int]]:
        """The maps of the encoder in its order, and their indices in the order of their positions.

        The official code reverses the list of extra levels, but not that of their positions: of two extra levels each
        has the positions of the other.
        """
        convs, extra_convs = self.input_convs[: self.num_encoder_levels], self.input_convs[self.num_encoder_levels :]
        extra = feats[-1:]
        for conv in extra_convs:
            extra.append(self._recompute(conv, self._typed(extra[-1])))
        extra = extra[:0:-1]  # coarse to fine, without the feature
        maps = []
        for conv in reversed(convs) if self.fine_first else convs:
            feat = feats.pop() if len(feats) > self.num_fpn_levels else feats[-1]  # the last one has an FPN step, too
            maps.append(self._recompute(conv, self._typed(feat)))
            del feat
        reversed_extra = list(range(len(extra)))[::-1]
        if self.fine_first:
            return maps[::-1] + extra, [*range(len(maps)), *(len(maps) + index for index in reversed_extra)]
        return extra + maps, reversed_extra + [len(extra) + index for index in range(len(maps))]

    def init_weights(self) -> None:
        """The official initialisation: Xavier uniform in the encoder, caffe2's Xavier in the FPN."""
        super().init_weights()
        if loads_weights(self):
            return
        xavier_matrices(self.encoder)
        for layer in self.encoder.layers:
            layer.self_attn.init_weights()
        for conv in self.input_convs:
            xavier_init(conv.conv, distribution='uniform')
        for conv in (*self.lateral_convs, *self.output_convs):
            caffe2_xavier_init(conv.conv)
        if self.mask_feature is not None:
            caffe2_xavier_init(self.mask_feature)
        nn.init.normal_(self.level_encoding.weight)


class AddUpsampled(nn.Module):
    """``coarser`` at the size of ``finer``, plus ``finer``: (B, E, h, w) and (B, E, h', w') give (B, E, h, w)."""

    def forward(self, finer: Tensor, coarser: Tensor) -> Tensor:
        """The encoder's maps are token-major: the small map takes the layout of the large one first, as the result of
        the resizing has the layout of its input."""
        channels_last = finer.is_contiguous(memory_format=torch.channels_last)
        coarser = coarser.clone(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
        return F.interpolate(coarser, finer.shape[-2:], mode='bilinear', align_corners=False).add_(finer)


def pixel_centres(height: int, width: int, device: torch.device) -> Tensor:
    """Centres of the pixels of a map, row-major, (height * width, 2) as x, y in 0..1."""
    y = (torch.arange(height, dtype=torch.float32, device=device) + 0.5) / height
    x = (torch.arange(width, dtype=torch.float32, device=device) + 0.5) / width
    return torch.stack((x.expand(height, -1), y[:, None].expand(-1, width)), -1).flatten(0, 1)
