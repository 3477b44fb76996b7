"""What a network says of one image, kept, so that other thresholds and tasks need no second pass."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from m2f_mm.heads import head_name, unwrapped

from .results import Result, result_of_sample

if TYPE_CHECKING:
    from .segmenter import Segmenter
    from .sources import SourceImage


@dataclass
class NetworkOutput:
    """The predictions of a network for one image, on the network's device, before thresholds.

    Args:
        image: RGB uint8 (H, W, 3).
        name: of the image.
        path: of its file, if it has one.
        sample: its data sample, with the sizes; of a segmentor also with the label map, which has no thresholds.
        scores: of a detector the class logits (1, Q, C + 1), or C of sigmoids; None of a segmentor.
        masks: of a detector what its head hands to the fusion head: ``LazyMasks``, or mask logits (1, Q, H, W).
    """

    image: np.ndarray = field(repr=False)
    name: str
    path: str | None
    sample: Any = field(repr=False)
    scores: Tensor | None = field(default=None, repr=False)
    masks: Any = field(default=None, repr=False)

    @property
    def num_bytes(self) -> int:
        """Memory of image and predictions."""
        tensors = [self.scores, self.masks]
        predictions = getattr(self.masks, 'predictions', None)
        if predictions is not None:
            layer = predictions[-1]
            tensors = [layer.class_logits, layer.mask_embeds, layer.mask_features, layer.boxes]
        return self.image.nbytes + sum(each.nbytes for each in tensors if isinstance(each, Tensor))


@torch.no_grad()
def network_output(segmenter: 'Segmenter', source: 'SourceImage') -> NetworkOutput:
    """Run the network once; see ``Segmenter.network_output``."""
    image = source.read()
    prepared = segmenter.prepare(image, source.name, source.path)
    data = {key: [prepared[key]] for key in ('inputs', 'data_samples')}
    if head_name(segmenter.model) == 'decode_head':
        return NetworkOutput(image, source.name, source.path, segmenter.model.test_step(data)[0])
    from m2f_mm.integrations.checked_model import explained

    model = unwrapped(segmenter.model)
    data = model.data_preprocessor(data, False)
    with explained(model, data['inputs'], data['data_samples']):
        feats = model.extract_feat(data['inputs'])
        scores, masks = model.panoptic_head.predict(feats, data['data_samples'])
    if hasattr(masks, 'predictions'):  # the layers before the last have served their purpose
        masks.predictions = replace(masks.predictions, layers=[masks.predictions[-1]], denoising=None)
    return NetworkOutput(image, source.name, source.path, data['data_samples'][0], scores, masks)


@torch.no_grad()
def result_of(segmenter: 'Segmenter', output: NetworkOutput, task: str, test_cfg: Any) -> Result:
    """The result of a task with other options; see ``Segmenter.result_of``."""
    sample = output.sample
    if output.scores is not None:
        model = unwrapped(segmenter.model)
        sample = sample.clone()
        model.panoptic_fusion_head.test_cfg = test_cfg
        results = model.panoptic_fusion_head.predict(output.scores, output.masks, [sample], rescale=True)
        sample = model.add_pred_to_datasample([sample], results)[0]
    return result_of_sample(
        sample,
        output.image,
        segmenter.classes,
        name=output.name,
        path=output.path,
        kind=task,
        is_thing=segmenter.is_thing,
        palette=segmenter.palette,
    )
