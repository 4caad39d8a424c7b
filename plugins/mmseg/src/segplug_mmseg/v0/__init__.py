"""What belongs to mmsegmentation 0.x with mmcv 1.x: configs, pipelines, data sets."""
