;9

xPlaceholder*
dtype0

nTFRecordReaderV2x