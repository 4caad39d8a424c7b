"""What belongs to mmsegmentation 1.x with mmengine and mmcv 2: configs, pipelines, data sets."""
