;9

xPlaceholder*
dtype0

nGeneratorDatasetx