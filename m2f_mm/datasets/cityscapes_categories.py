"""The 19 evaluated classes of Cityscapes, of which the last 8 are things; the position of a class is its train id."""
NAMES = (
    'road', 'sidewalk', 'building', 'wall', 'fence', 'pole', 'traffic light', 'traffic sign', 'vegetation', 'terrain',
    'sky', 'person', 'rider', 'car', 'truck', 'bus', 'train', 'motorcycle', 'bicycle')
THING_IDS = tuple(range(11, 19))
# Of each class, its id in the label images and in the panoptic JSON.
LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
SUPERCATEGORIES = (
    'flat', 'flat', 'construction', 'construction', 'construction', 'object', 'object', 'object', 'nature', 'nature',
    'sky', 'human', 'human', 'vehicle', 'vehicle', 'vehicle', 'vehicle', 'vehicle', 'vehicle')
PALETTE = (
    (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153),
    (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0),
    (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32))
