97

xPlaceholder*
dtype0

nImmutableConstx