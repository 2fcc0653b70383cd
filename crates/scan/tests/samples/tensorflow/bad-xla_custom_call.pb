

nativeXlaCustomCallV2