"""What our detectors and segmentors check and prepare around a stock model: channels and types of images, numbers that
are not finite, and backbones that are partly frozen."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mmengine.model import BaseModel, ImgDataPreprocessor
from torch import Tensor, nn

from m2f_mm.checkpoints import register_translation
from m2f_mm.postprocess import finite_sum, raise_non_finite
from m2f_mm.structures import MaskPredictions


class CheckedModel(BaseModel):
    """Comes before a stock detector or segmentor, whose constructor ends with ``prepare``, or ``register_checks``.

    - Images whose channels are not those of the data preprocessor, or of the backbone, are refused by name.
    - Images go to the type of the backbone's weights, so that ``model.half()`` predicts.
    - Where losses or predictions are not finite, the error names the images or the weights that cause it.
    - What ``frozen_stages`` freezes is frozen once the model is built, see ``freeze_stages``.
    - Weights of other sources are translated when they are loaded, see ``register_translation``.
    """

    backbone: nn.Module

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        """As the stock model's."""
        with explained(self, inputs, data_samples):
            return super().forward(inputs, data_samples, mode)

    def extract_feat(self, inputs: Tensor) -> Sequence[Tensor]:
        """Features of images (B, C, H, W), fine to coarse."""
        with explained_channels(inputs, self.backbone):
            return super().extract_feat(as_weights(inputs, self.backbone))


def prepare(model: BaseModel) -> None:
    """Freeze what ``frozen_stages`` says, and see ``register_checks``; for the end of a model's constructor."""
    freeze_stages(model.backbone)
    register_checks(model)


def register_checks(model: BaseModel) -> None:
    """Let a model check the channels of its images and translate the names of weights that are loaded."""
    model.data_preprocessor.register_forward_pre_hook(check_channels, with_kwargs=True)
    register_translation(model)


def freeze_stages(backbone: nn.Module) -> None:
    """Freeze what the backbone's ``frozen_stages`` says.

    A ResNet does so itself when it is built, MMDetection's and MMSegmentation's Swin when ``train()`` is first called.
    That is too late for several workers: by then DDP has listed the parameters whose gradients it waits for.
    """
    freeze = getattr(backbone, '_freeze_stages', None)
    if freeze is not None:
        freeze()


def check_channels(preprocessor: nn.Module, args: tuple, kwargs: dict) -> None:
    """Called before a data preprocessor: do the images have the channels that it normalises? MMEngine's would drop the
    fourth channel in silence, or fail without a name.

    Raises:
        ValueError: they do not; names the image and both numbers.
    """
    data = args[0] if args else kwargs.get('data')
    if not isinstance(data, dict):
        return
    inputs = data.get('inputs', ())
    mean = getattr(preprocessor, 'mean', None)
    means = 1 if mean is None else mean.numel()
    ordered = getattr(preprocessor, '_channel_conversion', False) and isinstance(preprocessor, ImgDataPreprocessor)
    for index, image in enumerate(inputs):
        channels = image.shape[-3] if isinstance(image, Tensor) and image.dim() >= 3 else 3
        name = image_name(index, data.get('data_samples'))
        if means not in (1, channels):
            number = channels if channels in (1, 3) else 1  # MMEngine takes no others; one is for all channels
            raise ValueError(
                f'{name} has {channels} channels, but the data_preprocessor has {means} means: load the '
                f'images with {means} channels (color_type), or set data_preprocessor=dict(mean=[...], '
                f'std=[...]) with {number} number{"s" * (number > 1)} each and '
                f'backbone=dict(in_channels={channels})'
            )
        if ordered and channels != 3:
            raise ValueError(
                f'{name} has {channels} channels, but the data_preprocessor changes the order of 3: set '
                'its bgr_to_rgb=False and rgb_to_bgr=False'
            )
        if channels != inputs[0].shape[-3]:
            raise ValueError(
                f'{name} has {channels} channels, but {image_name(0, data.get("data_samples"))} has '
                f'{inputs[0].shape[-3]}: bring the images of a data set to one number of channels'
            )


def image_name(index: int, samples: Any) -> str:
    """Of an image or clip of a batch, with its file if that is known."""
    sample: Any = samples[index] if isinstance(samples, Sequence) and index < len(samples) else None
    if hasattr(sample, 'video_data_samples'):  # a clip has the name of its first frame
        sample = sample.video_data_samples[0]
    path = '' if sample is None else sample.get('img_path', '')
    return f'image {index} of the batch' + (f' ({path})' if path else '')


def as_weights(images: Tensor, backbone: nn.Module) -> Tensor:
    """The images in the type of the weights, which are float32 unless the model was taken to another one."""
    parameter = next(backbone.parameters(), None)
    return images if parameter is None else images.to(parameter.dtype)


@contextmanager
def explained_channels(images: Tensor, backbone: nn.Module) -> Iterator[None]:
    """Say so where a backbone fails because its first convolution expects other channels than the images have."""
    try:
        yield
    except RuntimeError as error:
        first = next((module for module in backbone.modules() if isinstance(module, nn.Conv2d)), None)
        if first is None or first.in_channels == images.shape[1] or 'channels' not in str(error):
            raise
        raise ValueError(
            f'the images have {images.shape[1]} channels, but the backbone takes {first.in_channels}: '
            f'set backbone=dict(in_channels={images.shape[1]}), or load the images with '
            f'{first.in_channels} channels'
        ) from error


@contextmanager
def explained(model: nn.Module, images: Tensor | None = None, samples: Any = None) -> Iterator[None]:
    """Where losses or predictions are not finite, look for the cause: at the images, then at the weights.

    Raises:
        FloatingPointError: something is not finite; names the images or the weights that cause it, if there are any.
    """
    try:
        yield
    except FloatingPointError as error:
        cause = broken_images(images, samples) or broken_weights(model)
        if not cause:
            raise
        # A part of the model may have explained the error already.
        raise FloatingPointError(f'{cause} ({error.__cause__ or error})') from error


def broken_images(images: Tensor | Sequence[Tensor] | None, samples: Any) -> str:
    """Says which images have pixels that are not finite; empty if none has."""
    broken = [i for i, image in enumerate(() if images is None else images) if not image.isfinite().all()]
    if not broken:
        return ''
    names = ', '.join(image_name(i, samples) for i in broken[:3]) + (', ...' if len(broken) > 3 else '')
    return (
        f'Pixels of {names} are not finite once the data_preprocessor has normalised them: mend or leave out the '
        'file, and look at std of the data_preprocessor'
    )


def broken_weights(model: nn.Module) -> str:
    """Says which parameters and buffers are not finite; empty if all are."""
    state = [*model.named_parameters(), *model.named_buffers()]
    broken = [name for name, value in state if value.is_floating_point() and not value.isfinite().all()]
    if not broken:
        return ''
    more = f' and {len(broken) - 3} more' if len(broken) > 3 else ''
    return (
        f'Weights of the model are not finite: {", ".join(broken[:3])}{more}. Its training has diverged, or the '
        'checkpoint is broken: take an earlier one'
    )


def check_predictions(predictions: MaskPredictions) -> None:
    """Where post-processing waits for nothing, as a label map's does; the device is waited for once.

    Raises:
        NonFinitePrediction: the last prediction is not finite; says which part.
    """
    parts = {
        'class logits': predictions.class_logits[-1],
        'mask embeddings': predictions.mask_embeds[-1],
        'mask features': predictions.mask_features,
    }
    if not finite_sum(*parts.values()).isfinite():
        raise_non_finite(parts)
