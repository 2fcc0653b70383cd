
6
PlaceholderPlaceholder*
shape:*
dtype0
!
ReadFileReadFilePlaceholder"ª