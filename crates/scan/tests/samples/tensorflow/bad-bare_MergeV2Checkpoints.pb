
MergeV2Checkpoints