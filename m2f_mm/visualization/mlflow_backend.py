"""MLflow for runs that draw predictions."""

from typing import Any

import numpy as np
from mmengine.visualization import MLflowVisBackend as StockMLflowVisBackend

from ..registry import VISBACKENDS


@VISBACKENDS.register_module()
class MLflowVisBackend(StockMLflowVisBackend):
    """MMEngine's backend, whose images have names that MLflow can write.

    The hooks of MMDetection and MMSegmentation call every image ``val_img``. Without a suffix MLflow ends the training,
    and without the step each image would replace the one before.

    Args:
        save_dir: see the stock backend, as its other arguments. Recent releases of MLflow want a ``tracking_uri`` that
            is no folder, such as ``sqlite:///mlflow.db`` or the address of a server.
    """

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **options: Any) -> None:
        """Log an image RGB uint8 (H, W, 3) as the file ``NAME_STEP.png``."""
        super().add_image(f'{name}_{step}.png', image, step, **options)
