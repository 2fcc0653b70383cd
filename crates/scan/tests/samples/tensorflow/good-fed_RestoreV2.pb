42

xPlaceholder*
dtype0

n	RestoreV2x