75

xPlaceholder*
dtype0

nWriteSummaryx