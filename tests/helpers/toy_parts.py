"""Parts of the toy config that the tests of the command-line tools run."""

import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS


@MODELS.register_module()
class ToyModel(BaseModel):
    def __init__(self, decode_head: dict, data_preprocessor=None):
        super().__init__(data_preprocessor)
        self.backbone = torch.nn.Linear(1, 1)
        self.decode_head = torch.nn.Linear(1, 1)
        self.decode_head.num_classes = decode_head['num_classes']
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.fill_(0.5)

    def forward(self, inputs, mode='tensor'):
        out = self.decode_head(self.backbone(torch.stack(inputs)))
        return dict(loss=out.square().mean()) if mode == 'loss' else list(out)


@DATASETS.register_module()
class ToyData(torch.utils.data.Dataset):
    METAINFO = dict(classes=('a', 'b'))

    def __init__(self, metainfo=None):
        self.metainfo = {**self.METAINFO, **(metainfo or {})}

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return dict(inputs=torch.ones(1) * index)


@METRICS.register_module()
class ToyMetric(BaseMetric):
    default_prefix = 'toy'

    def process(self, data_batch, data_samples):
        self.results += [float(sample) for sample in data_samples]

    def compute_metrics(self, results):
        return dict(count=len(results))
