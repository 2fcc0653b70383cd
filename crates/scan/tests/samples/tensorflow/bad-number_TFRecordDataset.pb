:8

xPlaceholder*
dtype0

nTFRecordDatasetx